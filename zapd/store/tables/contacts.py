"""People."""

from sqlalchemy import BigInteger, Column, Index, Table, Text

from zapd.store.tables.schema import metadata

contacts = Table(
    "contacts",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("name", Text),
    Column("opted_out_at", BigInteger),
    Column("opted_out_by", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

contact_aliases = Table(
    "contact_aliases",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    Column("contact_id", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Index("contact_aliases_contact", "tenant", "contact_id"),
)
