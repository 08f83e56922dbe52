"""Messages, and what providers say about them."""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text, text

from zapd.store.tables.schema import BODY, metadata

#: Messages that somebody may have to look at. A query must carry these very words for its index to be used.
ATTENTION = text("status IN ('sending','failed','held','dlq')")

messages = Table(
    "messages",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("connection_id", Text, nullable=False),
    Column("direction", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("peer", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False, info=BODY),
    Column("priority", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("job_id", Text),
    Column("provider_id", Text),
    Column("reply_to", Text),
    Column("send_at", BigInteger),
    Column("expires_at", BigInteger),
    Column("sending_at", BigInteger),
    Column("sent_at", BigInteger),
    Column("delivered_at", BigInteger),
    Column("read_at", BigInteger),
    Column("played_at", BigInteger),
    Column("failed_at", BigInteger),
    Column("error_code", Text),
    Column("error", Text),
    Column("sender", Text),  # in a group: who wrote it
    Index("messages_history", "tenant", "connection_id", "id"),
    # A provider's id is unique per connection and direction: this drops duplicate inbound messages.
    Index(
        "messages_provider",
        "tenant",
        "connection_id",
        "direction",
        "provider_id",
        unique=True,
        sqlite_where=text("provider_id IS NOT NULL"),
    ),
    Index(
        "messages_attention",
        "tenant",
        "status",
        "id",
        sqlite_where=ATTENTION,
    ),
)

parked_receipts = Table(
    "parked_receipts",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("connection_id", Text, primary_key=True),
    Column("provider_id", Text, primary_key=True),
    Column("status", Text, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("error_code", Text),
    Column("error", Text),
    Column("created_at", BigInteger, nullable=False),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("scope", Text, primary_key=True),  # which operation on which connection
    Column("key", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("response", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
)

inbox = Table(
    "inbox",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("connection_id", Text, nullable=False),
    Column("provider_key", Text, nullable=False),  # drops a webhook that the provider sends twice
    Column("raw", LargeBinary, nullable=False, info=BODY),
    Column("received_at", BigInteger, nullable=False),
    Column("processed_at", BigInteger),
    Column("error", Text),
    Index("inbox_provider", "tenant", "connection_id", "provider_key", unique=True),
)

# The simulated WhatsApp network's own memory: written before it answers a send.
sandbox_ledger = Table(
    "sandbox_ledger",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("connection_id", Text, primary_key=True),
    Column("id", Text, primary_key=True),  # the provider id that the network gave
    Column("message_id", Text, nullable=False),
    Column("peer", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False, info=BODY),
    Column("at", BigInteger, nullable=False),
    Column("stage", Integer, nullable=False),  # how many of its receipts the network has handed out
)
