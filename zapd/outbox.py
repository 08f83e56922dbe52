"""SQL first, Redis after: the relay that hands committed jobs to the queues, and the reconciler that finds lost ones.

A row of the outbox is written in the transaction that makes the work and removed when its job has finished, so the
table always answers "which jobs must exist". What a crash costs, step by step: before the commit nothing was accepted;
after it, the row is found at the next start; after the enqueue, the second enqueue of the same id is refused by the
broker; after the job, the handler finds the work done. Losing all of Redis costs one scan of this table.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby

import structlog

from zapd import failpoint
from zapd.errors import Unavailable
from zapd.jobs.broker import Broker
from zapd.jobs.job import Job
from zapd.store.commands import Change, Row
from zapd.store.outbox import OutboxRow, OutboxStore
from zapd.store.writer import Writer

log = structlog.get_logger("zapd.outbox")

PAGE = 500  #: rows per scan step
BUFFER = 20_000  #: committed jobs kept in memory; beyond that the relay reads them from SQL
RETRY_EVERY = 0.5  #: seconds between tries while Redis is away
CHECK_EVERY = 1.0  #: seconds between looks at the epoch: how soon a FLUSHALL is noticed
RECONCILE_EVERY = 60.0  #: seconds between steady reconciles
SETTLED_AFTER = 60.0  #: seconds after which a row's job must be in Redis


class Outbox:
    """The door through which every durable job goes. A Service."""

    name = "outbox"

    def __init__(
        self,
        *,
        writer: Writer,
        rows: OutboxStore,
        broker: Broker,
        wake: Callable[[str], None],
        on_dead: Callable[[Job, str, str], Awaitable[None]],
        lost_data: Callable[[], Awaitable[bool]],
        on_lost: Callable[[], Awaitable[None]],
        now_ms: Callable[[], int],
    ) -> None:
        self._writer = writer
        self._rows = rows
        self._broker = broker
        self._wake = wake
        self._on_dead = on_dead
        self._lost_data = lost_data
        self._on_lost = on_lost
        self._now_ms = now_ms
        self._ready: list[Job] = []
        self._finished: list[tuple[str, str]] = []
        self._behind = True  #: the memory is not the whole truth: read the rows from SQL first, so that order is kept
        self._stirred = asyncio.Event()
        self._leaving = asyncio.Event()
        self._quiet = False
        self._stopping = False

    async def commit(self, guard: Change, *then: Change, jobs: Sequence[Job] = ()) -> Row | None:
        """Commit the changes and the jobs in one transaction; then the jobs flow. Redis is never waited for.

        Returns the guard's row; None when it did not take effect: then nothing else happened and no job exists.
        Raises Unavailable when the database does not answer.
        """
        row = await self._writer.commit(guard, *then, *[self._rows.added(job) for job in jobs])
        failpoint.reached("accept.committed")
        if row is not None:
            self._hand_over(jobs)
        return row

    async def add(self, jobs: Sequence[Job]) -> list[bool]:
        """Commit jobs that are work by themselves. False: a row, and so a live job, has that id already."""
        rows = await asyncio.gather(*[self._writer.commit(self._rows.added(job)) for job in jobs])
        self._hand_over([job for job, row in zip(jobs, rows, strict=True) if row is not None])
        return [row is not None for row in rows]

    def _hand_over(self, jobs: Sequence[Job]) -> None:
        if jobs and not self._behind and not self._quiet:
            self._ready.extend(jobs)
            self._stirred.set()

    def finished(self, ids: Sequence[tuple[str, str]]) -> None:
        """These jobs (tenant, id) reached their end: their rows go, in the background."""
        failpoint.reached("job.finished")
        self._finished.extend(ids)
        self._leaving.set()

    async def run(self) -> None:
        """Relay, forget and reconcile until `stop`."""
        self._behind = True
        async with asyncio.TaskGroup() as group:
            group.create_task(self._relay(), name="outbox:relay")
            group.create_task(self._forget(), name="outbox:forget")
            group.create_task(self._watch(), name="outbox:watch")

    def quiet(self) -> None:
        """Relay nothing more: what is committed from now on stays in SQL for the next start. Ended jobs still go."""
        self._quiet = True
        self._stirred.set()

    async def stop(self) -> None:
        """End `run`, after the rows of ended jobs are gone."""
        self._quiet = True
        self._stopping = True
        self._stirred.set()
        self._leaving.set()

    def reread(self) -> None:
        """Redis may have lost jobs: go through the table again, from the start."""
        self._behind = True
        self._stirred.set()

    # --- SQL → Redis ---

    async def _relay(self) -> None:
        while not self._quiet:
            try:
                if self._behind:
                    await self._catch_up()
                await self._push_ready()
            except Unavailable as error:
                self._behind = True
                log.warning("outbox.waiting", reason=str(error))
                await asyncio.sleep(RETRY_EVERY)
                continue
            if not self._ready and not self._behind:
                self._stirred.clear()
                await self._stirred.wait()

    async def _push_ready(self) -> None:
        if len(self._ready) > BUFFER:
            self._behind = True
        jobs, self._ready = self._ready, []
        if jobs and not self._behind and not self._quiet:
            await self._enqueue(jobs, after_others=True)

    async def _catch_up(self) -> None:
        """Enqueue every row in the order of their ids. New commits join the memory only for the last stretch.

        Memory is opened before the last page is read again, so that no row falls between the two, also none whose id is
        older than its commit; a row that is seen twice is refused by the broker.
        """
        self._ready.clear()
        await self._broker.refill()
        after: str | None = None
        while not self._quiet:
            page = await self._rows.scan(after=after, created_before=self._now_ms() + 1, limit=PAGE)
            await self._enqueue([job_of(row) for row in page], after_others=True)
            if len(page) == PAGE:
                after = page[-1].id
            elif not self._behind:
                return
            else:
                self._behind = False

    async def _enqueue(self, jobs: Sequence[Job], *, after_others: bool = False) -> None:
        if not jobs:
            return
        await self._broker.enqueue(jobs, after_others=after_others)
        failpoint.reached("relay.enqueued")
        for queue in {job.queue for job in jobs}:
            self._wake(queue)

    # --- jobs that ended ---

    async def _forget(self) -> None:
        while not self._stopping or self._finished:
            await self._leaving.wait()
            self._leaving.clear()
            ids, self._finished = self._finished, []
            try:
                await self._writer.commit_all([self._rows.removed(tenant, job_id) for tenant, job_id in ids])
            except Unavailable as error:
                # Kept rows cost a repeated look by the reconciler, never a repeated effect.
                log.warning("outbox.rows_kept", rows=len(ids), reason=str(error))
            if self._stopping and not self._finished:
                return

    # --- Redis lost something ---

    async def _watch(self) -> None:
        waited = 0.0
        while not self._quiet:
            await asyncio.sleep(CHECK_EVERY)
            waited += CHECK_EVERY
            try:
                if await self._lost_data():
                    log.warning("outbox.redis_lost_data")
                    await self._on_lost()
                    self.reread()
                elif waited >= RECONCILE_EVERY:
                    waited = 0.0
                    await self.reconcile()
            except Unavailable:
                continue  # the relay reports it; the next look comes in a second

    async def reconcile(self) -> int:
        """Put back the jobs of settled rows that Redis does not hold; settle those that died. Returns how many."""
        repaired = 0
        after: str | None = None
        before = self._now_ms() - round(SETTLED_AFTER * 1000)
        while not self._quiet:
            page = await self._rows.scan(after=after, created_before=before, limit=PAGE)
            repaired += await self._repair(page)
            if len(page) < PAGE:
                break
            after = page[-1].id
        if repaired:
            log.warning("outbox.repaired", jobs=repaired)
        return repaired

    async def _repair(self, page: Sequence[OutboxRow]) -> int:
        repaired = 0
        for queue, rows in groupby(sorted(page, key=lambda row: row.queue), key=lambda row: row.queue):
            jobs = [job_of(row) for row in sorted(rows, key=lambda row: row.id)]
            places = await self._broker.locate(queue, [job.id for job in jobs])
            missing = [job for job, place in zip(jobs, places, strict=True) if place == "missing"]
            await self._enqueue(missing)
            for job, place in zip(jobs, places, strict=True):
                if place == "dead":
                    await self._on_dead(job, "reclaimed", "its end was not recorded")
                    self.finished([(job.tenant, job.id)])
            repaired += len(missing)
        return repaired


def job_of(row: OutboxRow) -> Job:
    """The job that a row answers for, as new: attempts live in Redis only."""
    return Job(
        tenant=row.tenant,
        id=row.id,
        queue=row.queue,
        kind=row.kind,
        lane=row.lane,
        priority=row.priority,
        due_at=row.due_at,
        payload=row.payload,
        created_at=row.created_at,
    )
