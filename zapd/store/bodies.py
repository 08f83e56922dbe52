"""What is done to bodies as bytes at rest, whatever table they lie in: seal anew, empty, look through."""

import re
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from zapd.model.hub import ActionState, Progress
from zapd.model.message import MessageStatus
from zapd.model.webhook import ERASED
from zapd.store.commands import Change, Condition, Row, Update, among
from zapd.store.database import Database
from zapd.store.sealing import Sealing
from zapd.store.tables import SEALED, actions, attempts, event_states, events, inbound, messages, metadata
from zapd.store.waiting import event_over, over
from zapd.store.writer import Writer

SLICE = 200  #: rows read and written at once

#: Every table with bodies, in the order in which a walk visits them.
TABLES: Mapping[str, sa.Table] = {
    table.name: table for table in metadata.sorted_tables if any(c.info.get(SEALED) for c in table.c)
}


class Walked(NamedTuple):
    """A slice of a walk over a table: where it ended (None: the table is done) and how many rows it changed."""

    after: Row | None
    changed: int


class Mention(NamedTuple):
    """A row that names somebody: its key and its bodies."""

    key: Row
    bodies: Row


class _Bodies:
    """One table's bodies. The change compares what it read: what was written meanwhile stays."""

    def __init__(self, table: sa.Table) -> None:
        self.table = table
        self.key = tuple(table.primary_key.columns)
        self.bodies = tuple(column for column in table.c if column.info.get(SEALED))
        self.names = [f"{table.name}.{column.name}".encode() for column in self.bodies]
        # Columns of no table: the writer would seal what is sealed already.
        was = [sa.column(f"was_{column.name}", column.type) for column in self.bodies]
        new = [sa.column(f"new_{column.name}", column.type) for column in self.bodies]
        self.rewritten = Update(
            table=table,
            columns=(*self.key, *was, *new),
            sets=lambda v: {column.name: v.c[f"new_{column.name}"] for column in self.bodies},
            where=lambda v: [_same(column, v.c[f"was_{column.name}"]) for column in self.bodies],
            key=len(self.key),
        )

    def change(self, row: Row, bodies: Sequence[bytes | None]) -> Change:
        """These bodies in place of those of the row, which begins with its key."""
        return Change(self.rewritten, (*row[: len(self.key)], *row[len(self.key) :], *bodies))

    def page(self, after: Row | None, *conditions: sa.ColumnElement[bool]) -> sa.Select[Any]:
        """The next SLICE rows: their keys, then their bodies."""
        query = sa.select(*self.key, *self.bodies).where(*conditions).order_by(*self.key).limit(SLICE)
        if after is None:
            return query
        last = [sa.literal(value, column.type) for value, column in zip(after, self.key, strict=True)]
        return query.where(sa.tuple_(*self.key) > sa.tuple_(*last))


class BodyStore:
    """The bodies of all tables and tenants."""

    def __init__(self, *, database: Database, writer: Writer, sealing: Sealing) -> None:
        self._database = database
        self._writer = writer
        self._sealing = sealing
        self._bodies = {name: _Bodies(table) for name, table in TABLES.items()}

    async def resealed(self, table: str, after: Row | None) -> Walked:
        """Seal a slice under its tenants' newest keys. Safe to repeat: what is sealed so already is left alone."""
        bodies = self._bodies[table]
        tenant_at = [column.name for column in bodies.table.c].index("tenant")
        query = bodies.page(after).add_columns(tuple(bodies.table.c)[tenant_at])
        rows = await self._database.fetch_sealed(query)
        changes = []
        for *row, tenant in rows:
            stored = row[len(bodies.key) :]
            anew = [self._anew(tenant, body, name) for body, name in zip(stored, bodies.names, strict=True)]
            if anew != list(stored):
                changes.append(bodies.change(tuple(row), anew))
        await self._writer.commit_all(changes)
        end = tuple(rows[-1][: len(bodies.key)]) if len(rows) == SLICE else None
        return Walked(end, len(changes))

    def _anew(self, tenant: str, body: bytes | None, name: bytes) -> bytes | None:
        key = self._sealing.newest(tenant)
        if body is None or key is None or self._sealing.sealed_under(body) == key:
            return body
        plain = self._sealing.open(body, name)
        return body if plain is None or plain == ERASED else self._sealing.seal(plain, name, key)

    async def emptied(self, before: int, *, but: Collection[str] = ()) -> int:
        """Empty a slice of bodies that nobody will need and that are older than `before` (ms); returns how many.

        What was given up keeps its body: a person may try it again. `but`: tables whose rows go before their bodies do.
        """
        done = 0
        for age, ended in _PAST:
            if age.table.name in but:
                continue
            bodies = self._bodies[age.table.name]
            old = [age < before, bodies.bodies[0] != ERASED, *ended]
            rows = await self._database.fetch_sealed(bodies.page(None, *old))
            width = len(bodies.key)
            await self._writer.commit_all([bodies.change(row, _emptied(row[width:])) for row in rows])
            done += len(rows)
        return done

    async def mentioning(self, table: str, tenant: str, named: re.Pattern[bytes]) -> AsyncIterator[list[Mention]]:
        """A tenant's rows in whose bodies the pattern is found, slice by slice."""
        bodies = self._bodies[table]
        after: Row | None = None
        while True:
            rows = await self._database.fetch(bodies.page(after, bodies.table.c.tenant == tenant))
            width = len(bodies.key)
            yield [
                Mention(row[:width], row[width:])
                for row in rows
                if any(named.search(body) for body in row[width:] if body)
            ]
            if len(rows) < SLICE:
                return
            after = rows[-1][:width]


def _emptied(bodies: Row) -> list[bytes | None]:
    return [None if body is None else ERASED for body in bodies]


def _same(one: sa.ColumnElement[Any], other: sa.ColumnElement[Any]) -> sa.ColumnElement[bool]:
    return sa.or_(one == other, sa.and_(one.is_(None), other.is_(None)))


_ENDED = frozenset(
    {
        MessageStatus.SENT,
        MessageStatus.DELIVERED,
        MessageStatus.READ,
        MessageStatus.PLAYED,
        MessageStatus.EXPIRED,
        MessageStatus.CANCELED,
        MessageStatus.RECEIVED,
    }
)
#: How old a row is, and when nobody needs its bodies any more.
_PAST: tuple[tuple[sa.Column[int], tuple[Condition, ...]], ...] = (
    (messages.c.created_at, (among(messages.c.status, _ENDED),)),
    (events.c.created_at, event_over(for_good=True)),
    (inbound.c.received_at, over(inbound.c.tenant, inbound.c.event_id, for_good=True)),
    (attempts.c.started_at, ()),
    (event_states.c.processed_at, (among(event_states.c.progress, frozenset({Progress.DONE})),)),
    (actions.c.finished_at, (among(actions.c.state, frozenset({ActionState.DONE, ActionState.CANCELED})),)),
)
