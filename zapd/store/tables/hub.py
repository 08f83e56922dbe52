"""The event hub."""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, Table, Text, text

from zapd.store.tables.schema import BODY, metadata

# What operators define: sources, mappings, routes, targets, syncs. Every version is kept, one is in force.
definitions = Table(
    "definitions",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("active", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
)

definition_versions = Table(
    "definition_versions",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("given", LargeBinary, nullable=False),  # sealed JSON
    Column("created_at", BigInteger, nullable=False),
)

#: Events that wait for the routes, or could not pass them. A query must carry these very words.
UNPROCESSED = text("progress <> 'done'")
#: Actions that will still be tried, or were given up.
UNFINISHED = text("state <> 'done'")

event_states = Table(
    "event_states",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("progress", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("source", Text),
    Column("cause", Text),
    Column("depth", Integer, nullable=False),
    Column("run", Integer, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("occurred_at", BigInteger, nullable=False),
    Column("processed_at", BigInteger),
    Column("error", Text),
    Column("trace", LargeBinary, info=BODY),  # JSON
    Index("event_states_unprocessed", "progress", "due_at", sqlite_where=UNPROCESSED),
)

inbound = Table(
    "inbound",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("dedup", Text, nullable=False),  # drops a webhook that comes twice
    Column("raw", LargeBinary, nullable=False, info=BODY),
    Column("content_type", Text, nullable=False),
    Column("headers", Text, nullable=False),  # JSON, without what is secret
    Column("received_at", BigInteger, nullable=False),
    Index("inbound_dedup", "tenant", "source", "dedup", unique=True),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("check", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Index("quarantine_source", "tenant", "source", "id"),
)

actions = Table(
    "actions",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("event_id", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("run", Integer, nullable=False),
    Column("route", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("payload", LargeBinary, nullable=False, info=BODY),
    Column("max_attempts", Integer, nullable=False),
    Column("backoff", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("finished_at", BigInteger),
    Column("error", Text),
    Column("result", Text),
    Column("answer", LargeBinary, info=BODY),
    Index("actions_event", "tenant", "event_id"),
    Index("actions_unfinished", "state", "id", sqlite_where=UNFINISHED),
)
