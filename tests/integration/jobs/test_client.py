"""The connections to Redis under tasks that are canceled anywhere."""

import asyncio
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ConnectionError, RedisError

from zapd.jobs.claim import Ending
from zapd.jobs.client import connect


async def test_canceled_calls_cost_no_connection_and_mix_up_no_answers(redis_url: str) -> None:
    """redis-py's own pool hangs here after some rounds: a canceled waiter takes the next one's wake-up with it."""
    client = connect(redis_url, name="fuzz", connections=2)
    chance = random.Random(7)

    async def ask(number: int) -> None:
        assert await client.echo(str(number)) == str(number).encode()

    for first in range(0, 2000, 20):
        tasks = [asyncio.create_task(ask(first + n)) for n in range(20)]
        await asyncio.sleep(chance.random() * 0.002)
        for task in chance.sample(tasks, 12):
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [answer for answer in answers if isinstance(answer, Exception)]
    assert not client.connection_pool._in_use_connections
    await client.aclose()


@pytest.mark.parametrize("lines", range(2, 6))
async def test_a_call_that_is_canceled_as_its_server_dies_ends_all_the_same(tmp_path: Path, lines: int) -> None:
    """redis-py waits for a write by `asyncio.wait_for`, which swallows a cancellation in Python 3.11."""
    gone = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(lines):
            await reader.readline()
            writer.write(b"+OK\r\n")
        writer.transport.abort()
        gone.set()

    async def ask() -> None:
        while True:  # as a loop that outlives an outage
            with suppress(RedisError, OSError):
                await client.ping()

    server = await asyncio.start_unix_server(serve, tmp_path / "s")
    client: Any = connect(f"unix://{tmp_path}/s", name="dying", connections=1)
    for loop_turns in range(20):
        gone.clear()
        task = asyncio.create_task(ask())
        await gone.wait()
        for _ in range(loop_turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=1)
        assert task.cancelled(), f"after {loop_turns} turns of the loop"
    await client.aclose()
    server.close()


async def test_a_burst_leaves_no_connection_open(redis_url: str) -> None:
    client: Any = connect(redis_url, name="burst", connections=6)
    pool = client.connection_pool

    def opened() -> int:
        return sum(connection.is_connected for connection in pool._available_connections)

    for _ in range(2):
        await asyncio.gather(*[client.ping() for _ in range(6)])
        assert opened() == 6
        pool._look_at = 0.0
        await client.ping()
        assert opened() == 6  # they were needed just now
        for connection in pool._available_connections:
            connection.next_health_check = 0.0  # long ago
        pool._look_at = 0.0
        await client.ping()
        assert opened() == 1
    await client.aclose()


async def test_a_caller_waits_for_a_free_connection_and_not_for_ever(redis_url: str) -> None:
    client = connect(redis_url, name="busy", connections=1, timeout=1.0)
    pool: Any = client.connection_pool
    held = await pool.get_connection()
    waiting = asyncio.ensure_future(client.echo("x"))
    await asyncio.sleep(0)
    await pool.release(held)
    assert await waiting == b"x"

    held = await pool.get_connection()
    with pytest.raises(ConnectionError, match="busy"):
        await client.echo("x")
    await pool.release(held)
    await client.aclose()


async def test_a_command_of_any_parts_arrives_as_it_is(redis_url: str) -> None:
    """Commands are packed by hiredis and not by redis-py."""
    client: Any = connect(redis_url, name="parts")
    large = b"\x00\r\n" * 200_000  # more than the transport takes at once
    parts = (b"\xff\r\n", "é", 7, 1.5, "", Ending.RETRY, large)
    await client.delete("parts")
    await client.execute_command("RPUSH", "parts", *parts)
    assert await client.lrange("parts", 0, -1) == [b"\xff\r\n", "é".encode(), b"7", b"1.5", b"", b"r", large]
    async with client.pipeline(transaction=True) as pipe:
        pipe.set("parts", 1.25).get("parts").config_get("maxmemory")
        assert (await pipe.execute())[:2] == [True, b"1.25"]
    await client.aclose()
