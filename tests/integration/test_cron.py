"""One fire per slot, however many daemons look at the clock and wherever it jumps."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from cronsim import CronSimError
from prometheus_client import CollectorRegistry

from tests.integration.messaging.world import World
from tests.support import eventually
from zapd import cron as cron_module
from zapd.cron import Cron, CronMetrics, Schedule, next_slot
from zapd.errors import Unavailable
from zapd.jobs.job import Job
from zapd.store.settings import CronStore

QUEUE = "maintenance:cleanup"


def at(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def a_cron(world: World, when: str = "0 * * * *", **changes: Any) -> Cron:
    parts: dict[str, Any] = {
        "schedules": [Schedule(name="cleanup", when=when, queue=QUEUE, priority=1)],
        "claim": CronStore.claimed,
        "commit": world.outbox.commit,
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

    async def more(self) -> None:
        """Until it was looked at twice from now on: what was due has been fired."""
        seen = self.count
        await eventually(lambda: self.count >= seen + 3, every=0.002)


@asynccontextmanager
async def running(*crons: Cron) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(cron.run(), name="cron") for cron in crons]
    await asyncio.sleep(0)  # each has looked at the clock once
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


async def test_each_slot_fires_once_though_two_daemons_run(world: World) -> None:
    looks = [Looks(world), Looks(world)]
    async with running(*[a_cron(world, now_ms=look.now_ms) for look in looks]):
        for hour in range(1, 6):
            for look in looks:
                await look.more()
            world.clock.value = at(f"2026-03-01T{10 + hour}:00:00")
            await eventually(lambda: _fired(world, hour))  # noqa: B023 - awaited at once
        for look in looks:
            await look.more()
    jobs = await fires(world)
    assert len(jobs) == 5
    assert [job.created_at for job in jobs] == [at(f"2026-03-01T{hour}:00:00") for hour in range(11, 16)]
    assert {(job.kind, job.lane, job.priority) for job in jobs} == {("cleanup", "cleanup", 1)}


async def _fired(world: World, count: int) -> bool:
    return len(await fires(world)) == count


async def test_nothing_fires_before_its_slot(world: World) -> None:
    look = Looks(world)
    async with running(a_cron(world, now_ms=look.now_ms)):
        world.clock.value = at("2026-03-01T11:00:00") - 1
        await look.more()
        assert await fires(world) == []


async def test_a_clock_that_jumps_over_many_slots_fires_one(world: World) -> None:
    look = Looks(world)
    async with running(a_cron(world, now_ms=look.now_ms)):
        await look.more()
        world.clock.value = at("2026-03-04T10:30:00")
        await eventually(lambda: _fired(world, 1))
        await look.more()
        assert await _fired(world, 1)


async def test_a_clock_that_is_set_back_fires_the_next_slot_of_the_new_time_and_none_twice(world: World) -> None:
    """A machine that boots in 2031 must not wait until then once its clock is right."""
    world.clock.value = at("2031-01-01T00:30:00")
    look = Looks(world)
    async with running(a_cron(world, now_ms=look.now_ms)):
        await look.more()
        world.clock.value = at("2026-03-01T10:30:00")
        await look.more()
        world.clock.value = at("2026-03-01T11:00:00")
        await eventually(lambda: _fired(world, 1))
        world.clock.value = at("2026-03-01T10:59:59")
        await look.more()
        world.clock.value = at("2026-03-01T11:00:00")
        await look.more()
        assert await _fired(world, 1)


async def test_a_restart_does_not_fire_a_slot_again(world: World) -> None:
    async with running(a_cron(world)):
        world.clock.value = at("2026-03-01T11:00:00")
        await eventually(lambda: _fired(world, 1))
    world.clock.value = at("2026-03-01T10:59:00")
    look = Looks(world)
    async with running(a_cron(world, now_ms=look.now_ms)):
        await look.more()
        world.clock.value = at("2026-03-01T11:00:00")
        await look.more()
        assert await _fired(world, 1)


async def test_a_slot_that_sql_could_not_take_is_skipped_and_the_next_one_comes(world: World) -> None:
    asked = []

    async def away_once(*changes: Any, **more: Any) -> Any:
        asked.append(changes)
        if len(asked) == 1:
            raise Unavailable
        return await world.outbox.commit(*changes, **more)

    async with running(a_cron(world, commit=away_once)):
        world.clock.value = at("2026-03-01T11:00:00")
        await eventually(lambda: len(asked) == 1)
        world.clock.value = at("2026-03-01T12:00:00")
        await eventually(lambda: _fired(world, 1))


async def test_a_cron_without_schedules_waits_for_its_end(world: World) -> None:
    async with running(a_cron(world, schedules=[])):
        pass


async def test_a_stop_that_comes_before_the_start_holds(world: World) -> None:
    cron = a_cron(world)
    await cron.stop()
    await asyncio.wait_for(cron.run(), 1)


async def test_a_bad_line_is_refused(world: World) -> None:
    for line in ("61 * * * *", "* * *", "hello"):
        with pytest.raises(CronSimError):
            next_slot(line, 0)
        with pytest.raises(CronSimError):
            await a_cron(world, line).run()


@pytest.mark.parametrize(
    ("line", "after", "slot"),
    [
        ("0 * * * *", "2026-03-01T10:59:59", "2026-03-01T11:00:00"),
        ("0 * * * *", "2026-03-01T11:00:00", "2026-03-01T12:00:00"),
        ("30 3 * * *", "2026-12-31T03:30:01", "2027-01-01T03:30:00"),
        ("0 0 29 2 *", "2026-03-01T00:00:00", "2028-02-29T00:00:00"),
    ],
)
def test_the_next_slot_lies_after_the_time(line: str, after: str, slot: str) -> None:
    assert next_slot(line, at(after)) == at(slot)


def test_a_part_of_a_second_rounds_no_slot_away() -> None:
    assert next_slot("0 * * * *", at("2026-03-01T10:59:59") + 999) == at("2026-03-01T11:00:00")


async def test_what_became_of_each_slot_is_counted(world: World) -> None:
    registry, away = CollectorRegistry(), asyncio.Event()

    async def commit(*changes: Any, **more: Any) -> Any:
        if away.is_set():
            raise Unavailable("SQL")
        return await world.outbox.commit(*changes, **more)

    def fires(result: str) -> float | None:
        return registry.get_sample_value("zapd_cron_fires_total", {"result": result})

    look = Looks(world)
    cron = a_cron(world, now_ms=look.now_ms, commit=commit, metrics=CronMetrics(registry=registry))
    assert [fires(result) for result in ("fired", "late", "skipped")] == [0, 0, 0]
    async with running(cron):
        await look.more()
        assert registry.get_sample_value("zapd_cron_next_timestamp_seconds") == at("2026-03-01T11:00:00") / 1000
        world.clock.value = at("2026-03-01T11:00:00")
        await eventually(lambda: fires("fired") == 1)
        world.clock.value = at("2026-03-01T12:05:00")
        await eventually(lambda: fires("late") == 1)
        away.set()
        world.clock.value = at("2026-03-01T13:00:00")
        await eventually(lambda: fires("skipped") == 1)
        assert (fires("fired"), fires("late")) == (1, 1)
