"""Jobs that were given up, until somebody runs them again, drops them, or their time is over."""

from dataclasses import astuple, fields

import sqlalchemy as sa

from zapd.model.dead_letter import DeadFilter, DeadLetter
from zapd.store.commands import Change, Delete, Insert, Lookup, Row, Update, by_key
from zapd.store.database import Database
from zapd.store.reader import Reader
from zapd.store.tables import dead_letters

_D = dead_letters.c
_NAMES = tuple(field.name for field in fields(DeadLetter))
_COLUMNS = tuple(_D[name] for name in _NAMES)
_ADDED = Insert(table=dead_letters, columns=_COLUMNS, key=3, when_there="replace")
_REMOVED = Delete(table=dead_letters, columns=(_D.tenant, _D.queue, _D.id), key=3)
_EDITED = Update(
    table=dead_letters,
    columns=(_D.tenant, _D.queue, _D.id, _D.payload),
    sets=lambda v: {"payload": v.c.payload},
    key=3,
)
_BY_ID: Lookup = by_key(dead_letters, (_D.tenant, _D.id))
_MOST_IDS = 500  # in one IN list

#: A place in the list, which goes from the newest to the oldest: died_at, id, queue.
Place = tuple[int, str, str]


class DeadLetterStore:
    """The dead letters of all tenants."""

    def __init__(self, *, database: Database, reader: Reader) -> None:
        self._database = database
        self._reader = reader

    @staticmethod
    def added(letter: DeadLetter) -> Change:
        """The job is given up; a letter that is there with its id was an earlier life of it."""
        return Change(_ADDED, astuple(letter))

    @staticmethod
    def removed(tenant: str, queue: str, letter_id: str) -> Change:
        """It runs again, or somebody dropped it. As a guard it has a row for one caller only."""
        return Change(_REMOVED, (tenant, queue, letter_id))

    @staticmethod
    def edited(tenant: str, queue: str, letter_id: str, payload: bytes) -> Change:
        """Another payload for when it runs again."""
        return Change(_EDITED, (tenant, queue, letter_id, payload))

    async def get(self, tenant: str, letter_id: str) -> DeadLetter | None:
        """The newest with this id."""
        found = [_letter(row) for row in await self._reader.many(_BY_ID, (tenant, letter_id))]
        return max(found, key=lambda letter: letter.died_at, default=None)

    async def listed(self, tenant: str, wanted: DeadFilter, *, after: Place | None, limit: int) -> list[DeadLetter]:
        """A page, the newest first."""
        if wanted.ids is not None and len(wanted.ids) > _MOST_IDS:
            return await self._of_many_ids(tenant, wanted, limit)
        query = sa.select(*_COLUMNS).where(_D.tenant == tenant, *_conditions(wanted))
        order = sa.tuple_(_D.died_at, _D.id, _D.queue)
        if after is not None:
            query = query.where(order < sa.tuple_(*map(sa.literal, after)))
        query = query.order_by(_D.died_at.desc(), _D.id.desc(), _D.queue.desc()).limit(limit)
        return [_letter(row) for row in await self._database.fetch(query)]

    async def _of_many_ids(self, tenant: str, wanted: DeadFilter, limit: int) -> list[DeadLetter]:
        found: list[DeadLetter] = []
        ids = wanted.ids or ()
        for start in range(0, len(ids), _MOST_IDS):
            some = ids[start : start + _MOST_IDS]
            query = sa.select(*_COLUMNS).where(_D.tenant == tenant, _D.id.in_(some), *_conditions(wanted, ids=False))
            found += [_letter(row) for row in await self._database.fetch(query)]
        return sorted(found, key=place, reverse=True)[:limit]

    async def count(self, tenant: str, wanted: DeadFilter) -> int:
        """How many fit."""
        query = sa.select(sa.func.count()).where(_D.tenant == tenant, *_conditions(wanted))
        return int((await self._database.fetch(query))[0][0])

    async def by_queue(self) -> dict[str, int]:
        """How many there are of each queue, of all tenants."""
        query = sa.select(_D.queue, sa.func.count()).group_by(_D.queue)
        return {queue: int(count) for queue, count in await self._database.fetch(query)}

    async def older(self, queue: str, before: int, limit: int) -> list[tuple[str, str, str]]:
        """Tenant, queue and id of letters of the queue that died before that time (ms)."""
        query = sa.select(_D.tenant, _D.queue, _D.id).where(_D.queue == queue, _D.died_at < before).limit(limit)
        return [(row[0], row[1], row[2]) for row in await self._database.fetch(query)]


def place(letter: DeadLetter) -> Place:
    """Where a letter stands in the list."""
    return letter.died_at, letter.id, letter.queue


def _letter(row: Row) -> DeadLetter:
    return DeadLetter(**dict(zip(_NAMES, row, strict=True)))


def _conditions(wanted: DeadFilter, *, ids: bool = True) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    for column, value in ((_D.queue, wanted.queue), (_D.reason, wanted.reason), (_D.kind, wanted.kind)):
        if value is not None:
            found.append(column == value)
    if wanted.since is not None:
        found.append(_D.died_at >= wanted.since)
    if wanted.until is not None:
        found.append(_D.died_at < wanted.until)
    if ids and wanted.ids is not None:
        found.append(_D.id.in_(wanted.ids))
    if wanted.text:
        searched = (_D.error, _D.reason, _D.id, _D.kind, _D.lane)
        found.append(sa.or_(*[column.icontains(wanted.text, autoescape=True) for column in searched]))
    return found
