"""Keeps the queues right: heartbeats, jobs of dead daemons, old completed and dead jobs, numbers for the gauges."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from zapd.errors import Unavailable
from zapd.jobs.broker import HEARTBEAT_TTL, Broker
from zapd.jobs.inspect import QueueStats
from zapd.jobs.metrics import JobMetrics

log = structlog.get_logger("zapd.jobs")

_RECLAIM_BATCH = 100
_CANCEL_AGAIN = 0.2  # seconds


class Upkeep:
    """Three loops. Times in seconds. `sampled` gets each queue's numbers at each sweep.

    Jobs of other nodes are reclaimed only after one heartbeat TTL of unbroken contact with Redis: after an outage all
    heartbeats are past, and taking everybody's jobs would run them all twice. Jobs of our own node's earlier starts
    are taken at once: the lock on the state directory proves that those are dead.
    """

    name = "upkeep"

    def __init__(
        self,
        *,
        broker: Broker,
        metrics: JobMetrics,
        random: Callable[[], float],
        sampled: Callable[[str, QueueStats], None] = lambda _queue, _stats: None,
        beat_every: float = 4.0,
        sweep_every: float = 3.0,  # after the lease of 15 s: the jobs of a dead daemon move within 20 s
        clean_every: float = 60.0,
        heartbeat_ttl: float = HEARTBEAT_TTL,
        on_cancel: Callable[[str, str, int], object] = lambda _queue, _job, _fence: None,
    ) -> None:
        self._broker = broker
        self._metrics = metrics.queues
        self._random = random
        self._sampled = sampled
        self._rounds = ((self._beat, beat_every), (self._sweep, sweep_every), (self._clean, clean_every))
        self._ttl = heartbeat_ttl
        self._on_cancel = on_cancel
        self._contact_since: float | None = None
        self._stop = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Work until `stop`."""
        if self._stop.is_set():
            return
        self._loops = [
            asyncio.create_task(self._repeat(work, every), name=f"upkeep:{work.__name__}")
            for work, every in self._rounds
        ]
        try:
            ended, _ = await asyncio.wait(self._loops, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._end_loops()
        for loop in ended:
            if not self._stop.is_set():
                loop.result()  # raises what ended it

    async def stop(self) -> None:
        """To be called after the pools have drained: without heartbeats others take their jobs."""
        if self._stop.is_set():
            return
        self._stop.set()
        if not self._loops:  # it never ran, so nobody knows of us
            return
        await self._end_loops()
        try:
            for queue in self._broker.queues:
                await self._broker.leave(queue)
        except Unavailable:
            log.warning("upkeep.left_silently")  # our heartbeats run out by themselves

    async def _end_loops(self) -> None:
        # Every call here may be repeated, so losing its answer does no harm. A client may swallow a cancel that comes
        # with the answer; the loop then sleeps, and is canceled once more.
        while left := [loop for loop in self._loops if not loop.done()]:
            for loop in left:
                loop.cancel()
            await asyncio.wait(left, timeout=_CANCEL_AGAIN)
        await asyncio.gather(*self._loops, return_exceptions=True)

    async def _repeat(self, work: Callable[[], Awaitable[None]], every: float) -> None:
        while True:
            try:
                await work()
            except Unavailable as error:
                log.warning("upkeep.failed", work=work.__name__, error=str(error)[:200])
            await asyncio.sleep(every * (1 + 0.1 * self._random()))

    async def _beat(self) -> None:
        try:
            for queue in self._broker.queues:
                for job_id, fence in await self._broker.heartbeat(queue):
                    self._on_cancel(queue, job_id, fence)
        except Unavailable:
            self._contact_since = None
            raise
        if self._contact_since is None:
            self._contact_since = asyncio.get_running_loop().time()

    async def _sweep(self) -> None:
        since = self._contact_since
        others = since is not None and asyncio.get_running_loop().time() - since > self._ttl
        for queue in self._broker.queues:
            taken = await self._broker.reclaim(queue, others=others, limit=_RECLAIM_BATCH)
            if taken:
                log.warning("jobs.reclaimed", queue=queue, jobs=taken)
            while taken >= _RECLAIM_BATCH:
                taken = await self._broker.reclaim(queue, others=others, limit=_RECLAIM_BATCH)
            await self._show(queue)

    async def _show(self, queue: str) -> None:
        stats, numbers = await self._broker.stats(queue), self._metrics[queue]
        self._sampled(queue, stats)
        numbers.paused = stats.paused
        numbers.quarantined = stats.quarantined
        numbers.tenants_held = stats.tenants_held
        numbers.oldest_ready_ms = stats.oldest_ready_ms
        # The dead are counted in SQL.
        numbers.jobs.update(ready=stats.waiting, delayed=stats.delayed, staged=stats.staged, active=stats.active)

    async def _clean(self) -> None:
        for queue in self._broker.queues:
            await self._broker.clean(queue)
