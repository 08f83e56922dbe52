"""Files of messages."""

from sqlalchemy import BigInteger, Column, Index, LargeBinary, Table, Text, text

from zapd.store.tables.schema import BODY, metadata

# Files of messages. Their content is on disk under its hash; several rows may share it.
media = Table(
    "media",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("connection_id", Text),
    Column("state", Text, nullable=False),
    Column("mime", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sha256", Text),
    Column("filename", Text),
    Column("remote", LargeBinary, info=BODY),  # what the transport needs to download it
    Column("error", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("kept_from", BigInteger, nullable=False),  # retention counts from here: the last use, or a later send_at
    Index("media_sha256", "sha256", sqlite_where=text("sha256 IS NOT NULL")),
)

media_uses = Table(
    "media_uses",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("message_id", Text, primary_key=True),
    Column("media_id", Text, primary_key=True),
    Index("media_uses_media", "tenant", "media_id"),
)

# Files that a provider holds for us, so that one file for many contacts is uploaded once.
media_uploads = Table(
    "media_uploads",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("connection_id", Text, primary_key=True),
    Column("media_id", Text, primary_key=True),
    Column("provider_id", Text, nullable=False),
    Column("uploaded_at", BigInteger, nullable=False),
)
