"""The tables, and nothing else. Times are milliseconds since 1970 UTC; bodies are bytes and are never re-encoded.

Every key and every unique index carries the tenant. A partial index is partial on PostgreSQL too: the migrations, which
make them, say so; `postgresql_where` here would load that dialect, 3 MiB, into every daemon on SQLite.
"""

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    event,
    text,
)

metadata = MetaData()

#: Marks the columns whose bytes are encrypted under the tenant's data key: see `sealing.py`.
SEALED = "sealed"
_BODY = {SEALED: True}
_NUMBER = """
    INSERT INTO endpoint_seqs (tenant, endpoint_id, last) VALUES (NEW.tenant, NEW.endpoint_id, 1)
        ON CONFLICT (tenant, endpoint_id) DO UPDATE SET last = endpoint_seqs.last + 1;
    UPDATE deliveries
        SET seq = (SELECT last FROM endpoint_seqs WHERE tenant = NEW.tenant AND endpoint_id = NEW.endpoint_id)
        WHERE tenant = NEW.tenant AND id = NEW.id;
"""
#: By dialect: what makes a new delivery take its endpoint's next number. The migration uses them too.
SEQ_TRIGGERS = {
    "sqlite": (f"CREATE TRIGGER deliveries_number AFTER INSERT ON deliveries BEGIN {_NUMBER} END",),
    "postgresql": (
        f"CREATE FUNCTION zapd_number_delivery() RETURNS trigger AS $$ BEGIN {_NUMBER} RETURN NULL; END $$ "
        "LANGUAGE plpgsql",
        "CREATE TRIGGER deliveries_number AFTER INSERT ON deliveries FOR EACH ROW "
        "EXECUTE FUNCTION zapd_number_delivery()",
    ),
}

#: Messages that somebody may have to look at. A query must carry these very words for its index to be used.
ATTENTION = text("status IN ('sending','failed','held','dlq')")
#: Deliveries that somebody waits for or must look at; used as ATTENTION is.
UNDELIVERED = text("state <> 'delivered'")
#: Batches that have not ended.
OPEN = text("state = 'open'")
#: Jobs of batches that have not ended; used as ATTENTION is.
PENDING = text("state = 'pending'")
#: Outbox rows that hold a key.
UNIQUE = text("unique_key IS NOT NULL")

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
)

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
    Column("payload", LargeBinary, nullable=False, info=_BODY),
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
    Column("payload", LargeBinary, nullable=False, info=_BODY),
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

