"""What lies in Redis and is not zapd's: kept aside with its bytes, in nobody's way."""

from tests.integration.jobs.engine import QUEUE, Engine, done, ids
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


async def test_quarantine_is_bounded(engine: Engine) -> None:
    await engine.broker.enqueue([engine.job("ours")])
    for number in range(1200):
        await engine.redis.xadd(key(QUEUE, "r:5"), {b"n": number})
    while (await engine.broker.claim(QUEUE, 400)).more:
        pass

    assert await engine.redis.llen(key(QUEUE, "qr")) == 1000
    assert (await engine.broker.quarantine(QUEUE, limit=1))[0].fields == [b"n", b"1199"]
