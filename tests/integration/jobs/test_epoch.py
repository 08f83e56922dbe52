"""Whether Redis lost data since the last look."""

import pytest

from tests.integration.jobs.engine import Engine
from tests.support.redis_server import RedisServer
from zapd.errors import Unavailable
from zapd.jobs.client import connect
from zapd.jobs.epoch import Epoch


def epoch(engine: Engine, mark: str = "a") -> Epoch:
    return Epoch(redis=engine.redis, prefix="t", mark=mark)


async def test_the_first_look_and_quiet_ones_find_nothing(engine: Engine) -> None:
    looking = epoch(engine)
    assert [await looking.lost() for _ in range(3)] == [False] * 3


async def test_a_flush_is_noticed_once(engine: Engine) -> None:
    looking = epoch(engine)
    await looking.lost()
    for _ in range(2):
        await engine.redis.flushall()
        assert [await looking.lost() for _ in range(2)] == [True, False]


async def test_every_daemon_notices_a_flush(engine: Engine) -> None:
    daemons = [epoch(engine, mark) for mark in "abc"]
    for daemon in daemons:
        await daemon.lost()
    for _ in range(2):
        await engine.redis.flushall()
        assert [await daemon.lost() for daemon in daemons] == [True] * 3
        assert [await daemon.lost() for daemon in daemons] == [False] * 3


async def test_a_restart_without_data_is_noticed_and_an_outage_is_no_loss(server: RedisServer, engine: Engine) -> None:
    looking = epoch(engine)
    await looking.lost()
    server.kill()
    try:
        with pytest.raises(Unavailable):
            await looking.lost()
    finally:
        server.start()
    assert [await looking.lost() for _ in range(2)] == [True, False]


async def test_another_daemon_that_starts_loses_nothing(engine: Engine) -> None:
    first = epoch(engine)
    await first.lost()
    assert await epoch(engine, "b").lost() is False
    assert await first.lost() is False


async def test_a_redis_that_was_never_there_is_unavailable() -> None:
    redis = connect("unix:///nowhere.sock", name="test")
    with pytest.raises(Unavailable):
        await Epoch(redis=redis, prefix="t", mark="a").lost()
    await redis.aclose()
