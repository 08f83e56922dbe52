"""WhatsApp accounts: what is known of each, and what each knows."""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text

from zapd.store.tables.schema import metadata

connections = Table(
    "connections",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("transport", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("desired", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("since", BigInteger, nullable=False),
    Column("config", LargeBinary, nullable=False),  # sealed
    Column("on_ambiguous", Text, nullable=False),
    Column("rate_per_minute", Integer),
    Column("created_at", BigInteger, nullable=False),
    Column("job_id", Text),
    Column("qr", Text),
    Column("qr_expires_at", BigInteger),
    Column("pairing_code", Text),
    Column("pairing_code_expires_at", BigInteger),
    Column("limits", Text),  # JSON of model.pace.Limits
    Column("new_contacts_until", BigInteger),
    Index("connections_named", "id"),
)

# Whom a connection wrote to, and when first: the budget for new people.
peers = Table(
    "peers",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("connection_id", Text, primary_key=True),
    Column("peer", Text, primary_key=True),
    Column("first_out_at", BigInteger, nullable=False),
    Index("peers_new", "tenant", "connection_id", "first_out_at"),
)

# Messages that wait for their turn with one person.
turns = Table(
    "turns",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("connection_id", Text, primary_key=True),
    Column("peer", Text, primary_key=True),
    Column("message_id", Text, primary_key=True),
    Column("priority", Integer, nullable=False),
    Column("job_id", Text, nullable=False),
    Column("due_at", BigInteger),
    Column("since", BigInteger, nullable=False),
)

# What a provider said of its templates. `account` is the business account, which several connections may share.
templates = Table(
    "templates",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("account", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("language", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("reason", Text),
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger),
)

# How WhatsApp spells a number (Brazil's ninth digit); peer is NULL for one that is not there.
numbers = Table(
    "numbers",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("connection_id", Text, primary_key=True),
    Column("number", Text, primary_key=True),
    Column("peer", Text),
    Column("resolved_at", BigInteger, nullable=False),
)

# What a paired account needs to log in again. A login that is not used any more stays until its retention.
credentials = Table(
    "credentials",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("connection_id", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("archived_at", BigInteger),
    Column("reason", Text),
)

# The newest message of each contact, by every key under which the contact may be written to.
windows = Table(
    "windows",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("connection_id", Text, primary_key=True),
    Column("peer", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("message_id", Text, nullable=False),
)
