"""Starts jobs by the clock: one fire per slot, however many daemons look at the same database.

The slot is claimed in the transaction that makes the job, so a fire can be neither lost nor doubled. The next slot is
reckoned from the clock at each look; slots missed while no daemon ran are skipped (misfire policy `skip`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from cronsim import CronSim
from prometheus_client import CollectorRegistry, Counter, Gauge

from zapd.errors import Unavailable
from zapd.ids import Ids
from zapd.jobs.job import Job
from zapd.store.commands import Change, Row

log = structlog.get_logger("zapd.cron")

LATE = 60.0  #: seconds
LOOK_EVERY = 5.0  #: seconds at most between two looks at the clock, so that a clock that jumps is noticed


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Enqueue a job in `queue` at each slot of the cron line `when` (UTC)."""

    name: str
    when: str
    queue: str
    priority: int


class CronMetrics:
    """`fires` by result: on time, late (by more than LATE), skipped because SQL was away."""

    def __init__(self, *, registry: CollectorRegistry) -> None:
        fires = Counter("zapd_cron_fires", "Slots that came.", ["result"], registry=registry)
        self.fires = {result: fires.labels(result) for result in ("fired", "late", "skipped")}
        self.next = Gauge("zapd_cron_next_timestamp_seconds", "The earliest unfired slot.", registry=registry)


class Cron:
    """A Service. `claim(name, slot_ms, now_ms)` is the guard that only one daemon passes per slot."""

    name = "cron"

    def __init__(
        self,
        *,
        schedules: Sequence[Schedule],
        claim: Callable[[str, int, int], Change],
        commit: Callable[..., Awaitable[Row | None]],
        ids: Ids,
        now_ms: Callable[[], int],
        metrics: CronMetrics,
    ) -> None:
        self._schedules = schedules
        self._claim = claim
        self._commit = commit
        self._ids = ids
        self._now_ms = now_ms
        self._metrics = metrics
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Fire until `stop`."""
        start = self._now_ms()
        due = [(next_slot(schedule.when, start), schedule) for schedule in self._schedules]
        while not self._stopping.is_set() and due:
            self._metrics.next.set(min(slot for slot, _ in due) / 1000)
            now = self._now_ms()
            for slot, schedule in due:
                if slot <= now:
                    await self._fire(schedule, slot, now)
            # From the clock each time: one that was set back has its own next slot; the claim refuses a second fire.
            due = [(next_slot(schedule.when, now), schedule) for _, schedule in due]
            wait = min(LOOK_EVERY, max(0.0, (min(slot for slot, _ in due) - now) / 1000))
            await self._wait(wait)
        await self._stopping.wait()

    async def stop(self) -> None:
        """Fire nothing more."""
        self._stopping.set()

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _fire(self, schedule: Schedule, slot: int, now: int) -> None:
        job = Job(
            id=self._ids.new("job"),
            queue=schedule.queue,
            kind=schedule.name,
            payload=b"{}",
            priority=schedule.priority,
            created_at=now,
            lane=schedule.name,
        )
        try:
            fired = await self._commit(self._claim(schedule.name, slot, now), jobs=[job])
        except Unavailable as error:
            log.warning("cron.skipped", schedule=schedule.name, reason=str(error))
            self._metrics.fires["skipped"].inc()
            return
        if fired is not None:
            self._metrics.fires["late" if now - slot > LATE * 1000 else "fired"].inc()
            log.info("cron.fired", schedule=schedule.name, job_id=job.id)


def next_slot(when: str, after_ms: int) -> int:
    """The first slot (ms) of a cron line after a time (ms), in UTC. Raises cronsim.CronSimError on a bad line."""
    moment = datetime.fromtimestamp(after_ms / 1000, UTC)
    return round(next(CronSim(when, moment)).timestamp() * 1000)
