"""Where each event is on its way through the routes, and the raw bodies of those that came in by webhook."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa

from zapd.model.hub import PROGRESS_SOURCES, EventState, Inbound, Progress
from zapd.store.commands import Change, Insert, Row, Update, among, by_key, word
from zapd.store.database import Database
from zapd.store.reader import Reader
from zapd.store.tables import UNPROCESSED, event_states, inbound

_S, _I = event_states.c, inbound.c
_KEY = (_S.tenant, _S.event_id)
_STATE_NAMES = tuple(column.name for column in _S)
_INBOUND_NAMES = tuple(column.name for column in _I)
_ADDED = Insert(table=event_states, columns=tuple(_S), when_there="skip")
_CAME_IN = Insert(table=inbound, columns=tuple(_I), when_there="skip")
_BY_ID = by_key(event_states, _KEY)
_RAW_BY_ID = by_key(inbound, (_I.tenant, _I.event_id))
_BY_DEDUP = by_key(inbound, (_I.tenant, _I.source, _I.dedup))
_AT, _NEXT_RUN = sa.column("at", sa.BigInteger()), sa.column("next_run", sa.Integer())


@cache
def _settling(to: Progress) -> Update:
    return Update(
        table=event_states,
        columns=(*_KEY, _S.run, _AT, _S.error, _S.trace),
        sets=lambda v: {"progress": word(to), "processed_at": v.c.at, "error": v.c.error, "trace": v.c.trace},
        where=lambda v: [_S.run == v.c.run, among(_S.progress, PROGRESS_SOURCES[to])],
    )


_AGAIN = Update(
    table=event_states,
    columns=(*_KEY, _S.run, _NEXT_RUN, _AT),
    sets=lambda v: {"progress": word(Progress.PENDING), "run": v.c.next_run, "due_at": v.c.at, "error": sa.null()},
    where=lambda v: [_S.run == v.c.run, among(_S.progress, PROGRESS_SOURCES[Progress.PENDING])],
)


class EventStateStore:
    """The events of all tenants that go through the routes."""

    def __init__(self, *, database: Database, reader: Reader) -> None:
        self._database = database
        self._reader = reader

    @staticmethod
    def added(s: EventState) -> Change:
        """It waits for the routes: as a guard it has no row when it is known already."""
        values = [getattr(s, name) for name in _STATE_NAMES]
        values[_STATE_NAMES.index("progress")] = s.progress.value
        return Change(_ADDED, tuple(values))

    @staticmethod
    def came_in(i: Inbound) -> Change:
        """Its raw body: as a guard it has no row when the source sent it before."""
        return Change(_CAME_IN, tuple(getattr(i, name) for name in _INBOUND_NAMES))

    @staticmethod
    def settled(s: EventState, to: Progress, *, at: int, trace: bytes, error: str | None = None) -> Change:
        """It went through the routes: as a guard it has no row when this run was settled already."""
        return Change(_settling(to), (s.tenant, s.event_id, s.run, at, error, trace))

    @staticmethod
    def again(s: EventState, *, due_at: int) -> Change:
        """It goes through the routes once more: as a guard it has no row when somebody else did that just now."""
        return Change(_AGAIN, (s.tenant, s.event_id, s.run, s.run + 1, due_at))

    async def get(self, tenant: str, event_id: str) -> EventState | None:
        """Where one event is."""
        row = await self._reader.one(_BY_ID, (tenant, event_id))
        return None if row is None else _state_of(row)

    async def raw(self, tenant: str, event_id: str) -> Inbound | None:
        """The body as it came."""
        row = await self._reader.one(_RAW_BY_ID, (tenant, event_id))
        return None if row is None else Inbound(**dict(zip(_INBOUND_NAMES, row, strict=True)))

    async def first(self, tenant: str, source: str, dedup: str) -> Inbound | None:
        """What came first under this key of the source's."""
        row = await self._reader.one(_BY_DEDUP, (tenant, source, dedup))
        return None if row is None else Inbound(**dict(zip(_INBOUND_NAMES, row, strict=True)))

    async def unprocessed(
        self, progress: Progress, *, due_before: int, limit: int, tenant: str | None = None
    ) -> list[EventState]:
        """Those that wait (or failed) and are due, the oldest first."""
        query = sa.select(event_states).where(UNPROCESSED, _S.progress == progress.value, _S.due_at <= due_before)
        if tenant is not None:
            query = query.where(_S.tenant == tenant)
        return await self._fetch(query.order_by(_S.due_at, _S.event_id).limit(limit))

    async def matching(
        self,
        tenant: str,
        *,
        types: Sequence[str] = ("*",),
        source: str | None = None,
        since: int | None = None,
        until: int | None = None,
        progress: Progress | None = None,
        after: str | None = None,
        limit: int = 100,
        newest: bool = False,
    ) -> list[EventState]:
        """Events of a tenant by what they are, in the order of their ids."""
        query = sa.select(event_states).where(_S.tenant == tenant, of_types(_S.type, types))
        if source is not None:
            query = query.where(_S.source == source)
        if since is not None:
            query = query.where(_S.created_at >= since)
        if until is not None:
            query = query.where(_S.created_at < until)
        if progress is not None:
            query = query.where(_S.progress == progress.value)
        if after is not None:
            query = query.where(_S.event_id > after)
        return await self._fetch(query.order_by(_S.event_id.desc() if newest else _S.event_id).limit(limit))

    async def count(self, progress: Progress) -> int:
        """How many of all tenants wait, or failed."""
        query: sa.Select[Any] = sa.select(sa.func.count()).select_from(event_states)
        return int((await self._database.fetch(query.where(UNPROCESSED, _S.progress == progress.value)))[0][0])

    async def _fetch(self, query: sa.Select[Any]) -> list[EventState]:
        return [_state_of(row) for row in await self._database.fetch(query)]


def of_types(column: sa.Column[str], patterns: Sequence[str]) -> sa.ColumnElement[bool]:
    """Whether a type is one of the patterns `*`, `lead.*`, `lead.created`."""
    if "*" in patterns:
        return sa.true()
    parts = [
        sa.and_(column >= p[:-1], column < p[:-2] + "/") if p.endswith(".*") else column == p  # "/" follows "."
        for p in patterns
    ]
    return sa.or_(sa.false(), *parts)


def _state_of(row: Row) -> EventState:
    fields: dict[str, Any] = dict(zip(_STATE_NAMES, row, strict=True))
    fields["progress"] = Progress(fields["progress"])
    return EventState(**fields)
