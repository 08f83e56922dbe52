"""What a job tells of itself, and how somebody has it stopped while it runs."""

import asyncio
import time

import pytest

from tests.integration.jobs.engine import QUEUE, Engine, settings
from tests.support import FakeClock, eventually
from zapd.errors import Unavailable
from zapd.jobs.client import connect
from zapd.jobs.job import Done, Job, Outcome, Retry, Snooze
from zapd.jobs.keys import key
from zapd.jobs.notes import MAX_LINE, MAX_LINES, Noted, Notes
from zapd.jobs.scripts import Scripts
from zapd.jobs.settings import RetryRule
from zapd.jobs.upkeep import Upkeep


def notes(engine: Engine) -> Notes:
    return Notes(scripts=Scripts(client=engine.redis, metrics=engine.metrics), now_ms=lambda: 1_750_000_000_000)


async def test_the_newest_progress_and_the_last_lines_are_kept(engine: Engine) -> None:
    told = notes(engine)
    assert await told.of(QUEUE, "job_1") == Noted()
    told.progress(QUEUE, "job_1", 10)
    told.progress(QUEUE, "job_1", 25.5)
    for n in range(MAX_LINES + 20):
        told.log(QUEUE, "job_1", f"line {n}\nof two")
        if n == 50:
            await told.send()
    told.failed(QUEUE, "job_1", 2, "it broke")
    told.log(QUEUE, "job_2", "x" * 5_000)
    await told.send()
    seen = await told.of(QUEUE, "job_1")
    assert (seen.progress, seen.error, len(seen.lines)) == (25.5, "it broke", MAX_LINES)
    assert seen.progress_at > 0
    assert seen.lines[-2] == (1_750_000_000_000, f"line {MAX_LINES + 19} of two")
    assert seen.lines[-1][1] == "try 2 failed: it broke"
    assert len((await told.of(QUEUE, "job_2")).lines[0][1]) == MAX_LINE
    for name in ("n:job_1", "lg:job_1"):
        assert await engine.redis.pttl(key(QUEUE, name)) > 0
    with pytest.raises(ValueError, match="0 to 100"):
        told.progress(QUEUE, "job_1", 101)


async def test_they_are_sent_in_the_background_and_at_the_end(engine: Engine) -> None:
    told = notes(engine)
    running = asyncio.create_task(told.run(), name="notes")
    told.progress(QUEUE, "job_1", 1)

    async def there() -> bool:
        return (await told.of(QUEUE, "job_1")).progress == 1

    await eventually(there)
    told.progress(QUEUE, "job_1", 2)
    await told.stop()
    await running
    assert (await told.of(QUEUE, "job_1")).progress == 2


async def test_while_redis_is_away_they_are_dropped(engine: Engine) -> None:
    lost = connect("redis://127.0.0.1:1/0", name="nobody")
    told = Notes(scripts=Scripts(client=lost, metrics=engine.metrics), now_ms=lambda: 0)
    told.log(QUEUE, "job_1", "x")
    await told.send()
    with pytest.raises(Unavailable):
        await told.of(QUEUE, "job_1")
    await lost.aclose()


async def test_a_job_that_runs_is_stopped_and_is_no_dead_letter(engine: Engine) -> None:
    begun: list[str] = []
    ended: list[str] = []

    async def hangs(job: Job) -> Outcome:
        begun.append(job.id)
        try:
            await asyncio.sleep(600)
        finally:
            ended.append(job.id)
        return Done()

    pool = engine.pool(hangs)
    await engine.dispatch(pool)
    await engine.broker.enqueue([engine.job("job_1"), engine.job("job_2")])
    await eventually(lambda: len(begun) == 2)
    assert pool.started("job_1") is not None
    assert pool.started("nobody") is None
    assert not pool.cancel("job_1", 1)  # another claim's fence
    assert not pool.cancel("nobody")
    assert pool.cancel("job_1")
    assert not pool.cancel("job_1")
    await eventually(lambda: engine.over == ["job_1"])
    assert (ended, engine.dead) == (["job_1"], [])
    assert await engine.broker.locate(QUEUE, ["job_1"]) == ["missing"]
    assert engine.metrics.queues[QUEUE].outcomes["canceled"] == 1
    assert pool.cancel("job_2")
    await eventually(lambda: pool.running == 0)


async def test_a_job_of_another_daemon_is_stopped_at_its_heartbeat(engine: Engine) -> None:
    other = engine.another("b")
    lane = engine.job("job_1", lane="l"), engine.job("job_2", lane="l")
    await engine.broker.enqueue(lane)
    (claimed,) = (await other.claim(QUEUE, 1)).jobs
    assert not await engine.broker.cancel(QUEUE, "job_1")
    assert await engine.broker.stop_running(QUEUE, "job_1")
    assert await engine.broker.heartbeat(QUEUE) == []
    assert await other.heartbeat(QUEUE) == [("job_1", claimed.fence)]
    assert await engine.redis.pttl(key(QUEUE, "cx")) > 0
    assert await engine.broker.stop_running(QUEUE, "job_2")  # it only waits
    assert await engine.broker.locate(QUEUE, ["job_2"]) == ["missing"]
    assert not await engine.broker.stop_running(QUEUE, "job_3")


