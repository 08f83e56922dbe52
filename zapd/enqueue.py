"""How jobs of own queues come in, and how they are taken back.

Who is a double of whom is decided in SQL: a unique key stands on the row that answers for its job and goes with it, so
a key cannot outlive its job. Redis is never asked whether a job may come in.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter

from zapd.actions.envelope import opened
from zapd.errors import NotFound, Unavailable
from zapd.jobs.job import Job
from zapd.model.access import among_tenants
from zapd.outbox import Outbox, job_of
from zapd.store.outbox import OutboxRow, OutboxStore

_TRIES = 5  # of a compare-and-set against others who want the same key
LANE = "unique:"  #: in front of a key; the lane of jobs that come after one that still runs


class Policy(StrEnum):
    """What becomes of a job whose key is taken."""

    RETURN_EXISTING = "return-existing"  #: it is not added; the answer names the one that is there
    REJECT = "reject"  #: it is refused
    REPLACE = "replace"  #: it takes the place of the other, which is canceled, also if it runs
    KEEP_LAST = "keep-last"  #: the one that runs goes on; of those that come meanwhile only the last runs after it


class Status(StrEnum):
    """What became of it."""

    QUEUED = "queued"
    EXISTS = "exists"
    REJECTED = "rejected"
    REPLACED = "replaced"  #: queued, in the place of another


@dataclass(frozen=True, slots=True)
class Unique:
    """A key that only one job of the queue has; `until` (ms): then it is free though the job lives."""

    key: str
    policy: Policy
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A job that somebody wants."""

    job: Job
    unique: Unique | None = None
    policy: Policy = Policy.RETURN_EXISTING  #: for a job without a key, whose id is taken


@dataclass(frozen=True, slots=True)
class Taken:
    """The job's id, or that of the one that was there; `other` is the one it replaced."""

    id: str
    status: Status
    other: str | None = None


class EnqueueMetrics:
    """What became of jobs that came in."""

    def __init__(self, *, registry: CollectorRegistry) -> None:
        taken = Counter("zapd_jobs_taken", "Jobs of own queues that came in, by answer.", ["status"], registry=registry)
        self.taken = {status: taken.labels(status.value) for status in Status}


class Members(Protocol):
    """Batches, which count the ends of their jobs."""

    async def ended(self, job: Job, batch: str, *, error: str | None, result: bytes | None) -> None: ...


class Enqueuer:
    """`stop(queue, id)` takes a job out of Redis, or has it canceled where it runs; `active(queue, id)`: it runs."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        rows: OutboxStore,
        stop: Callable[[str, str], Awaitable[bool]],
        active: Callable[[str, str], Awaitable[bool]],
        members: Members,
        now_ms: Callable[[], int],
        metrics: EnqueueMetrics,
    ) -> None:
        self._metrics = metrics
        self._outbox = outbox
        self._rows = rows
        self._stop = stop
        self._active = active
        self._members = members
        self._now_ms = now_ms

    async def add(self, wanted: Sequence[Wanted]) -> list[Taken]:
        """Commit jobs; what this returns as queued is kept. One after another where they have the same key."""
        rows = [(_placed(w), w.unique) for w in wanted]
        changes = [
            self._rows.added(job) if unique is None else self._rows.added_unique(job, unique.key, unique.until)
            for job, unique in rows
        ]
        new = await self._outbox.add_rows([job for job, _ in rows], changes)
        taken = [
            Taken(one.job.id, Status.QUEUED) if is_new else await self._double(one)
            for one, is_new in zip(wanted, new, strict=True)
        ]
        for one in taken:
            self._metrics.taken[one.status].inc()
        return taken

    async def take_back(self, tenant: str, job_id: str) -> OutboxRow | None:
        """Cancel a job of an own queue, wherever it is. None: there is no such live job.

        SQL says first that it is over: from then on it does not start, whatever Redis still holds.
        """
        row = await self._rows.get(tenant, job_id)
        if row is None or await self._outbox.commit(self._rows.removed(tenant, job_id)) is None:
            return None
        await self._gone(row)
        return row

    # --- doubles ---

    async def _double(self, one: Wanted) -> Taken:
        job, unique = one.job, one.unique
        for _ in range(_TRIES):
            if unique is None:
                return Taken(job.id, Status.REJECTED if one.policy is Policy.REJECT else Status.EXISTS)
            await self._outbox.commit(self._rows.freed(job.tenant, job.queue, unique.key, self._now_ms()))
            holder = await self._rows.holder(job.tenant, job.queue, unique.key)
            if holder is None:
                taken = await self._free(one, unique)
            elif unique.policy is Policy.RETURN_EXISTING:
                taken = Taken(holder.id, Status.EXISTS)
            elif unique.policy is Policy.REJECT:
                taken = Taken(holder.id, Status.REJECTED)
            else:
                taken = await self._instead(one, unique, holder)
            if taken is not None:
                return taken
        raise Unavailable("others want the same key at the same time")

    async def _free(self, one: Wanted, unique: Unique) -> Taken | None:
        """Nobody has the key (any more): then it was the id that is taken, or the way is free now."""
        if await self._rows.get(one.job.tenant, one.job.id) is not None:
            return Taken(one.job.id, Status.EXISTS)
        job = _placed(one)
        (is_new,) = await self._outbox.add_rows([job], [self._rows.added_unique(job, unique.key, unique.until)])
        return Taken(job.id, Status.QUEUED) if is_new else None

    async def _instead(self, one: Wanted, unique: Unique, holder: OutboxRow) -> Taken | None:
        """The new one in the commit that ends the old one, or that takes its key while it runs."""
        job = _placed(one)
        added = self._rows.added_unique(job, unique.key, unique.until)
        undisturbed = unique.policy is Policy.KEEP_LAST and await self._runs(holder)
        guard = (
            self._rows.passed_on(holder.tenant, holder.id, unique.key)
            if undisturbed
            else self._rows.removed(holder.tenant, holder.id)
        )
        ended, is_new = await self._outbox.commit_instead(guard, added, job)
        if ended and not undisturbed:
            await self._gone(holder)
        if not is_new:
            return None
        return Taken(job.id, Status.QUEUED) if undisturbed else Taken(job.id, Status.REPLACED, holder.id)

    async def _runs(self, row: OutboxRow) -> bool:
        try:
            return await self._active(row.queue, row.id)
        except Unavailable:
            return False

    async def _gone(self, row: OutboxRow) -> None:
        """Its row is gone: Redis and the batch hear of it."""
        with suppress(Unavailable, NotFound):  # it is not run when it comes to its start: its row is gone
            await self._stop(row.queue, row.id)
        its = opened(row.payload)
        if its.batch:
            await self._members.ended(job_of(row), its.batch, error="canceled", result=None)


def _placed(one: Wanted) -> Job:
    """With keep-last, jobs of one key share a lane, so that none starts beside one that still runs."""
    job, unique = one.job, one.unique
    if unique is None or unique.policy is not Policy.KEEP_LAST or job.lane:
        return job
    return replace(job, lane=among_tenants(job.tenant, f"{LANE}{unique.key}"[:200]))
