"""Batches, chains, and their jobs."""

from dataclasses import astuple, fields

import sqlalchemy as sa

from zapd.model.batch import Batch, BatchKind, BatchState, Member, MemberState
from zapd.store.commands import Change, Insert, Row, Update, by_key, word
from zapd.store.database import Database
from zapd.store.reader import Reader
from zapd.store.tables import PENDING, batch_jobs, batches

_B, _J = batches.c, batch_jobs.c
_BATCH = tuple(_B[field.name] for field in fields(Batch))
_MEMBER = tuple(_J[field.name] for field in fields(Member))
_KEY = (_J.tenant, _J.batch_id, _J.job_id)

_ADDED = Insert(table=batches, columns=_BATCH, when_there="skip")
_MEMBER_ADDED = Insert(table=batch_jobs, columns=_MEMBER, key=3)
_ENDED = Update(
    table=batch_jobs,
    columns=(*_KEY, _J.state, _J.result, _J.error, _J.ended_at),
    sets=lambda v: {"state": v.c.state, "result": v.c.result, "error": v.c.error, "ended_at": v.c.ended_at},
    where=lambda _: [_J.state == word(MemberState.PENDING)],
    key=3,
)
_STARTED = Update(
    table=batch_jobs,
    columns=_KEY,
    sets=lambda _: {"state": word(MemberState.PENDING), "spec": sa.null()},
    where=lambda _: [_J.state == word(MemberState.BLOCKED)],
    key=3,
)
_SKIPPED = Update(
    table=batch_jobs,
    columns=(_J.tenant, _J.batch_id, _J.ended_at),
    sets=lambda v: {"state": word(MemberState.SKIPPED), "spec": sa.null(), "ended_at": v.c.ended_at},
    where=lambda _: [_J.state == word(MemberState.BLOCKED)],
)
_CLOSED = Update(
    table=batches,
    columns=(_B.tenant, _B.id, _B.succeeded, _B.failed, _B.callback_job, _B.ended_at),
    sets=lambda v: {
        "state": word(BatchState.ENDED),
        "succeeded": v.c.succeeded,
        "failed": v.c.failed,
        "callback_job": v.c.callback_job,
        "ended_at": v.c.ended_at,
    },
    where=lambda _: [_B.state == word(BatchState.OPEN)],
)
_BY_ID = by_key(batches, (_B.tenant, _B.id))
_MEMBER_BY_ID = by_key(batch_jobs, _KEY)
_BY_POSITION = by_key(batch_jobs, (_J.tenant, _J.batch_id, _J.position))


class BatchStore:
    """The batches of all tenants."""

    def __init__(self, *, database: Database, reader: Reader) -> None:
        self._database = database
        self._reader = reader

    @staticmethod
    def added(batch: Batch) -> Change:
        """A new batch. As a guard it has a row unless its id is taken."""
        return Change(_ADDED, astuple(batch))

    @staticmethod
    def member_added(member: Member) -> Change:
        """A job of it."""
        return Change(_MEMBER_ADDED, astuple(member))

    @staticmethod
    def member_ended(
        tenant: str, batch: str, job_id: str, to: MemberState, *, at: int, result: bytes | None, error: str | None
    ) -> Change:
        """The job ended. As a guard it has a row once only, however often the job runs."""
        return Change(_ENDED, (tenant, batch, job_id, to, result, error, at))

    @staticmethod
    def step_started(tenant: str, batch: str, job_id: str) -> Change:
        """A blocked step is a job now. As a guard it has a row once only."""
        return Change(_STARTED, (tenant, batch, job_id))

    @staticmethod
    def rest_skipped(tenant: str, batch: str, at: int) -> Change:
        """No step that is still blocked will be a job."""
        return Change(_SKIPPED, (tenant, batch, at))

    @staticmethod
    def closed(batch: Batch, succeeded: int, failed: int, callback_job: str | None, at: int) -> Change:
        """All have ended. As a guard it has a row once only."""
        return Change(_CLOSED, (batch.tenant, batch.id, succeeded, failed, callback_job, at))

    async def get(self, tenant: str, batch_id: str) -> Batch | None:
        """One batch, with the numbers of this moment."""
        row = await self._reader.one(_BY_ID, (tenant, batch_id))
        return None if row is None else _batch(row)

    async def counts(self, tenant: str, batch_id: str) -> dict[MemberState, int]:
        """How many of its jobs are in each state."""
        query = sa.select(_J.state, sa.func.count()).where(_J.tenant == tenant, _J.batch_id == batch_id)
        found = dict.fromkeys(MemberState, 0)
        for state, count in await self._database.fetch(query.group_by(_J.state)):
            found[MemberState(state)] = int(count)
        return found

    async def any_pending(self, tenant: str, batch_id: str) -> bool:
        """Whether a job of it has not ended, of those that are jobs already."""
        query = sa.select(_J.job_id).where(_J.tenant == tenant, _J.batch_id == batch_id, PENDING).limit(1)
        return bool(await self._database.fetch(query))

    async def member(self, tenant: str, batch_id: str, job_id: str) -> Member | None:
        """One of its jobs."""
        row = await self._reader.one(_MEMBER_BY_ID, (tenant, batch_id, job_id))
        return None if row is None else _member(row)

    async def at(self, tenant: str, batch_id: str, position: int) -> Member | None:
        """The job at a place, counted from 0."""
        row = await self._reader.one(_BY_POSITION, (tenant, batch_id, position))
        return None if row is None else _member(row)

    async def members(self, tenant: str, batch_id: str, *, after: int, limit: int) -> list[Member]:
        """A page of its jobs, in their order."""
        where = (_J.tenant == tenant, _J.batch_id == batch_id, _J.position > after)
        query = sa.select(*batch_jobs.c).where(*where).order_by(_J.position).limit(limit)
        return [_member(row) for row in await self._database.fetch(query)]

    async def listed(self, tenant: str, *, state: BatchState | None, after: str | None, limit: int) -> list[Batch]:
        """A page, the newest first."""
        query = sa.select(*batches.c).where(_B.tenant == tenant).order_by(_B.id.desc()).limit(limit)
        if state is not None:
            query = query.where(_B.state == state.value)
        if after is not None:
            query = query.where(_B.id < after)
        return [_batch(row) for row in await self._database.fetch(query)]

    async def open(self, *, after: str | None, limit: int) -> list[Batch]:
        """Batches of all tenants that have not ended, in the order of their ids."""
        query = sa.select(*batches.c).where(_B.state == sa.literal_column("'open'")).order_by(_B.id).limit(limit)
        if after is not None:
            query = query.where(_B.id > after)
        return [_batch(row) for row in await self._database.fetch(query)]


def _batch(row: Row) -> Batch:
    values = dict(zip((column.name for column in batches.c), row, strict=True))
    return Batch(**{**values, "kind": BatchKind(values["kind"]), "state": BatchState(values["state"])})


def _member(row: Row) -> Member:
    values = dict(zip((column.name for column in batch_jobs.c), row, strict=True))
    return Member(**{**values, "state": MemberState(values["state"])})
