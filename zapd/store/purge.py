"""Deletes what is past its retention, a slice at a time. Rows that something still waits for are never deleted."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from zapd.model.batch import BatchState
from zapd.model.hub import OPEN, ActionState, Progress
from zapd.model.message import ENDED, MessageStatus
from zapd.model.webhook import DeliveryState
from zapd.store.commands import Change, Condition, Delete, Row, among, word
from zapd.store.database import Database
from zapd.store.media import IN_USE
from zapd.store.tables import (
    actions,
    attempts,
    batch_jobs,
    batches,
    contact_aliases,
    contacts,
    credentials,
    cron_fires,
    deliveries,
    event_states,
    events,
    idempotency,
    inbound,
    inbox,
    logins,
    media,
    media_uploads,
    media_uses,
    messages,
    numbers,
    parked_receipts,
    peers,
    quarantine,
    sandbox_ledger,
    templates,
    turns,
)
from zapd.store.waiting import UNDELIVERED, event_over
from zapd.store.writer import Writer

SLICE = 200  #: rows; each is a task on the loop, and this many take about 3 ms

_BEFORE = sa.column("before", sa.BigInteger())
_USES = Delete(table=media_uses, columns=(media_uses.c.tenant, media_uses.c.message_id))
_ATTEMPTS = Delete(table=attempts, columns=(attempts.c.tenant, attempts.c.delivery_id))


_WAITS = sa.exists().where(
    messages.c.tenant == turns.c.tenant,
    messages.c.id == turns.c.message_id,
    messages.c.status == word(MessageStatus.QUEUED),
)
_MEMBERS = Delete(table=batch_jobs, columns=(batch_jobs.c.tenant, batch_jobs.c.batch_id))
_ALIASES = Delete(table=contact_aliases, columns=(contact_aliases.c.tenant, contact_aliases.c.contact_id))
_TOGETHER = {
    deliveries.name: _ATTEMPTS,
    messages.name: _USES,
    batches.name: _MEMBERS,
    contacts.name: _ALIASES,
}


@dataclass(frozen=True)
class _Rule:
    """Rows whose `age` (ms) is below the limit may go where `ended` holds."""

    age: sa.Column[int]
    ended: tuple[Condition, ...] = ()
    key: tuple[sa.Column[str], ...] = ()

    @property
    def table(self) -> sa.Table:
        return self.age.table

    @property
    def keys(self) -> tuple[sa.Column[str], ...]:
        return self.key or tuple(self.table.primary_key.columns)


_RULES = (
    _Rule(messages.c.created_at, (among(messages.c.status, ENDED),)),
    # Its primary key is the place in the log.
    _Rule(events.c.created_at, event_over(for_good=False), key=(events.c.tenant, events.c.id)),
    _Rule(deliveries.c.finished_at, (among(deliveries.c.state, frozenset(DeliveryState) - UNDELIVERED),)),
    _Rule(event_states.c.processed_at, (among(event_states.c.progress, frozenset(Progress) - {Progress.PENDING}),)),
    _Rule(actions.c.finished_at, (among(actions.c.state, frozenset(ActionState) - OPEN),)),
    _Rule(inbound.c.received_at),
    _Rule(quarantine.c.received_at),
    _Rule(inbox.c.processed_at),
    _Rule(idempotency.c.created_at),
    _Rule(parked_receipts.c.created_at),
    _Rule(sandbox_ledger.c.at),
    _Rule(cron_fires.c.slot),
    _Rule(batches.c.ended_at, (among(batches.c.state, frozenset({BatchState.ENDED})),)),
    _Rule(credentials.c.archived_at),
    _Rule(numbers.c.resolved_at),
    _Rule(peers.c.first_out_at),
    _Rule(templates.c.since),
    _Rule(turns.c.since, (~_WAITS,)),
    _Rule(logins.c.seen_at),
    _Rule(contacts.c.updated_at, (contacts.c.opted_out_at.is_(None),)),  # a wish for no messages never grows old
    _Rule(media.c.kept_from, (~IN_USE,)),
    _Rule(media_uploads.c.uploaded_at),
)


def _delete(rule: _Rule) -> Delete:
    # The condition is checked again here: a person may retry a message between the look and the delete.
    return Delete(
        table=rule.table,
        columns=(*rule.keys, _BEFORE),
        where=lambda v: [rule.age < v.c.before, *rule.ended],
        key=len(rule.keys),
    )


class Purge:
    """Deletes by retention in the tables `TABLES`."""

    RULES: Mapping[str, _Rule] = {rule.table.name: rule for rule in _RULES}
    DELETES: Mapping[str, Delete] = {name: _delete(rule) for name, rule in RULES.items()}
    TABLES = frozenset(RULES)

    def __init__(self, *, database: Database, writer: Writer) -> None:
        self._database = database
        self._writer = writer

    async def purge(self, table: str, before: int) -> int:
        """Delete up to SLICE ended rows older than `before` (ms); returns how many. 0: none is left."""
        rule, delete = self.RULES[table], self.DELETES[table]
        found = await self._database.fetch(sa.select(*rule.keys).where(rule.age < before, *rule.ended).limit(SLICE))
        gone = await asyncio.gather(
            *[self._writer.commit(Change(delete, (*key, before)), *_with(table, key)) for key in found]
        )
        return sum(row is not None for row in gone)


def _with(table: str, key: Row) -> list[Change]:
    """What goes together with a row."""
    return [Change(command, key) for name, command in _TOGETHER.items() if name == table]
