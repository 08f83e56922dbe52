"""The tables, and nothing else. Times are milliseconds since 1970 UTC; bodies are bytes and are never re-encoded.

Every key and every unique index carries the tenant. A partial index is partial on PostgreSQL too: the migrations, which
make them, say so; `postgresql_where` here would load that dialect, 3 MiB, into every daemon on SQLite.
"""

from zapd.store.tables.access import api_keys, data_keys, logins, tenants
from zapd.store.tables.connections import connections, credentials, numbers, peers, templates, turns, windows
from zapd.store.tables.contacts import contact_aliases, contacts
from zapd.store.tables.events import events
from zapd.store.tables.hub import (
    UNFINISHED,
    UNPROCESSED,
    actions,
    definition_versions,
    definitions,
    event_states,
    inbound,
    quarantine,
)
from zapd.store.tables.jobs import OPEN, PENDING, UNIQUE, batch_jobs, batches, dead_letters, outbox
from zapd.store.tables.media import media, media_uploads, media_uses
from zapd.store.tables.messages import ATTENTION, idempotency, inbox, messages, parked_receipts, sandbox_ledger
from zapd.store.tables.schedules import cron_fires, schedules
from zapd.store.tables.schema import SEALED, metadata
from zapd.store.tables.settings import settings
from zapd.store.tables.webhooks import (
    SEQ_TRIGGERS,
    UNDELIVERED,
    attempts,
    deliveries,
    endpoint_seqs,
    endpoint_waits,
    endpoints,
)

__all__ = [
    "ATTENTION",
    "OPEN",
    "PENDING",
    "SEALED",
    "SEQ_TRIGGERS",
    "UNDELIVERED",
    "UNFINISHED",
    "UNIQUE",
    "UNPROCESSED",
    "actions",
    "api_keys",
    "attempts",
    "batch_jobs",
    "batches",
    "connections",
    "contact_aliases",
    "contacts",
    "credentials",
    "cron_fires",
    "data_keys",
    "dead_letters",
    "definition_versions",
    "definitions",
    "deliveries",
    "endpoint_seqs",
    "endpoint_waits",
    "endpoints",
    "event_states",
    "events",
    "idempotency",
    "inbound",
    "inbox",
    "logins",
    "media",
    "media_uploads",
    "media_uses",
    "messages",
    "metadata",
    "numbers",
    "outbox",
    "parked_receipts",
    "peers",
    "quarantine",
    "sandbox_ledger",
    "schedules",
    "settings",
    "templates",
    "tenants",
    "turns",
    "windows",
]
