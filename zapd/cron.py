"""Starts jobs and events by the clock: one fire per slot, however many daemons look at the same database.

A slot is claimed in the transaction that makes what it fires, so a fire can be neither lost nor doubled. The next slot
is reckoned from the last one that was dealt with, which SQL keeps, so none is forgotten while no daemon runs: what
becomes of those that are late is the schedule's misfire policy.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, Protocol

import orjson
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from zapd.errors import Conflict, NotFound, Unavailable
from zapd.ids import Ids
from zapd.jobs.job import Job
from zapd.model.access import DEFAULT_TENANT, among_tenants
from zapd.model.schedule import Schedule, Spec
from zapd.model.timetable import Misfire, delay_of
from zapd.store.commands import Change, Row
from zapd.store.schedules import ScheduleStore

log = structlog.get_logger("zapd.cron")

LATE = 60.0  #: seconds after which a slot counts as missed
LOOK_EVERY = 5.0  #: seconds at most between two looks: a clock that jumps, and what another daemon changed, are noticed
RETRY_EVERY = 1.0  #: seconds between looks while SQL is away
SOON = 120  #: slots that are not late yet and may come up in one look: one a second, for two minutes


class Emitted(Protocol):
    """What must be committed for an event to have happened."""

    @property
    def event_id(self) -> str: ...
    @property
    def changes(self) -> Sequence[Change]: ...
    @property
    def jobs(self) -> Sequence[Job]: ...


class Emit(Protocol):
    """Makes an event; writes nothing."""

    def __call__(self, event_type: str, *, tenant: str, at: int, data: Mapping[str, Any]) -> Emitted: ...


class CronMetrics:
    """`fires` by result: on time, late (by more than LATE), skipped by the misfire policy."""

    def __init__(self, *, registry: CollectorRegistry) -> None:
        fires = Counter("zapd_cron_fires", "Slots that came.", ["result"], registry=registry)
        self.fires = {result: fires.labels(result) for result in ("fired", "late", "skipped")}
        self.next = Gauge("zapd_cron_next_timestamp_seconds", "The earliest unfired slot.", registry=registry)
        self.overdue = Gauge(
            "zapd_cron_overdue_schedules", "Schedules whose slot is late and has not fired.", registry=registry
        )


@dataclass(frozen=True, slots=True)
class _Due:
    """What a look found for one schedule: slots to fire, how many are let go, and up to where all is dealt with."""

    fire: Sequence[int]
    late: frozenset[int]
    skipped: int
    upto: int


class Cron:
    """A Service. `configured` are the schedules of the operator's file and zapd's own, by id."""

    name = "cron"

    def __init__(
        self,
        *,
        rows: ScheduleStore,
        configured: Mapping[str, tuple[str, Spec]],
        commit: Callable[..., Awaitable[Row | None]],
        emit: Emit,
        ids: Ids,
        now_ms: Callable[[], int],
        metrics: CronMetrics,
    ) -> None:
        self._rows = rows
        self._configured = dict(configured)
        self._commit = commit
        self._emit = emit
        self._ids = ids
        self._now_ms = now_ms
        self._metrics = metrics
        self._synced = False
        self._next: dict[tuple[str, str], int] = {}  # when each fires next (ms), as of the last look
        self._stirred = asyncio.Event()
        self._stopping = False
        metrics.overdue.set_function(self._overdue)

    async def open(self) -> None:
        """The file's schedules are there. Raises Unavailable."""
        await self._sync()

    # --- a Service ---

    async def run(self) -> None:
        """Fire until `stop`."""
        while not self._stopping:
            self._stirred.clear()
            wait = RETRY_EVERY
            try:
                await self.look()
                wait = self._until_next()
            except Unavailable as error:
                log.warning("cron.waiting", reason=str(error))  # what is due stays due
            if not self._stopping:
                await self._wait(wait)

    async def stop(self) -> None:
        """Fire nothing more."""
        self._stopping = True
        self._stirred.set()

    def configure(self, configured: Mapping[str, tuple[str, Spec]]) -> None:
        """Another file: take its schedules at the next look."""
        self._configured, self._synced = dict(configured), False
        self._stirred.set()

    async def look(self) -> None:
        """Fire what is due. Raises Unavailable; nothing is lost by that."""
        if not self._synced:
            await self._sync()
        coming: dict[tuple[str, str], int] = {}
        failed: Unavailable | None = None
        for schedule in await self._rows.all():
            if schedule.paused:
                continue
            try:
                await self._settle(schedule)
            except Unavailable as error:
                failed = error
                coming[schedule.tenant, schedule.id] = self._coming(schedule)
                continue
            except Exception:  # one that cannot be reckoned must not stop the others
                log.exception("cron.failed", schedule_id=schedule.id)
                continue
            coming[schedule.tenant, schedule.id] = self._coming(replace(schedule, last_slot=self._now_ms()))
        self._next = coming
        self._metrics.next.set(min(coming.values(), default=0) / 1000)
        if failed is not None:
            raise failed

    # --- what a person does ---

    async def create(self, tenant: str, schedule_id: str | None, spec: Spec, *, paused: bool) -> Schedule:
        """A new schedule, whose first slot is the next one. Raises Conflict."""
        now = self._now_ms()
        made = Schedule(
            tenant=tenant,
            id=schedule_id or self._ids.new("sch"),
            spec=spec,
            source="api",
            paused=paused,
            last_slot=now,
            created_at=now,
            updated_at=now,
        )
        if await self._commit(self._rows.added(made)) is None:
            raise Conflict(f"schedule {made.id} exists already")
        self._stirred.set()
        return made

    async def update(self, schedule: Schedule, spec: Spec) -> Schedule:
        """Other times or another target. Raises Conflict for one of the configuration, NotFound."""
        _of_the_api(schedule)
        now = self._now_ms()
        last = schedule.last_slot if spec.same_times(schedule.spec) else now
        await self._changed(schedule, self._rows.changed(schedule.tenant, schedule.id, spec, last, now))
        return replace(schedule, spec=spec, last_slot=last, updated_at=now)

    async def pause(self, schedule: Schedule, *, paused: bool) -> Schedule:
        """Stop firing, or fire again from the next slot on. Raises NotFound."""
        last = schedule.last_slot if paused == schedule.paused else self._now_ms()
        await self._changed(schedule, self._rows.paused(schedule.tenant, schedule.id, paused, last))
        return replace(schedule, paused=paused, last_slot=last)

    async def delete(self, schedule: Schedule) -> None:
        """It is no more. Raises Conflict for one of the configuration."""
        _of_the_api(schedule)
        await self._commit(self._rows.removed(schedule.tenant, schedule.id))
        self._stirred.set()

    async def fire_now(self, schedule: Schedule) -> str:
        """Fire once, beside its slots. Returns the id of the job or event."""
        now = self._now_ms()
        made, changes, jobs = self._made(schedule, now)
        if await self._commit(self._rows.fired(schedule.tenant, schedule.id, now, made), *changes, jobs=jobs) is None:
            raise NotFound(f"there is no schedule {schedule.id}")
        return made

    # --- inside ---

    async def _changed(self, schedule: Schedule, change: Change) -> None:
        if await self._commit(change) is None:
            raise NotFound(f"there is no schedule {schedule.id}")
        self._stirred.set()

    async def _sync(self) -> None:
        """What the file and zapd itself want is there, and what they no longer want is gone."""
        now, stored = self._now_ms(), {s.id: s for s in await self._rows.all() if s.tenant == DEFAULT_TENANT}
        for schedule_id, (source, spec) in self._configured.items():
            old = stored.get(schedule_id)
            if old is not None and (old.source, old.spec) == (source, spec):
                continue
            kept = old is not None and spec.same_times(old.spec)
            fresh = Schedule(
                tenant=DEFAULT_TENANT,
                id=schedule_id,
                spec=spec,
                source=source,
                paused=old.paused if old else False,
                last_slot=old.last_slot if old and kept else now,
                created_at=old.created_at if old else now,
                updated_at=now,
                fires=old.fires if old else 0,
                last_fired_at=old.last_fired_at if old else None,
                last_made=old.last_made if old else None,
            )
            # Another daemon with the same file may be faster: an `added` that is there already changes nothing.
            await self._commit(self._rows.added(fresh) if old is None else self._rows.put(fresh))
        for schedule_id, old in stored.items():
            if old.source != "api" and schedule_id not in self._configured:
                await self._commit(self._rows.removed(DEFAULT_TENANT, schedule_id))
        self._synced = True

    async def _settle(self, schedule: Schedule) -> None:
        now = self._now_ms()
        if schedule.last_slot > now:  # the clock was set back: its slots are the right ones, and none fires twice
            await self._commit(self._rows.passed(schedule.tenant, schedule.id, now))
            return
        due = _due(schedule, now)
        if due is None:
            return
        for slot in due.fire:
            await self._fire(schedule, slot, now, late=slot in due.late)
        if due.skipped:
            log.warning("cron.skipped", schedule_id=schedule.id, slots=due.skipped)
            self._metrics.fires["skipped"].inc(due.skipped)
        await self._commit(self._rows.passed(schedule.tenant, schedule.id, due.upto))

    async def _fire(self, schedule: Schedule, slot: int, now: int, *, late: bool) -> None:
        made, changes, jobs = self._made(schedule, now)
        claimed = self._rows.claimed(schedule.tenant, schedule.id, slot, now)
        told = self._rows.fired(schedule.tenant, schedule.id, now, made)
        if await self._commit(claimed, told, *changes, jobs=jobs) is not None:  # else another daemon was faster
            self._metrics.fires["late" if late else "fired"].inc()
            log.info("cron.fired", schedule_id=schedule.id, made=made)

    def _made(self, schedule: Schedule, now: int) -> tuple[str, Sequence[Change], Sequence[Job]]:
        """The job or the event of a fire: its id, and what must be committed."""
        spec = schedule.spec
        if spec.emit:
            event = self._emit(spec.emit, tenant=schedule.tenant, at=now, data=orjson.loads(spec.payload))
            return event.event_id, event.changes, event.jobs
        job = Job(
            id=self._ids.new("job"),
            tenant=schedule.tenant,
            queue=spec.queue,
            kind=spec.kind,
            lane=among_tenants(schedule.tenant, spec.lane),
            priority=spec.priority,
            payload=spec.payload,
            created_at=now,
        )
        return job.id, (), [job]

    def _coming(self, schedule: Schedule) -> int:
        slot = schedule.timetable.after(min(schedule.last_slot, self._now_ms()))
        return slot + delay_of(schedule.id, slot, schedule.timetable.jitter)

    def _overdue(self) -> float:
        late = self._now_ms() - LATE * 1000
        return sum(at < late for at in self._next.values())

    def _until_next(self) -> float:
        soonest = min(self._next.values(), default=None)
        return LOOK_EVERY if soonest is None else min(LOOK_EVERY, max(0.01, (soonest - self._now_ms()) / 1000))

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stirred.wait()
        except TimeoutError:
            return


def _due(schedule: Schedule, now: int) -> _Due | None:
    """What is to be fired now."""
    table = schedule.timetable
    policy, most = schedule.spec.missed()
    come = table.between(schedule.last_slot, now, SOON + most)
    came = list(takewhile(lambda slot: slot + delay_of(schedule.id, slot, table.jitter) <= now, come))
    if not came:
        return None
    late = [slot for slot in came if now - slot - delay_of(schedule.id, slot, table.jitter) > LATE * 1000]
    timely = came[len(late) :]
    match policy:
        case Misfire.SKIP:
            caught: list[int] = []
        case Misfire.ONCE:
            caught = [] if timely else late[-1:]
        case Misfire.ALL:
            caught = late[-most:]
    return _Due([*caught, *timely], frozenset(caught), len(late) - len(caught), came[-1])


def _of_the_api(schedule: Schedule) -> None:
    if schedule.source != "api":
        raise Conflict(
            f"schedule {schedule.id} stands in the configuration: change it there; pause and run are allowed"
        )
