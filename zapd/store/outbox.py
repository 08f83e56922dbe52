"""The jobs that must exist. A row is committed with the work that it stands for and goes when the job has ended."""

from dataclasses import dataclass, fields
from typing import Protocol

import sqlalchemy as sa

from zapd.store.commands import Change, Delete, Insert
from zapd.store.database import Database
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


_COLUMNS = tuple(_O[field.name] for field in fields(OutboxRow))
_ADDED = Insert(table=outbox, columns=_COLUMNS, when_there="skip")
_REMOVED = Delete(table=outbox, columns=(_O.tenant, _O.id))


class OutboxStore:
    """The outbox of all tenants."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    @staticmethod
    def added(row: JobLike) -> Change:
        """A job that must exist from this commit on; one that is there already is left as it is."""
        r = row
        values = (r.tenant, r.id, r.queue, r.kind, r.lane, r.priority, r.due_at, r.payload, r.created_at)
        return Change(_ADDED, values)

    @staticmethod
    def removed(tenant: str, job_id: str) -> Change:
        """The job ended."""
        return Change(_REMOVED, (tenant, job_id))

    async def scan(self, *, after: str | None, created_before: int, limit: int) -> list[OutboxRow]:
        """A page of all tenants' rows that were made before that time (ms), in the order of their job ids."""
        query = sa.select(*_COLUMNS).where(_O.created_at < created_before).order_by(_O.id).limit(limit)
        if after is not None:
            query = query.where(_O.id > after)
        names = [column.name for column in _COLUMNS]
        return [OutboxRow(**dict(zip(names, row, strict=True))) for row in await self._database.fetch(query)]

    async def count(self) -> int:
        """How many jobs must exist."""
        return int((await self._database.fetch(sa.select(sa.func.count()).select_from(outbox)))[0][0])

    async def oldest(self) -> int | None:
        """When the row that comes first in the order was made (ms)."""
        rows = await self._database.fetch(sa.select(_O.created_at).order_by(_O.id).limit(1))
        return rows[0][0] if rows else None