async def test_upkeep_hands_on_what_is_to_be_stopped(engine: Engine) -> None:
    heard: list[tuple[str, str, int]] = []
    await engine.broker.enqueue([engine.job("job_1")])
    (claimed,) = (await engine.broker.claim(QUEUE, 1)).jobs
    await engine.another("b").stop_running(QUEUE, "job_1")
    upkeep = Upkeep(
        broker=engine.broker,
        metrics=engine.metrics,
        random=lambda: 0.0,
        on_cancel=lambda queue, job, fence: heard.append((queue, job, fence)),
    )
    await upkeep._beat()
    assert heard == [(QUEUE, "job_1", claimed.fence)]


async def test_upkeep_stops_also_when_a_cancel_is_swallowed(engine: Engine) -> None:
    for _ in range(10):  # redis-py loses about one in ten that comes with an answer
        upkeep = Upkeep(
            broker=engine.broker, metrics=engine.metrics, random=lambda: 0.0, beat_every=0.001, sweep_every=0.001
        )
        running = asyncio.create_task(upkeep.run(), name="upkeep")
        await asyncio.sleep(0.02)
        async with asyncio.timeout(10):
            await upkeep.stop()
            await running


class Custom(ValueError):
    pass


async def test_a_class_of_errors_has_its_own_attempts_and_waits(engine: Engine) -> None:
    rules = {"ValueError": RetryRule(attempts=1), "flaky": RetryRule(attempts=5, backoff=0.001)}
    engine.configure(settings(attempts=2, backoff=0.001, retry=rules))
    tries: list[tuple[str, int]] = []

    async def handler(job: Job) -> Outcome:
        tries.append((job.id, job.attempt))
        if job.id == "raises":
            raise Custom("no")
        return Retry("no", kind=job.id)

    await engine.dispatch(engine.pool(handler))
    await engine.broker.enqueue([engine.job(name) for name in ("raises", "flaky", "plain")])
    await eventually(lambda: len(engine.dead) == 3)
    counted = {name: max(attempt for job, attempt in tries if job == name) for name, _ in tries}
    assert counted == {"raises": 1, "flaky": 5, "plain": 2}


async def test_a_job_past_its_deadline_is_given_up_before_the_next_try(engine: Engine) -> None:
    engine.configure(settings(attempts=9, backoff=100.0, deadline=60.0))
    tries: list[str] = []

    async def handler(job: Job) -> Outcome:
        tries.append(job.id)
        return Retry("no")

    await engine.dispatch(engine.pool(handler))
    now = 1_750_000_000_000
    late = engine.job("late", created_at=now - 60_001)
    await engine.broker.enqueue([late, engine.job("young", created_at=now)])
    await eventually(lambda: len(engine.over) == 2)
    assert tries == ["young"]
    assert {(job, reason) for job, reason, _ in engine.dead} == {("late", "expired"), ("young", "expired")}
    assert engine.metrics.queues[QUEUE].deaths["expired"] == 2


@pytest.mark.parametrize("outcome", [Retry("no"), Snooze(0.01)])
async def test_a_deadline_counts_from_when_the_job_was_due_first(engine: Engine, outcome: Outcome) -> None:
    engine.configure(settings(attempts=100, backoff=0.01, backoff_factor=1.0, deadline=60.0))
    tries: list[Job] = []
    due = time.time_ns() // 1_000_000 + 100
    clock = FakeClock(due)

    async def handler(job: Job) -> Outcome:
        tries.append(job)
        if len(tries) == 3:
            clock.advance(60.001)
        return outcome

    await engine.dispatch(engine.pool(handler, now_ms=clock.now_ms))
    await engine.broker.enqueue([engine.job("job_1", created_at=due - 600_000, due_at=due)])
    await eventually(lambda: engine.dead)
    assert [(job, reason) for job, reason, _ in engine.dead] == [("job_1", "expired")]
    assert len(tries) == 3
    assert {job.first_due_at for job in tries[1:]} == {due}


async def test_every_failed_try_is_told(engine: Engine) -> None:
    told: list[tuple[str, str, int, str]] = []

    async def handler(_job: Job) -> Outcome:
        return Retry("no", after=0.001)

    await engine.dispatch(engine.pool(handler, on_retry=lambda *what: told.append(what)))
    await engine.broker.enqueue([engine.job("job_1")])
    await eventually(lambda: engine.dead)
    assert told == [(QUEUE, "job_1", 1, "no"), (QUEUE, "job_1", 2, "no")]
