"""Priorities inside a queue: strict order, ageing, changing one, and the limit over all daemons."""

import pytest

from tests.integration.jobs.engine import QUEUE, Engine, done, ids, settings
from tests.support import eventually
from zapd.errors import NotFound
from zapd.jobs.claim import Claimed
from zapd.jobs.keys import key


async def claim(engine: Engine, free: int = 10) -> list[Claimed]:
    return (await engine.broker.claim(QUEUE, free)).jobs


async def test_urgent_ones_go_first_strictly_while_nobody_waits_long(engine: Engine) -> None:
    for level in (1, 9, 5):
        await engine.broker.enqueue([engine.job(f"{level}-{number}", priority=level) for number in range(4)])

    assert ids(await claim(engine, 6)) == ["9-0", "9-1", "9-2", "9-3", "5-0", "5-1"]


@pytest.mark.parametrize("lane", ["", "x"])
async def test_a_level_that_waits_long_gets_one_slot_in_eight_under_any_load(engine: Engine, lane: str) -> None:
    engine.configure(settings(lane_cap=1000))
    broker = engine.another("a", aged_after=0.05)
    await broker.enqueue([engine.job(f"low{number}", priority=1, lane=lane) for number in range(100)])
    await broker.enqueue([engine.job(f"mid{number}", priority=4) for number in range(100)])
    await eventually(lambda: aged(engine))
    starts: list[str] = []
    while len(starts) < 400:
        await broker.enqueue([engine.job(priority=9) for _ in range(10)])  # more than is claimed
        claimed = (await broker.claim(QUEUE, 5)).jobs
        starts += ids(claimed)
        await broker.finish(QUEUE, done(claimed))

    low, mid = (sum(name.startswith(word) for name in starts) for word in ("low", "mid"))
    assert 48 <= low + mid <= 52
    assert low >= 20
    first = [name for name in starts if name.startswith("low")]
    assert first == [f"low{number}" for number in range(len(first))]


async def test_the_lowest_level_moves_though_all_above_it_have_waited_longer(engine: Engine) -> None:
    broker = engine.another("a", aged_after=0.05)
    jobs = [engine.job(f"{level}-{number}", priority=level) for level in (9, 5, 1) for number in range(200)]
    await broker.enqueue(jobs)
    await eventually(lambda: aged(engine))
    starts: list[str] = []
    while len(starts) < 160:
        claimed = (await broker.claim(QUEUE, 4)).jobs
        starts += ids(claimed)
        await broker.finish(QUEUE, done(claimed))

    assert [sum(name.startswith(level) for name in starts) for level in ("9-", "5-", "1-")] == [140, 10, 10]
    while claimed := (await broker.claim(QUEUE, 100)).jobs:
        await broker.finish(QUEUE, done(claimed))
    assert {b"credit", b"turn"} <= set(await engine.redis.hkeys(key(QUEUE, "meta")))
    await broker.clean(QUEUE)
    assert await engine.redis.hkeys(key(QUEUE, "meta")) == []  # an empty queue keeps nobody's turn


async def aged(engine: Engine) -> bool:
    seconds, micros = await engine.redis.time()
    oldest = (await engine.broker.stats(QUEUE)).oldest_ready_ms
    return bool(seconds * 1000 + micros / 1000 - oldest > 100)


async def test_the_priority_of_a_job_that_waits_can_change(engine: Engine) -> None:
    await engine.broker.enqueue(
        [
            engine.job("first"),
            engine.job("plain"),
            engine.job("x1", lane="x"),
            engine.job("x2", lane="x"),
            engine.job("later", due_at=9_999_999_999_999),
        ]
    )
    changed = [await engine.broker.reprioritize(QUEUE, name, 8) for name in ("plain", "x2", "later", "none")]

    assert changed == [True, True, True, None]
    claimed = await claim(engine)
    assert ids(claimed) == ["plain", "x2", "first"]
    assert await engine.broker.reprioritize(QUEUE, "plain", 3) is False  # it runs
    stats = await engine.broker.stats(QUEUE)
    assert (stats.waiting, stats.staged, stats.delayed) == (0, 1, 1)
    view = await engine.broker.job(QUEUE, "later")
    assert view
    assert view.job
    assert view.job.priority == 8
    assert view.state == "delayed"
    await engine.broker.finish(QUEUE, done(claimed))
    assert ids(await claim(engine)) == ["x1"]
    with pytest.raises(NotFound):
        await engine.broker.reprioritize("nowhere", "plain", 3)


async def test_a_job_that_moved_is_counted_once(engine: Engine) -> None:
    await engine.broker.enqueue([engine.job("a"), engine.job("b")])
    for level in (9, 2, 5, 7):
        await engine.broker.reprioritize(QUEUE, "a", level)

    assert (await engine.broker.stats(QUEUE)).waiting == 2
    assert len((await engine.broker.list_jobs(QUEUE, "waiting")).jobs) == 2
    claimed = await claim(engine)
    assert ids(claimed) == ["a", "b"]
    await engine.broker.finish(QUEUE, done(claimed))
    assert await claim(engine) == []
    assert await engine.broker.quarantine(QUEUE) == []


async def test_a_queue_has_a_limit_over_all_daemons(engine: Engine) -> None:
    engine.configure(settings(max_in_flight=3))
    other = engine.another("b")
    await engine.broker.enqueue([engine.job() for _ in range(10)])

    mine, theirs = (await engine.broker.claim(QUEUE, 2)).jobs, (await other.claim(QUEUE, 8)).jobs

    assert (len(mine), len(theirs)) == (2, 1)
    assert await claim(engine) == []
    await other.finish(QUEUE, done(theirs))
    assert len(await claim(engine)) == 1
