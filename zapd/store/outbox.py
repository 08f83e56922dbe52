"""The jobs that must exist. A row is committed with the work that it stands for and goes when the job has ended."""

from dataclasses import dataclass, fields
from typing import Protocol

import sqlalchemy as sa

from zapd.store.commands import Change, Delete, Insert, Row, Update, by_key
from zapd.store.database import Database
from zapd.store.reader import Reader
from zapd.store.tables import outbox

_O = outbox.c


@dataclass(frozen=True, kw_only=True, slots=True)
class OutboxRow:
    """What a job is made of. Times in milliseconds since 1970 UTC."""

    tenant: str
    id: str
    queue: str
    kind: str
    lane: str
    priority: int
    due_at: int
    payload: bytes
    created_at: int


class JobLike(Protocol):
    """What a row is made from: a job of the queue engine, which this package must not import."""

    @property
    def tenant(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def queue(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def lane(self) -> str: ...
    @property
    def priority(self) -> int: ...
    @property
    def due_at(self) -> int: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def created_at(self) -> int: ...


_NAMES = tuple(field.name for field in fields(OutboxRow))
_COLUMNS = tuple(_O[name] for name in _NAMES)
_NOW = sa.column("now", sa.BigInteger())
_ADDED = Insert(table=outbox, columns=_COLUMNS, when_there="skip")
_ADDED_OR_CONFLICT = Insert(table=outbox, columns=_COLUMNS)
_ADDED_UNIQUE = Insert(table=outbox, columns=(*_COLUMNS, _O.unique_key, _O.unique_until), when_there="skip")
_REPRIORITIZED = Update(
    table=outbox, columns=(_O.tenant, _O.id, _O.priority), sets=lambda v: {"priority": v.c.priority}
)
_REMOVED = Delete(table=outbox, columns=(_O.tenant, _O.id))
_FREED = Update(
    table=outbox,
    columns=(_O.tenant, _O.queue, _O.unique_key, _NOW),
    sets=lambda _: {"unique_key": sa.null(), "unique_until": sa.null()},
    where=lambda v: [_O.unique_until <= v.c.now],
    key=3,
)
_PASSED_ON = Update(
    table=outbox,
    columns=(_O.tenant, _O.id, _O.unique_key),
    sets=lambda _: {"unique_key": sa.null(), "unique_until": sa.null()},
    where=lambda v: [_O.unique_key == v.c.unique_key],
)
_BY_ID = by_key(outbox, (_O.tenant, _O.id))
_BY_UNIQUE = by_key(outbox, (_O.tenant, _O.queue, _O.unique_key))


class OutboxStore:
    """The outbox of all tenants."""

    def __init__(self, *, database: Database, reader: Reader) -> None:
        self._database = database
        self._reader = reader

    @staticmethod
    def added(row: JobLike) -> Change:
        """A job that must exist from this commit on; one that is there already is left as it is."""
        return Change(_ADDED, _values(row))

    @staticmethod
    def added_or_conflict(row: JobLike) -> Change:
        """As `added`, but one that is there already fails the whole commit: it raises Conflict."""
        return Change(_ADDED_OR_CONFLICT, _values(row))

    @staticmethod
    def added_unique(row: JobLike, key: str, until: int | None) -> Change:
        """As `added`, and no other job of the queue has this key as long as this one lives, or until then (ms)."""
        return Change(_ADDED_UNIQUE, (*_values(row), key, until))

    @staticmethod
    def freed(tenant: str, queue: str, key: str, now: int) -> Change:
        """The key is free again when its time is over. As a guard it never has a row: its key is gone with it."""
        return Change(_FREED, (tenant, queue, key, now))

    @staticmethod
    def passed_on(tenant: str, job_id: str, key: str) -> Change:
        """The job gives its key away and goes on without. As a guard it has a row while the job lives and has it."""
        return Change(_PASSED_ON, (tenant, job_id, key))

    async def get(self, tenant: str, job_id: str) -> OutboxRow | None:
        """The row of a job that has not ended."""
        return _row(await self._reader.one(_BY_ID, (tenant, job_id)))

    async def holder(self, tenant: str, queue: str, key: str) -> OutboxRow | None:
        """The row of the job that holds a key."""
        return _row(await self._reader.one(_BY_UNIQUE, (tenant, queue, key)))

    @staticmethod
    def removed(tenant: str, job_id: str) -> Change:
        """The job ended."""
        return Change(_REMOVED, (tenant, job_id))

    @staticmethod
    def reprioritized(tenant: str, job_id: str, priority: int) -> Change:
        """The job has another priority from now on."""
        return Change(_REPRIORITIZED, (tenant, job_id, priority))

    async def scan(self, *, after: str | None, created_before: int, limit: int) -> list[OutboxRow]:
        """A page of all tenants' rows that were made before that time (ms), in the order of their job ids."""
        query = sa.select(*_COLUMNS).where(_O.created_at < created_before).order_by(_O.id).limit(limit)
        if after is not None:
            query = query.where(_O.id > after)
        return [OutboxRow(**dict(zip(_NAMES, row, strict=True))) for row in await self._database.fetch(query)]

    async def count(self) -> int:
        """How many jobs must exist."""
        return int((await self._database.fetch(sa.select(sa.func.count()).select_from(outbox)))[0][0])

    async def oldest(self) -> int | None:
        """When the row that comes first in the order was made (ms)."""
        rows = await self._database.fetch(sa.select(_O.created_at).order_by(_O.id).limit(1))
        return rows[0][0] if rows else None


def _values(row: JobLike) -> Row:
    r = row
    return (r.tenant, r.id, r.queue, r.kind, r.lane, r.priority, r.due_at, r.payload, r.created_at)


def _row(found: Row | None) -> OutboxRow | None:
    if found is None:
        return None
    by_name = dict(zip((column.name for column in outbox.c), found, strict=True))
    return OutboxRow(**{name: by_name[name] for name in _NAMES})
