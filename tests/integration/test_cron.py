"""One fire per slot, however many daemons look at the clock and wherever it jumps."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.integration.messaging.world import World
from tests.support import eventually
from zapd import cron as cron_module
from zapd.announce import Announcer
from zapd.cron import Cron, CronMetrics
from zapd.errors import Conflict, NotFound, Unavailable
from zapd.jobs.job import Job
from zapd.model.access import DEFAULT_TENANT as TENANT
from zapd.model.schedule import Schedule, Spec
from zapd.store.schedules import ScheduleStore

QUEUE = "maintenance:cleanup"
HOURLY = Spec(cron="0 * * * *", queue=QUEUE, kind="cleanup", lane="cleanup", priority=1)


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def rows(world: World) -> ScheduleStore:
    return ScheduleStore(database=world.database, reader=world.reader)


def a_cron(world: World, spec: Spec | None = HOURLY, **changes: Any) -> Cron:
    announcer = Announcer(events=world.events, fan_out=lambda _event, _also: ((), ()), ids=world.ids)
    parts: dict[str, Any] = {
        "rows": rows(world),
        "configured": {} if spec is None else {"cleanup": ("zapd", spec)},
        "commit": world.outbox.commit,
        "emit": announcer.announce,
        "ids": world.ids,
        "now_ms": world.clock.now_ms,
        "metrics": CronMetrics(registry=CollectorRegistry()),
    }
    return Cron(**(parts | changes))


class Looks:
    """The clock that a cron looks at, and how often it did."""

    def __init__(self, world: World) -> None:
        self.count = 0
        self._now_ms: Callable[[], int] = world.clock.now_ms

    def now_ms(self) -> int:
        self.count += 1
        return self._now_ms()


@asynccontextmanager
async def running(*crons: Cron) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(cron.run(), name="cron") for cron in crons]
    try:
        yield
    finally:
        for cron in crons:
            await cron.stop()
        await asyncio.gather(*tasks)


@pytest.fixture(autouse=True)
def _quick(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cron_module, "LOOK_EVERY", 0.002)
    world.clock.value = at("2026-03-01T10:30:00")


async def fires(world: World) -> list[Job]:
    return await world.jobs(QUEUE)


async def _fired(world: World, count: int) -> bool:
    return len(await fires(world)) == count


async def stored(world: World, schedule_id: str = "cleanup") -> Schedule:
    found = await rows(world).get(TENANT, schedule_id)
    assert found is not None
    return found


async def test_each_slot_fires_once_though_three_daemons_run(world: World) -> None:
    crons = [a_cron(world) for _ in range(3)]
    async with running(*crons):
        await eventually(lambda: rows(world).get(TENANT, "cleanup"))
        for hour in range(1, 6):
            world.clock.value = at(f"2026-03-01T{10 + hour}:00:00")
            await eventually(lambda: _fired(world, hour))  # noqa: B023 - awaited at once
    for cron in crons:
        await cron.look()
    jobs = await fires(world)
    assert [job.created_at for job in jobs] == [at(f"2026-03-01T{hour}:00:00") for hour in range(11, 16)]
    assert {(job.kind, job.lane, job.priority) for job in jobs} == {("cleanup", "cleanup", 1)}
    assert (await stored(world)).fires == 5


async def test_two_daemons_that_look_at_the_same_moment_fire_once(world: World) -> None:
    one, other = a_cron(world), a_cron(world)
    await one.look()
    for hour in range(11, 20):
        world.clock.value = at(f"2026-03-01T{hour}:00:00")
        await asyncio.gather(one.look(), other.look())
    assert await _fired(world, 9)


async def test_nothing_fires_before_its_slot(world: World) -> None:
    cron = a_cron(world)
    await cron.look()
    world.clock.value = at("2026-03-01T11:00:00") - 1
    await cron.look()
    assert await fires(world) == []


DOWN = [("skip", []), ("once", ["13:00"]), ("all(2)", ["12:00", "13:00"]), ("all(9)", ["11:00", "12:00", "13:00"])]


@pytest.mark.parametrize(("misfire", "wanted"), DOWN)
async def test_what_becomes_of_slots_while_no_daemon_runs(world: World, misfire: str, wanted: list[str]) -> None:
    spec = replace(HOURLY, misfire=misfire)
    await a_cron(world, spec).look()
    world.clock.value = at("2026-03-01T13:20:00")
    cron = a_cron(world, spec)
    await cron.look()
    await cron.look()
    assert await _fired(world, len(wanted))
    world.clock.value = at("2026-03-01T14:00:00")
    await cron.look()
    assert await _fired(world, len(wanted) + 1)


@pytest.mark.parametrize("misfire", ["skip", "once"])
async def test_a_slot_that_comes_up_at_the_start_is_no_misfire(world: World, misfire: str) -> None:
    spec = replace(HOURLY, misfire=misfire)
    await a_cron(world, spec).look()
    world.clock.value = at("2026-03-01T13:00:20")
    await a_cron(world, spec).look()
    assert await _fired(world, 1)


async def test_a_clock_that_is_set_back_fires_the_next_slot_of_the_new_time_and_none_twice(world: World) -> None:
    """A machine that boots in 2031 must not wait until then once its clock is right."""
    world.clock.value = at("2031-01-01T00:30:00")
    cron = a_cron(world)
    await cron.look()
    world.clock.value = at("2026-03-01T10:30:00")
    await cron.look()
    world.clock.value = at("2026-03-01T11:00:00")
    await cron.look()
    assert await _fired(world, 1)
    world.clock.value = at("2026-03-01T10:59:59")
    await cron.look()
    world.clock.value = at("2026-03-01T11:00:00")
    await cron.look()
    assert await _fired(world, 1)


async def test_a_slot_that_sql_could_not_take_fires_when_it_is_back(world: World) -> None:
    away = asyncio.Event()

    async def commit(*changes: Any, **more: Any) -> Any:
        if away.is_set():
            raise Unavailable
        return await world.outbox.commit(*changes, **more)

    registry = CollectorRegistry()
    cron = a_cron(world, commit=commit, metrics=CronMetrics(registry=registry))
    await cron.look()
    away.set()
    world.clock.value = at("2026-03-01T11:00:00")
    with pytest.raises(Unavailable):
        await cron.look()
    assert registry.get_sample_value("zapd_cron_overdue_schedules") == 0
    world.clock.value = at("2026-03-01T11:02:00")
    assert registry.get_sample_value("zapd_cron_overdue_schedules") == 1
    world.clock.value = at("2026-03-01T11:00:30")
    away.clear()
    await cron.look()
    assert await _fired(world, 1)
    assert registry.get_sample_value("zapd_cron_overdue_schedules") == 0


async def test_while_sql_is_away_it_does_not_look_without_a_pause(world: World) -> None:
    asked = 0

    async def away(*_changes: Any, **_more: Any) -> Any:
        nonlocal asked
        asked += 1
        raise Unavailable

    await a_cron(world).look()
    world.clock.value = at("2026-03-01T11:00:00")
    async with running(a_cron(world, commit=away)):
        await eventually(lambda: asked == 1)
        for _ in range(200):  # many turns of the loop, in which one that does not wait asks again
            await asyncio.sleep(0.001)
    assert asked == 1


async def test_a_schedule_that_cannot_be_reckoned_stops_no_other(world: World) -> None:
    await world.change(rows(world).added(_schedule("broken", replace(HOURLY, cron="never"), world.clock.value)))
    cron = a_cron(world)
    await cron.look()
    world.clock.value = at("2026-03-01T11:00:00")
    await cron.look()
    assert await _fired(world, 1)


async def test_a_fire_may_come_later_by_chance_but_never_early(world: World) -> None:
    spec = replace(HOURLY, jitter=600.0)
    cron = a_cron(world, spec)
    await cron.look()
    world.clock.value = at("2026-03-01T11:00:00")
    when = None
    for _ in range(601):
        await cron.look()
        if await _fired(world, 1):
            when = world.clock.value
            break
        world.clock.advance(1)
    assert when is not None
    assert when > at("2026-03-01T11:00:00")


async def test_a_stop_that_comes_before_the_start_holds(world: World) -> None:
    cron = a_cron(world)
    await cron.stop()
    await asyncio.wait_for(cron.run(), 1)


async def test_without_schedules_it_waits_for_its_end(world: World) -> None:
    async with running(a_cron(world, None)):
        pass


async def test_another_file_changes_what_fires(world: World) -> None:
    def named(**specs: Spec) -> Mapping[str, tuple[str, Spec]]:
        return {name: ("config", spec) for name, spec in specs.items()}

    cron = a_cron(world, None, configured=named(a=HOURLY, b=HOURLY))
    await cron.look()
    mine = await cron.create(TENANT, "mine", HOURLY, paused=False)
    await cron.pause(await stored(world, "a"), paused=True)
    cron.configure(named(a=replace(HOURLY, kind="other"), c=HOURLY))
    await cron.look()
    found = {s.id: s for s in await rows(world).all()}
    assert set(found) == {"a", "c", mine.id}
    assert (found["a"].spec.kind, found["a"].paused) == ("other", True)
    with pytest.raises(Conflict):
        await cron.delete(found["a"])
    with pytest.raises(Conflict):
        await cron.update(found["c"], HOURLY)


async def test_a_schedule_lives_from_create_to_delete(world: World) -> None:
    cron = a_cron(world, None)
    made = await cron.create(TENANT, None, HOURLY, paused=False)
    with pytest.raises(Conflict):
        await cron.create(TENANT, made.id, HOURLY, paused=False)
    assert (await cron.fire_now(made)).startswith("job_")
    assert await _fired(world, 1)
    paused = await cron.pause(made, paused=True)
    world.clock.value = at("2026-03-01T11:00:00")
    await cron.look()
    assert await _fired(world, 1)
    await cron.pause(await stored(world, paused.id), paused=False)
    await cron.look()
    assert await _fired(world, 1)  # what came while it was paused is no misfire
    changed = await cron.update(await stored(world, made.id), replace(HOURLY, cron="", every=60.0))
    world.clock.advance(61)
    await cron.look()
    assert await _fired(world, 2)
    await cron.delete(changed)
    assert await rows(world).all() == []
    with pytest.raises(NotFound):
        await cron.pause(changed, paused=True)
    with pytest.raises(NotFound):
        await cron.fire_now(changed)


async def test_an_event_happens_by_the_clock(world: World) -> None:
    cron = a_cron(world, None)
    spec = Spec(every=60.0, emit="shop.opened", payload=b'{"shop":7}')
    await cron.create(TENANT, "open", spec, paused=False)
    world.clock.advance(60)
    await cron.look()
    await cron.look()
    found = await world.events.listed(
        TENANT, type="shop.opened", category=None, connection_id=None, after=None, limit=9
    )
    assert [event.type for event in found] == ["shop.opened"]
    assert (await stored(world, "open")).last_made == found[0].id


async def test_what_became_of_each_slot_is_counted(world: World) -> None:
    registry = CollectorRegistry()

    def count(result: str) -> float | None:
        return registry.get_sample_value("zapd_cron_fires_total", {"result": result})

    cron = a_cron(world, replace(HOURLY, misfire="once"), metrics=CronMetrics(registry=registry))
    assert [count(result) for result in ("fired", "late", "skipped")] == [0, 0, 0]
    await cron.look()
    assert registry.get_sample_value("zapd_cron_next_timestamp_seconds") == at("2026-03-01T11:00:00") / 1000
    world.clock.value = at("2026-03-01T11:00:00")
    await cron.look()
    assert count("fired") == 1
    world.clock.value = at("2026-03-01T14:05:00")
    await cron.look()
    assert [count(result) for result in ("fired", "late", "skipped")] == [1, 1, 2]


def _schedule(schedule_id: str, spec: Spec, now: int) -> Schedule:
    return Schedule(
        tenant=TENANT,
        id=schedule_id,
        spec=spec,
        source="api",
        paused=False,
        last_slot=now,
        created_at=now,
        updated_at=now,
    )
