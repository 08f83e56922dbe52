"""Batches and chains: jobs that belong together, and what happens when all of them have ended.

Everything is decided in SQL by compare-and-set. What a `kill -9` costs between any two lines:

- before a job's end is committed: the job runs again, and is counted then;
- between that and what follows from it: `sweep`, at the start and every minute, finds the batch and goes on;
- what follows (the next step, or the end of the batch and its callback) is one commit, jobs included.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from zapd import failpoint
from zapd.actions.envelope import sealed
from zapd.announce import Announcement
from zapd.errors import Conflict, Unavailable
from zapd.ids import Ids
from zapd.jobs.job import Job
from zapd.model.batch import Batch, BatchKind, BatchState, Member, MemberState
from zapd.store.batches import BatchStore
from zapd.store.commands import Row

log = structlog.get_logger("zapd.batches")

S = MemberState
SWEEP_EVERY = 60.0  #: seconds
PAGE = 100  #: batches read at once
MAX_RESULT = 64 * 1024  #: bytes of a job's result that are kept
COMPLETED = "batch.completed"  #: the event that tells it
_OVER = (S.SUCCEEDED, S.FAILED, S.SKIPPED)


class BatchMetrics:
    """Open batches are counted at each sweep."""

    def __init__(self, *, registry: CollectorRegistry) -> None:
        self.open = Gauge("zapd_batches_open", "Batches and chains that have not ended.", registry=registry)
        ended = Counter("zapd_batches_ended", "Batches and chains that ended.", ["result"], registry=registry)
        self.ended = {result: ended.labels(result) for result in ("succeeded", "failed")}


class Batches:
    """A Service that sweeps. `announce` makes the event `batch.completed` and its deliveries."""

    name = "batches"

    def __init__(
        self,
        *,
        rows: BatchStore,
        commit: Callable[..., Awaitable[Row | None]],
        announce: Callable[..., Announcement],
        ids: Ids,
        now_ms: Callable[[], int],
        metrics: BatchMetrics,
    ) -> None:
        self._rows = rows
        self._commit = commit
        self._announce = announce
        self._ids = ids
        self._now_ms = now_ms
        self._metrics = metrics
        self._looking: dict[tuple[str, str], bool] = {}  # batches that are looked at; True: once more
        self._stopping = asyncio.Event()

    # --- made ---

    async def create(
        self, tenant: str, batch_id: str | None, kind: BatchKind, jobs: Sequence[Job], callback: bytes | None
    ) -> Batch:
        """Commit a batch with all its jobs; of a chain the first step is a job at once.

        Raises Conflict when the batch, or a job of one of these ids, is there already.
        """
        batch = Batch(
            tenant=tenant,
            id=batch_id or self._ids.new("bat"),
            kind=kind,
            state=BatchState.OPEN,
            total=len(jobs),
            succeeded=0,
            failed=0,
            callback=callback,
            callback_job=None,
            created_at=self._now_ms(),
            ended_at=None,
        )
        ready = len(jobs) if kind is BatchKind.BATCH else 1
        members = [
            Member(
                tenant=tenant,
                batch_id=batch.id,
                job_id=job.id,
                position=position,
                queue=job.queue,
                state=S.PENDING if position < ready else S.BLOCKED,
                spec=None if position < ready else _spec(job),
            )
            for position, job in enumerate(jobs)
        ]
        todo = [replace(job, payload=sealed(job.payload, batch=batch.id)) for job in jobs[:ready]]
        added = [self._rows.member_added(member) for member in members]
        if await self._commit(self._rows.added(batch), *added, jobs=todo, all_new=True) is None:
            raise Conflict(f"batch {batch.id} exists already")
        return batch

    # --- a job of it ends ---

    async def ended(self, job: Job, batch: str, *, error: str | None, result: bytes | None) -> None:
        """Count it, once, and do what follows. Raises Unavailable: then the job has not ended."""
        kept = result if result is not None and len(result) <= MAX_RESULT else None
        to = S.SUCCEEDED if error is None else S.FAILED
        at = self._now_ms()
        counted = self._rows.member_ended(
            job.tenant, batch, job.id, to, at=at, result=kept, error=error and error[:1000]
        )
        if await self._commit(counted) is None:
            return  # it ran a second time: what follows was done, or is done by the sweep
        failpoint.reached("batch.counted")
        await self._look(job.tenant, batch)

    async def _look(self, tenant: str, batch_id: str) -> None:
        """Go on when no job is left. One look at a time: many jobs that end together need two, not one each."""
        key = (tenant, batch_id)
        if key in self._looking:
            self._looking[key] = True
            return
        self._looking[key] = True
        try:
            while self._looking[key]:
                self._looking[key] = False
                found = await self._rows.get(tenant, batch_id)
                if found is not None:
                    await self._go_on(found)
        finally:
            del self._looking[key]

    async def _go_on(self, batch: Batch) -> None:
        """The next step of a chain, or the end, when it is time for either."""
        if batch.state is not BatchState.OPEN or await self._rows.any_pending(batch.tenant, batch.id):
            return
        counts = await self._rows.counts(batch.tenant, batch.id)
        if counts[S.BLOCKED] and not counts[S.FAILED]:
            await self._next_step(batch, counts[S.SUCCEEDED])
        else:
            await self._close(batch, counts)

    async def _next_step(self, batch: Batch, position: int) -> None:
        step = await self._rows.at(batch.tenant, batch.id, position)
        before = await self._rows.at(batch.tenant, batch.id, position - 1)
        if step is None or step.spec is None:
            return  # somebody else was faster
        result = before.result if before is not None and before.result is not None else b"null"
        job = _job(step, step.spec, result, self._now_ms())
        await self._commit(self._rows.step_started(batch.tenant, batch.id, step.job_id), jobs=[job])

    async def _close(self, batch: Batch, counts: dict[MemberState, int]) -> None:
        at = self._now_ms()
        succeeded, failed = counts[S.SUCCEEDED], batch.total - counts[S.SUCCEEDED]
        wanted = orjson.loads(batch.callback) if batch.callback else {}
        summary = _summary(batch, succeeded, failed)
        job = self._callback(batch, wanted, summary, at) if "queue" in wanted else None
        told = self._announce(
            COMPLETED,
            tenant=batch.tenant,
            at=at,
            data=summary | {"callback_job": job.id if job else None},
            also=[wanted["endpoint_id"]] if "endpoint_id" in wanted else [],
        )
        closed = self._rows.closed(batch, succeeded, failed, job.id if job else None, at)
        skipped = self._rows.rest_skipped(batch.tenant, batch.id, at)
        jobs = [*([job] if job else []), *told.jobs]
        if await self._commit(closed, skipped, *told.changes, jobs=jobs) is not None:
            self._metrics.ended["failed" if failed else "succeeded"].inc()
            log.info("batch.ended", batch_id=batch.id, succeeded=succeeded, failed=failed)

    def _callback(self, batch: Batch, wanted: Mapping[str, Any], summary: Mapping[str, Any], at: int) -> Job:
        return Job(
            id=self._ids.new("job"),
            tenant=batch.tenant,
            queue=wanted["queue"],
            kind=wanted["kind"],
            lane=wanted["lane"],
            priority=wanted["priority"],
            payload=orjson.dumps({**summary, "data": wanted["payload"]}),
            created_at=at,
        )

    # --- what a crash left behind ---

    async def run(self) -> None:
        """Sweep at once and then every minute, until `stop`."""
        while not self._stopping.is_set():
            try:
                await self.sweep()
            except Unavailable as error:
                log.warning("batches.unswept", reason=str(error))
            try:
                async with asyncio.timeout(SWEEP_EVERY):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    async def stop(self) -> None:
        """End `run`."""
        self._stopping.set()

    async def sweep(self) -> int:
        """Go on with every open batch that can; returns how many are open."""
        after: str | None = None
        count = 0
        while True:
            page = await self._rows.open(after=after, limit=PAGE)
            for batch in page:
                await self._go_on(batch)
            count += len(page)
            if len(page) < PAGE:
                break
            after = page[-1].id
        self._metrics.open.set(count)
        return count


def callback_of(job: Job | None, endpoint_id: str | None) -> bytes | None:
    """What is kept of what happens at a batch's end: a job, a webhook to an endpoint, or both."""
    kept: dict[str, Any] = {}
    if job is not None:
        payload = orjson.loads(job.payload)
        kept |= {"queue": job.queue, "kind": job.kind, "lane": job.lane, "priority": job.priority, "payload": payload}
    if endpoint_id is not None:
        kept["endpoint_id"] = endpoint_id
    return orjson.dumps(kept) if kept else None


def _summary(batch: Batch, succeeded: int, failed: int) -> dict[str, Any]:
    return {
        "batch_id": batch.id,
        "kind": batch.kind,
        "total": batch.total,
        "succeeded": succeeded,
        "failed": failed,
    }


def _spec(job: Job) -> bytes:
    kept = {"kind": job.kind, "lane": job.lane, "priority": job.priority, "payload": orjson.Fragment(job.payload)}
    return orjson.dumps(kept)


def _job(step: Member, spec: bytes, previous: bytes, now: int) -> Job:
    its = orjson.loads(spec)
    return Job(
        id=step.job_id,
        tenant=step.tenant,
        queue=step.queue,
        kind=its["kind"],
        lane=its["lane"],
        priority=its["priority"],
        payload=sealed(orjson.dumps(its["payload"]), batch=step.batch_id, previous=previous),
        created_at=now,
    )
