"""Tenants, and what opens their doors."""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text

from zapd.store.tables.schema import metadata

tenants = Table(
    "tenants",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("hash", LargeBinary, nullable=False, index=True),
    Column("label", Text, nullable=False),
    Column("scopes", Text, nullable=False),  # space-separated
    Column("connection_id", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("last_used_at", BigInteger),
    Column("rate_per_minute", Integer),
)

# Browsers that a key opened the dashboard for.
logins = Table(
    "logins",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("hash", LargeBinary, primary_key=True),
    Column("key_id", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Index("logins_hash", "hash"),
)

# The keys that seal a tenant's bodies, wrapped by the master key. The newest seals; deleting all erases the bodies.
data_keys = Table(
    "data_keys",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),  # hex
    Column("wrapped", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)
