"""What lies in Redis and is not zapd's: kept aside with its bytes, in nobody's way."""

import time

import pytest

from tests.integration.jobs.engine import QUEUE, Engine, done, ids, settings
from tests.support import eventually
from zapd.jobs.job import Done, Job, Outcome, UnknownKind
from zapd.jobs.keys import key


async def test_an_entry_that_zapd_did_not_write_is_kept_aside(engine: Engine) -> None:
    await engine.broker.enqueue([engine.job("ours")])
    for fields in ({b"\xff\x00": b"\n|:1"}, {b"i": b"nobody"}, {b"i": b"ours"}, {b"a": b"1", b"b": b""}):
        await engine.redis.xadd(key(QUEUE, "r:5"), fields)

    claim = await engine.broker.claim(QUEUE, 10)

    assert ids(claim.jobs) == ["ours"]
    assert not claim.more
    found = await engine.broker.quarantine(QUEUE)
    assert [stranger.fields for stranger in reversed(found)] == [
        [b"\xff\x00", b"\n|:1"],
        [b"i", b"nobody"],
        [b"i", b"ours"],
        [b"a", b"1", b"b", b""],
    ]
    assert {stranger.stream for stranger in found} == {"r:5"}
    assert await engine.broker.finish(QUEUE, done(claim.jobs)) == [True]
    assert (await engine.broker.stats(QUEUE)).waiting == 0


async def test_ids_that_no_double_can_hold_do_not_stop_the_queue(engine: Engine) -> None:
    await engine.broker.enqueue([engine.job("before")])
    await engine.redis.xadd(key(QUEUE, "r:5"), {b"x": b"y"}, id="1999999999999-18446744073709551610")
    await engine.broker.enqueue([engine.job("after")])

    claim = await engine.broker.claim(QUEUE, 10)

    assert ids(claim.jobs) == ["before", "after"]
    assert len(await engine.broker.quarantine(QUEUE)) == 1
    assert await engine.redis.xlen(key(QUEUE, "r:5")) == 0


async def test_a_key_of_another_type_is_moved_out_of_the_way(engine: Engine) -> None:
    await engine.broker.enqueue([engine.job("gone", priority=6), engine.job("fine")])
    await engine.redis.set(key(QUEUE, "r:6"), b"not a stream")
    assert (await engine.broker.stats(QUEUE)).waiting >= 1

    assert ids((await engine.broker.claim(QUEUE, 10)).jobs) == ["fine"]

    await engine.broker.enqueue([engine.job("next", priority=6)])
    assert ids((await engine.broker.claim(QUEUE, 10)).jobs) == ["next"]
    (kept,) = [name async for name in engine.redis.scan_iter(key(QUEUE, "bad:*").replace("{", "*").replace("}", "*"))]
    assert await engine.redis.get(kept) == b"not a stream"


@pytest.mark.parametrize("name", ["r:5", "l:5:x", "e:5", "d", "lv"])
async def test_a_job_is_not_lost_between_keys_when_one_is_of_another_type(engine: Engine, name: str) -> None:
    await engine.redis.set(key(QUEUE, name), b"not ours")
    due = engine.job("due", due_at=time.time_ns() // 1_000_000 + 50)
    jobs = [engine.job("free"), engine.job("staged", lane="x"), due]

    assert await engine.broker.enqueue(jobs) == [True, True, True]

    claimed: list[str] = []

    async def all_claimed() -> bool:
        claimed.extend(ids((await engine.broker.claim(QUEUE, 10)).jobs))
        return len(claimed) == 3

    await eventually(all_claimed)
    assert (await engine.broker.stats(QUEUE)).quarantined == 1


async def test_quarantine_is_bounded(engine: Engine) -> None:
    await engine.broker.enqueue([engine.job("ours")])
    for number in range(1200):
        await engine.redis.xadd(key(QUEUE, "r:5"), {b"n": number})
    while (await engine.broker.claim(QUEUE, 400)).more:
        pass

    assert await engine.redis.llen(key(QUEUE, "qr")) == 1000
    assert (await engine.broker.quarantine(QUEUE, limit=1))[0].fields == [b"n", b"1199"]


async def test_one_queue_that_redis_cannot_work_with_does_not_stop_the_others(engine: Engine) -> None:
    engine.configure(settings(), settings("fine"))
    await engine.redis.set(key(QUEUE, "jobs"), b"not a hash")
    started: list[str] = []

    async def handler(job: Job) -> Outcome:
        started.append(job.id)
        return Done()

    dispatcher = await engine.dispatch(engine.pool(handler), engine.pool(handler, "fine"))
    await engine.broker.enqueue([engine.job(f"job{number}", queue="fine") for number in range(100)])
    dispatcher.wake("fine")

    await eventually(lambda: len(started) == 100)
    await engine.redis.delete(key(QUEUE, "jobs"))
    await engine.broker.enqueue([engine.job("mended")])
    dispatcher.wake(QUEUE)
    await eventually(lambda: "mended" in started)


async def test_a_job_of_a_kind_that_nobody_here_knows_is_parked_with_its_lane(engine: Engine) -> None:
    engine.configure(settings(attempts=1))

    async def handler(job: Job) -> Outcome:
        if job.kind == "new":
            raise UnknownKind(job.kind)
        return Done()

    dispatcher = await engine.dispatch(engine.pool(handler))
    jobs = [engine.job("n1", kind="new", lane="x"), engine.job("x2", lane="x"), engine.job("n2", kind="new")]
    await engine.broker.enqueue([*jobs, engine.job("o")])
    dispatcher.wake(QUEUE)

    await eventually(lambda: engine.over == ["o"] and engine.metrics.queues[QUEUE].outcomes["snooze"] == 2)

    stats = await engine.broker.stats(QUEUE)
    assert (stats.dead, stats.staged, stats.delayed) == (0, 2, 1)
    views = [await engine.broker.job(QUEUE, name) for name in ("n1", "n2")]
    assert [view.attempt for view in views if view] == [1, 1]


async def test_a_job_that_nobody_answers_for_can_be_expelled(engine: Engine) -> None:
    await engine.broker.enqueue(
        [engine.job("plain"), engine.job("lane", lane="x"), engine.job("later", due_at=9_999_999_999_999)]
    )
    running = (await engine.broker.claim(QUEUE, 1)).jobs
    held = running[0].job.id
    found, after = await engine.broker.settled(QUEUE, "0", 1000)
    assert {job_id for _, job_id in found} == {"plain", "lane", "later"} - {held}
    assert after == "0"

    expelled = [await engine.broker.expel(QUEUE, name) for name in ("plain", "lane", "later", "none")]

    assert expelled.count(True) == 2
    assert not expelled[["plain", "lane", "later"].index(held)]  # it runs
    assert (await engine.broker.claim(QUEUE, 5)).jobs == []
    (first, _) = await engine.broker.quarantine(QUEUE)
    assert first.stream == "jobs"
    assert first.fields[1].endswith(b"\n{}")
    await engine.broker.finish(QUEUE, done(running))
