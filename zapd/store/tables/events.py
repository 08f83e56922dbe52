"""What happened."""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text, text

from zapd.store.tables.schema import BODY, metadata

events = Table(
    "events",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("tenant", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("category", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("connection_id", Text),
    Column("message_id", Text),
    Column("payload", LargeBinary, nullable=False, info=BODY),
    Column("created_at", BigInteger, nullable=False),
    Index("events_id", "tenant", "id", unique=True),
    Index(
        "events_message",
        "tenant",
        "message_id",
        sqlite_where=text("message_id IS NOT NULL"),
    ),
    # Else SQLite gives a number again after the newest rows were deleted, and a reader's place in the log is wrong.
    sqlite_autoincrement=True,
)
