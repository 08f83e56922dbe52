"""The connection to Redis: canceled callers, lost answers, passwords, TLS."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.integration.jobs.engine import Engine
from tests.support import eventually
from tests.support.certificates import self_signed
from tests.support.redis_server import RedisServer
from zapd.jobs.claim import Ending
from zapd.jobs.client import Away, NoScript, Redis, Refused, connect

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture
async def client(server: RedisServer) -> AsyncIterator[Redis]:
    client = connect(server.url, name="tested", timeout=10)
    yield client
    await client.close()


@asynccontextmanager
async def stranger(path: Path, talk: Talk) -> AsyncIterator[Redis]:
    """A client of a server that answers as `talk` does, and then listens to the end."""
    under_way = 0

    async def talks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal under_way
        under_way += 1
        with suppress(OSError):
            await talk(reader, writer)
            await reader.read()
        writer.close()
        under_way -= 1

    async with await asyncio.start_unix_server(talks, path / "s"):
        client = connect(f"unix://{path}/s", name="test", timeout=0.2)
        yield client
        await client.close()
        await eventually(lambda: not under_way)


async def test_canceled_calls_mix_up_no_answers_and_cost_no_connection(client: Redis, engine: Engine) -> None:
    chance = random.Random(7)
    echoed = 0

    async def ask(number: int) -> None:
        nonlocal echoed
        assert await client.execute("ECHO", str(number)) == str(number).encode()
        echoed += 1

    for first in range(0, 2000, 20):
        tasks = [asyncio.create_task(ask(first + n)) for n in range(20)]
        await asyncio.sleep(chance.random() * 0.002)
        for task in chance.sample(tasks, 12):
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [answer for answer in answers if isinstance(answer, Exception)]
    assert echoed >= 800
    assert len([one for one in await engine.redis.client_list() if one["name"] == "tested"]) == 1


async def test_the_first_caller_may_be_canceled_while_the_others_wait_for_the_connection(client: Redis) -> None:
    first = asyncio.create_task(client.execute("ECHO", "first"))
    others = [asyncio.create_task(client.execute("ECHO", str(number))) for number in range(3)]
    await asyncio.sleep(0)
    first.cancel()
    assert await asyncio.gather(*others) == [b"0", b"1", b"2"]


async def test_a_command_of_any_parts_arrives_as_it_is(client: Redis) -> None:
    large = b"\x00\r\n" * 2_000_000  # more than the transport takes at once
    parts = (b"\xff\r\n", "é", 7, 1.5, "", Ending.RETRY)
    await client.execute("RPUSH", "parts", *parts, large)
    again = [asyncio.create_task(client.execute("ECHO", large)) for _ in range(3)]  # with the way out full
    found = await client.execute("LRANGE", "parts", 0, -1)
    assert found == [b"\xff\r\n", "é".encode(), b"7", b"1.5", b"", b"r", large]
    assert await asyncio.gather(*again) == [large] * 3
    assert await client.execute("DEL", "parts") == 1
    assert await client.execute("GET", "parts") is None


async def test_an_error_is_refused_and_harms_no_other_command(client: Redis) -> None:
    wrong = client.execute("GET")
    right = client.execute("ECHO", "x")
    answers = await asyncio.gather(wrong, right, return_exceptions=True)
    assert isinstance(answers[0], Refused)
    assert "wrong number of arguments" in str(answers[0])
    assert answers[1] == b"x"
    with pytest.raises(NoScript):
        await client.execute("EVALSHA", "0" * 40, 0)


async def test_a_server_that_went_takes_what_was_asked_with_it_and_is_found_again(
    client: Redis, server: RedisServer
) -> None:
    await client.execute("PING")
    server.pause()
    asked = [asyncio.create_task(client.execute("PING")) for _ in range(3)]
    await asyncio.sleep(0)
    server.unpause()
    server.kill()
    try:
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            assert answer == b"PONG" or isinstance(answer, Away)
        with pytest.raises(Away):
            await client.execute("PING")
    finally:
        server.start()
    assert await client.execute("PING") == b"PONG"


async def test_silence_is_away_in_time_for_all_who_wait(tmp_path: Path) -> None:
    async def greets_and_goes_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"test\r\n")
        writer.write(b"+OK\r\n")

    async with stranger(tmp_path, greets_and_goes_silent) as client:
        asked = [asyncio.create_task(client.execute("PING")) for _ in range(2)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert [str(answer) for answer in answers] == ["no answer within 0.2 s"] * 2
        assert all(isinstance(answer, Away) for answer in answers)


async def test_a_server_that_never_greets_is_away_in_time(tmp_path: Path) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pass

    async with stranger(tmp_path, silent) as client:
        with pytest.raises(Away):
            await client.execute("PING")


@pytest.mark.parametrize(
    "talk", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"+OK\r\n+OK\r\n+OK\r\n"], ids=["no Redis", "talks unasked"]
)
async def test_a_server_that_talks_nonsense_is_away(tmp_path: Path, talk: bytes) -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"test\r\n")
        writer.write(talk)

    async with stranger(tmp_path, nonsense) as client:
        with pytest.raises(Away):
            await client.execute("PING")


@pytest.mark.parametrize("word", ["LOADING", "READONLY", "MASTERDOWN", "ERR max number of clients reached"])
async def test_a_server_that_does_not_serve_is_away_and_connected_anew(tmp_path: Path, word: str) -> None:
    met = 0

    async def serves_the_second(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal met
        met += 1
        await reader.readuntil(b"test\r\n")
        writer.write(b"+OK\r\n")
        await reader.readuntil(b"PING\r\n")
        writer.write(f"-{word} for now\r\n".encode() if met == 1 else b"+PONG\r\n")

    async with stranger(tmp_path, serves_the_second) as client:
        with pytest.raises(Away, match=word):
            await client.execute("PING")
        assert await client.execute("PING") == b"PONG"


async def test_the_password_user_and_database_of_the_address_hold(server: RedisServer, engine: Engine) -> None:
    await engine.redis.execute_command("ACL", "SETUSER", "ana", "on", ">p@ss/word", "~*", "+@all")
    path = server.url.removeprefix("unix://").partition("?")[0]
    client = connect(f"unix://ana:p%40ss%2Fword@{path}?db=3", name="ana's")
    await client.execute("PING")
    (row,) = [one for one in await engine.redis.client_list() if one["name"] == "ana's"]
    assert (row["user"], row["db"]) == ("ana", "3")
    await client.close()

    for wrong in (f"unix://ana:no@{path}", f"unix://{path}?db=99999"):
        client = connect(wrong, name="test")
        with pytest.raises(Away):
            await client.execute("PING")
        await client.close()
    await engine.redis.execute_command("ACL", "DELUSER", "ana")


async def test_a_server_behind_tls_is_believed_only_with_its_certificate(server: RedisServer, tmp_path: Path) -> None:
    path = server.url.removeprefix("unix://").partition("?")[0]
    context, _ = self_signed(tmp_path, "localhost")

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    under_way = 0

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal under_way
        under_way += 1
        inner = await asyncio.open_unix_connection(path)
        await asyncio.gather(pipe(reader, inner[1]), pipe(inner[0], writer))
        under_way -= 1

    async with await asyncio.start_server(forward, "127.0.0.1", 0, ssl=context) as tls:
        url = f"rediss://localhost:{tls.sockets[0].getsockname()[1]}/0"
        for wrong in (
            url,
            f"rediss://127.0.0.1:{tls.sockets[0].getsockname()[1]}?ssl_ca_certs={tmp_path}/certificate.pem",
        ):
            client = connect(wrong, name="test")
            with pytest.raises(Away, match=r"(?i)certificate"):
                await client.execute("PING")
            await client.close()
        for right in (f"{url}?ssl_ca_certs={tmp_path}/certificate.pem", f"{url}?ssl_cert_reqs=none"):
            client = connect(right, name="test")
            assert await client.execute("PING") == b"PONG"
            await client.close()
            await eventually(lambda: not under_way)


async def test_a_closed_client_leaves_nothing_behind(server: RedisServer, engine: Engine) -> None:
    before = asyncio.all_tasks()
    client = connect(server.url, name="short")
    await client.execute("PING")
    await client.close()
    opening = asyncio.create_task(client.execute("PING"))
    await asyncio.sleep(0)
    await client.close()
    await asyncio.gather(opening, return_exceptions=True)
    assert asyncio.all_tasks() == before

    async def gone() -> bool:
        return not [one for one in await engine.redis.client_list() if one["name"] == "short"]

    await eventually(gone)