endpoints = Table(
    "endpoints",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("url", Text, nullable=False),
    Column("types", Text, nullable=False),  # JSON list
    Column("connection_id", Text),
    Column("format", Text, nullable=False),
    Column("headers", LargeBinary, nullable=False),  # sealed JSON
    Column("secrets", LargeBinary, nullable=False),  # sealed JSON
    Column("enabled", Boolean, nullable=False),
    Column("disabled_reason", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("options", Text),  # JSON; null: none
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("failing_since", BigInteger),
    Column("alerted", Integer, nullable=False, server_default="0"),
)

# The newest `deliveries.seq` of each endpoint. Kept apart: the deliveries go by retention, and their numbers never
# come again.
endpoint_seqs = Table(
    "endpoint_seqs",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("endpoint_id", Text, primary_key=True),
    Column("last", BigInteger, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("endpoint_id", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("event_type", Text, nullable=False),
    Column("connection_id", Text),
    Column("message_id", Text),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("next_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("last_status", Integer),
    Column("last_error", Text),
    Column("seq", BigInteger),  # by the trigger below
    Column("order_key", Text),
    Column("batch_id", Text),
    Index("deliveries_event", "tenant", "event_id", "endpoint_id", unique=True),
    Index("deliveries_seq", "tenant", "endpoint_id", "seq", unique=True),
    Index(
        "deliveries_order",
        "tenant",
        "endpoint_id",
        "order_key",
        "id",
        sqlite_where=text("order_key IS NOT NULL"),
    ),
    Index("deliveries_batch", "tenant", "batch_id", sqlite_where=text("batch_id IS NOT NULL")),
    Index("deliveries_endpoint", "tenant", "endpoint_id", "id"),
    Index("deliveries_undelivered", "state", sqlite_where=UNDELIVERED),
    Index(
        "deliveries_message",
        "tenant",
        "message_id",
        sqlite_where=text("message_id IS NOT NULL"),
    ),
)

# The number without gaps is given in the database and not by a statement of ours: rows that ON CONFLICT leaves out get
# none, and two daemons that insert at the same time wait for each other at the endpoint's row.
for _sql in SEQ_TRIGGERS["sqlite"]:
    event.listen(deliveries, "after_create", DDL(_sql).execute_if(dialect="sqlite"))  # type: ignore[no-untyped-call]

attempts = Table(
    "attempts",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("delivery_id", Text, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("started_at", BigInteger, nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("phases", Text, nullable=False),  # JSON
    Column("status", Integer),
    Column("response", LargeBinary, nullable=False, info=_BODY),
    Column("failure", Text),
    Column("owner", Text),
    Column("error", Text),
)

# Every unfinished job that SQL answers for. A row is written in the transaction that makes the work and goes when
# the job has finished; Redis can be rebuilt from it.
outbox = Table(
    "outbox",
    metadata,
    Column("id", Text, primary_key=True),  # the job's id; before the tenant, because the relay reads in its order
    Column("tenant", Text, primary_key=True),
    Column("queue", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("payload", LargeBinary, nullable=False, info=_BODY),
    Column("created_at", BigInteger, nullable=False),
    Column("unique_key", Text),  # no second job of the queue with it, as long as this row is here
    Column("unique_until", BigInteger),  # after this (ms) the key is free though the job lives
    Index("outbox_unique", "tenant", "queue", "unique_key", unique=True, sqlite_where=UNIQUE),
)

# Jobs that were given up, with all that is needed to run them again.
dead_letters = Table(
    "dead_letters",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("queue", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("payload", LargeBinary, nullable=False, info=_BODY),
    Column("reason", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("crashes", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("died_at", BigInteger, nullable=False),
    Index("dead_letters_age", "tenant", "died_at", "id"),
    Index("dead_letters_id", "tenant", "id"),
)

# Jobs that belong together: a batch, whose jobs run side by side, or a chain, one after the other.
batches = Table(
    "batches",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("total", Integer, nullable=False),
    Column("succeeded", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("callback", LargeBinary, info=_BODY),  # JSON
    Column("callback_job", Text),
    Column("created_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Index("batches_open", "state", "id", sqlite_where=OPEN),
)

batch_jobs = Table(
    "batch_jobs",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("batch_id", Text, primary_key=True),
    Column("job_id", Text, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("queue", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("spec", LargeBinary, info=_BODY),  # JSON of a step that is not a job yet
    Column("result", LargeBinary, info=_BODY),  # JSON
    Column("error", Text),
    Column("ended_at", BigInteger),
    Index("batch_jobs_order", "tenant", "batch_id", "position", unique=True),
    Index("batch_jobs_pending", "tenant", "batch_id", sqlite_where=PENDING),
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
    Column("raw", LargeBinary, nullable=False, info=_BODY),
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
    Column("payload", LargeBinary, nullable=False, info=_BODY),
    Column("at", BigInteger, nullable=False),
    Column("stage", Integer, nullable=False),  # how many of its receipts the network has handed out
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
    Column("remote", LargeBinary, info=_BODY),  # what the transport needs to download it
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

# What happens by the clock. `last_slot`: every slot up to it has been dealt with.
schedules = Table(
    "schedules",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("spec", LargeBinary, nullable=False),  # JSON
    Column("source", Text, nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("last_slot", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    Column("fires", Integer, nullable=False),
    Column("last_fired_at", BigInteger),
    Column("last_made", Text),
)

cron_fires = Table(
    "cron_fires",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("slot", BigInteger, primary_key=True),
    Column("fired_at", BigInteger, nullable=False),
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

settings = Table(
    "settings",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

# --- the event hub ---

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
    Column("trace", LargeBinary, info=_BODY),  # JSON
    Index("event_states_unprocessed", "progress", "due_at", sqlite_where=UNPROCESSED),
)

inbound = Table(
    "inbound",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("dedup", Text, nullable=False),  # drops a webhook that comes twice
    Column("raw", LargeBinary, nullable=False, info=_BODY),
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
    Column("payload", LargeBinary, nullable=False, info=_BODY),
    Column("max_attempts", Integer, nullable=False),
    Column("backoff", BigInteger, nullable=False),
    Column("due_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("finished_at", BigInteger),
    Column("error", Text),
    Column("result", Text),
    Index("actions_event", "tenant", "event_id"),
    Index("actions_unfinished", "state", "id", sqlite_where=UNFINISHED),
)
