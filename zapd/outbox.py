"""SQL first, Redis after: the relay that hands committed jobs to the queues, and the reconciler that finds lost ones.

A row of the outbox is written in the transaction that makes the work and removed when its job has finished, so the
table always answers "which jobs must exist". What a crash costs, step by step: before the commit nothing was accepted;
after it, the row is found at the next start; after the enqueue, the second enqueue of the same id is refused by the
broker; after the job, the handler finds the work done. Losing all of Redis costs one scan of this table.

One long file, because relay and reconciler share one memory: what was committed or has ended, and is not told yet.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import groupby
from operator import attrgetter

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from zapd import failpoint
from zapd.errors import InvalidInput, NotFound, Unavailable
from zapd.jobs.astray import Astray
from zapd.jobs.broker import Broker
from zapd.jobs.job import Job
from zapd.store.commands import Change, Row
from zapd.store.outbox import OutboxRow, OutboxStore
from zapd.store.writer import Writer
from zapd.strangers import Strangers

log = structlog.get_logger("zapd.outbox")

PAGE = 500  #: rows per scan step
EVER = 1 << 62  #: milliseconds; a clock that was set back must hide no row
BUFFER = 20_000  #: committed jobs kept in memory; beyond that the relay reads them from SQL
RETRY_EVERY = 0.5  #: seconds between tries while Redis is away
CHECK_EVERY = 1.0  #: seconds between looks at the epoch: how soon a FLUSHALL is noticed
RECONCILE_EVERY = 60.0  #: seconds between steady reconciles
LEASE = 15.0  #: seconds that a dead daemon's claims hold
REPAIRS = 1000.0  #: jobs put back in a second, so that a repair of millions disturbs nobody


class OutboxMetrics:
    """`waiting_since` tells since when (ms) committed jobs wait for Redis; None: none waits."""

    def __init__(self, *, registry: CollectorRegistry) -> None:
        self.rows = Gauge("zapd_outbox_rows", "Jobs that SQL answers for; they have not ended.", registry=registry)
        self._oldest = Gauge(
            "zapd_outbox_oldest_timestamp_seconds",
            "Since when committed jobs wait for Redis; 0: none waits.",
            registry=registry,
        )
        repairs = Counter(
            "zapd_reconciler_repairs",
            "Jobs put back that Redis did not hold (missing) or held in none of its keys (astray);"
            " jobs whose end was not recorded (dead).",
            ["kind"],
            registry=registry,
        )
        self.missing, self.astray, self.dead = map(repairs.labels, ("missing", "astray", "dead"))

    def watch(self, waiting_since: Callable[[], int | None]) -> None:
        """Show it at each scrape."""
        self._oldest.set_function(lambda: (waiting_since() or 0) / 1000)


class Outbox:
    """The door through which every durable job goes. A Service."""

    name = "outbox"

    def __init__(
        self,
        *,
        writer: Writer,
        rows: OutboxStore,
        broker: Broker,
        on_dead: Callable[[Job, str, str], Awaitable[None]],
        lost_data: Callable[[], Awaitable[bool]],
        on_lost: Callable[[int], Awaitable[None]],
        now_ms: Callable[[], int],
        lease: float = LEASE,
        metrics: OutboxMetrics | None = None,
    ) -> None:
        self._writer = writer
        self._rows = rows
        self._broker = broker
        self._on_dead = on_dead
        self._lost_data = lost_data
        self._on_lost = on_lost
        self._now_ms = now_ms
        self._settled_after = 2 * lease  #: seconds after which a row's job must be in Redis
        self._metrics = metrics
        self._waiting_since: int | None = None
        if metrics:
            metrics.watch(lambda: self._waiting_since)
        self._ready: list[Job] = []
        self._finished: list[tuple[str, str]] = []
        self.strangers = Strangers(rows=rows, broker=broker, ended=lambda job: job in self._finished)
        self._over: set[tuple[str, str]] = set()  #: what ended during a reading, which may have seen its row before
        self._behind = True  #: the memory is not the whole truth: read the rows from SQL first, so that order is kept
        self._reread = False  #: asked for, perhaps while a reading is under way
        self._lost_at: int | None = None  #: Redis had lost its data by then (ms), and `on_lost` has not got through yet
        self._stirred = asyncio.Event()
        self._leaving = asyncio.Event()
        self._quiet = False
        self._stopping = False

    async def commit(self, guard: Change, *then: Change, jobs: Sequence[Job] = (), all_new: bool = False) -> Row | None:
        """Commit the changes and the jobs in one transaction; then the jobs flow. Redis is never waited for.

        Returns the guard's row; None when it did not take effect: then nothing else happened and no job exists.
        Raises Unavailable when the database does not answer, and with `all_new` Conflict when a job is there already.
        """
        added = self._rows.added_or_conflict if all_new else self._rows.added
        row = await self._writer.commit(guard, *then, *[added(job) for job in jobs])
        failpoint.reached("accept.committed")
        if row is not None:
            self._hand_over(jobs)
        return row

    async def commit_instead(self, guard: Change, added: Change, job: Job) -> tuple[bool, bool]:
        """Commit the guard and, with it, a job whose row `added` makes. Whether the guard took effect, and the row.

        In a group commit all guards go first: one of somebody else may take the key that ours has set free.
        """
        if await self._writer.commit(guard, added) is None:
            return False, False
        if await self._rows.get(job.tenant, job.id) is None:
            return True, False
        self._hand_over([job])
        return True, True

    async def add(self, jobs: Sequence[Job]) -> list[bool]:
        """Commit jobs that are work by themselves. False: a row, and so a live job, has that id already."""
        return await self.add_rows(jobs, [self._rows.added(job) for job in jobs])

    async def add_rows(self, jobs: Sequence[Job], added: Sequence[Change]) -> list[bool]:
        """As `add`, with the change that adds the row of each job. False: the row was not added."""
        rows = await self._writer.commit_each(added)
        # Also when some failed: the others are committed and must flow.
        new = [row is not None and not isinstance(row, BaseException) for row in rows]
        self._hand_over([job for job, is_new in zip(jobs, new, strict=True) if is_new])
        for row in rows:
            if isinstance(row, BaseException):
                raise row
        return new

    def _hand_over(self, jobs: Sequence[Job]) -> None:
        if jobs and not self._quiet:
            self._ready.extend(jobs)
            self._stirred.set()

    def finished(self, ids: Sequence[tuple[str, str]]) -> None:
        """These jobs (tenant, id) reached their end: their rows go, in the background."""
        failpoint.reached("job.finished")
        self._finished.extend(ids)
        if self._behind:
            self._over.update(ids)
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
        """End `run`, after the rows of ended jobs are gone: a row that stays is a job that runs again."""
        self._quiet = True
        self._stopping = True
        self._stirred.set()
        self._leaving.set()
        await self._remove_finished()

    def reread(self) -> None:
        """Redis may have lost jobs: go through the table again, from the start."""
        self._behind = self._reread = True
        self._stirred.set()

    # --- SQL → Redis ---

    async def _relay(self) -> None:
        while not self._quiet:
            try:
                if self._behind:
                    await self._catch_up()
                await self._push_ready()
                self._waiting_since = None
            except Unavailable as error:
                self._behind = True
                self._waiting_since = self._waiting_since or self._now_ms()
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
        """Enqueue every row in the order of their ids.

        An id is made before its row is committed, so a row may come up behind the place that the scan has reached: its
        job was handed over meanwhile and joins the page. What is ahead of the scan is found by it. A row that is seen
        twice is refused by the broker.
        """
        self._ready.clear()
        self._over = set(self._finished)
        self._reread = False
        before = self._now_ms()
        if await self._broker.refill():
            self._lost_at = before
        if self._lost_at is not None:
            await self._on_lost(self._lost_at)  # before the first job is there: its limits must be
            self._lost_at = None
        after: str | None = None
        while not self._quiet:
            page = await self._rows.scan(after=after, created_before=EVER, limit=PAGE)
            handed, self._ready = self._ready, []
            last = len(page) < PAGE
            self._behind = self._reread or not last  # from the last page on, the memory is the whole truth again
            after = page[-1].id if page else after
            seen = {(row.tenant, row.id) for row in page} | self._over
            late = [job for job in handed if last or (after is not None and job.id <= after)]
            jobs = [job_of(row) for row in page if (row.tenant, row.id) not in self._over]
            jobs += [job for job in late if (job.tenant, job.id) not in seen]
            await self._enqueue(sorted(jobs, key=attrgetter("id")), after_others=True)
            if last:
                return

    async def _enqueue(self, jobs: Sequence[Job], *, after_others: bool = False) -> None:
        """Hand jobs to the broker. One that it can never take must not hold up the others: its row stays."""
        strange = {job.queue for job in jobs}.difference(self._broker.queues)
        if strange:
            log.error("outbox.no_such_queue", queues=sorted(strange))  # the operator took it out of the configuration
            jobs = [job for job in jobs if job.queue not in strange]
        if not jobs:
            return
        try:
            await self._broker.enqueue(jobs, after_others=after_others)
        except (InvalidInput, NotFound):
            for job in jobs:
                await self._enqueue_alone(job, after_others=after_others)
        failpoint.reached("relay.enqueued")

    async def _enqueue_alone(self, job: Job, *, after_others: bool) -> None:
        try:
            await self._broker.enqueue([job], after_others=after_others)
        except (InvalidInput, NotFound) as error:
            log.error("outbox.job_refused", job_id=job.id, queue=job.queue, reason=str(error))

    # --- jobs that ended ---

    async def _forget(self) -> None:
        while not self._stopping:
            await self._leaving.wait()
            self._leaving.clear()
            await self._remove_finished()

    async def _remove_finished(self) -> None:
        ids, self._finished = self._finished, []
        try:
            await self._writer.commit_all([self._rows.removed(tenant, job_id) for tenant, job_id in ids])
        except Unavailable as error:
            self._finished += ids  # with those that end next
            log.warning("outbox.rows_kept", rows=len(ids), reason=str(error))

    # --- Redis lost something ---

    async def _watch(self) -> None:
        waited = 0.0
        while not self._quiet:
            try:
                if await self._lost_data():  # from the start on: its first look is what later ones compare with
                    log.warning("outbox.redis_lost_data")
                    self.reread()
                elif waited >= RECONCILE_EVERY:
                    waited = 0.0
                    await self.reconcile()
                    await self.strangers.expel()
            except Unavailable:
                pass  # the relay reports it; the next look comes in a second
            await asyncio.sleep(CHECK_EVERY)
            waited += CHECK_EVERY

    async def reconcile(self) -> int:
        """Put back the jobs of settled rows that Redis does not hold; settle those that died. Returns how many.

        Also those that it holds where nothing takes them: somebody deleted the stream or the list that they were in.
        """
        repaired, astray = 0, Astray()
        after: str | None = None
        before = self._now_ms() - round(self._settled_after * 1000)
        while not self._quiet:
            page = await self._rows.scan(after=after, created_before=before, limit=PAGE)
            mended = await self._repair(page, astray)
            repaired += mended
            await asyncio.sleep(mended / REPAIRS)
            if len(page) < PAGE:
                break
            after = page[-1].id
        brought = await astray.bring_back(self._broker, per_second=REPAIRS)
        repaired += brought
        if self._metrics:
            self._metrics.astray.inc(brought)
        if repaired:
            log.warning("outbox.repaired", jobs=repaired)
        return repaired

    async def _repair(self, page: Sequence[OutboxRow], astray: Astray) -> int:
        repaired = 0
        for queue, rows in groupby(sorted(page, key=lambda row: row.queue), key=lambda row: row.queue):
            jobs = [job_of(row) for row in sorted(rows, key=lambda row: row.id)]
            if queue not in self._broker.queues:
                await self._enqueue(jobs)  # says so in the log
                continue
            places = await self._broker.locate(queue, [job.id for job in jobs])
            gone = [job for job, place in zip(jobs, places, strict=True) if place == "missing"]
            missing = [job for job in gone if await self._still_owed(job)]
            await self._enqueue(missing)
            for job, place in zip(jobs, places, strict=True):
                if place == "dead":
                    await self._on_dead(job, "reclaimed", "its end was not recorded")
                    self.finished([(job.tenant, job.id)])
                elif place == "astray":
                    astray.add(job)
            repaired += len(missing)
            if self._metrics:
                self._metrics.missing.inc(len(missing))
                self._metrics.dead.inc(places.count("dead"))
        return repaired

    async def _still_owed(self, job: Job) -> bool:
        """Whether the job has not ended between the scan and the look into Redis."""
        if (job.tenant, job.id) in self._finished:
            return False
        return await self._rows.get(job.tenant, job.id) is not None


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
