"""Values by name: what operators changed while zapd runs, how far long work is."""

from sqlalchemy import Column, LargeBinary, Table, Text

from zapd.store.tables.schema import metadata

settings = Table(
    "settings",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)
