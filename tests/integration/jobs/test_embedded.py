"""The private redis-server: it comes up, comes back, is taken over, and goes when told."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.support import eventually
from tests.support.redis_server import embedded_binary, missing, newer_binary
from zapd.errors import ConfigError
from zapd.jobs.client import connect
from zapd.jobs.embedded import EmbeddedRedis, find_binary

Start = Callable[[], Awaitable[EmbeddedRedis]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts one more, all on the same directory, as zapd after zapd would."""
    started: list[tuple[EmbeddedRedis, asyncio.Task[None]]] = []

    async def start_one() -> EmbeddedRedis:
        server = EmbeddedRedis(directory=tmp_path / "s", binary=embedded_binary())
        started.append((server, asyncio.create_task(server.run(), name="redis")))
        assert await server.ready()
        return server

    yield start_one
    for server, task in started:
        await server.stop()
        await task


async def server_pid(server: EmbeddedRedis) -> int:
    client = connect(server.url, name="test")
    try:
        return int((await client.info("server"))["process_id"])
    finally:
        await client.aclose()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:  # it ended between the two looks
        return False


async def test_it_keeps_its_data_in_a_private_place_and_ends_with_us(start: Start, tmp_path: Path) -> None:
    server = await start()
    client = connect(server.url, name="test")
    await client.set("a", "1")
    settings = await client.config_get("*")
    await client.aclose()
    pid = await server_pid(server)
    assert (settings["appendonly"], settings["maxmemory-policy"], settings["port"]) == ("yes", "noeviction", "0")
    assert (tmp_path / "s").stat().st_mode & 0o077 == 0
    assert os.getsid(pid) != os.getsid(0)

    await server.stop()

    assert not alive(pid)
    again = await start()
    client = connect(again.url, name="test")
    assert await client.get("a") == b"1"
    await client.aclose()


async def test_it_comes_back_after_a_kill(start: Start) -> None:
    server = await start()
    pid = await server_pid(server)
    assert (server.child_up, server.child_restarts) == (True, 0)
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: not alive(pid), within=20)

    await eventually(lambda: server.child_restarts == 1, within=20)
    assert await server.ready()

    assert await server_pid(server) != pid
    assert server.child_up


async def test_one_that_cannot_start_is_tried_again_and_shown_as_down(tmp_path: Path) -> None:
    server = EmbeddedRedis(directory=tmp_path / "s", binary="false")
    running = asyncio.create_task(server.run(), name="redis")
    await eventually(lambda: server.child_restarts >= 2, within=20)
    assert not server.child_up
    await server.stop()
    await running


async def test_a_server_that_a_killed_zapd_left_is_taken_over_and_stopped(tmp_path: Path) -> None:
    directory = tmp_path / "s"
    killed = await asyncio.create_subprocess_exec(
        os.sys.executable,  # type: ignore[attr-defined]
        "-c",
        "import asyncio, pathlib, sys\n"
        "from zapd.jobs.embedded import EmbeddedRedis\n"
        "asyncio.run(EmbeddedRedis(directory=pathlib.Path(sys.argv[1]), binary=sys.argv[2]).run())",
        str(directory),
        embedded_binary(),
        stdout=asyncio.subprocess.DEVNULL,
    )
    server = EmbeddedRedis(directory=directory, binary=embedded_binary())
    assert await server.ready()
    pid = await server_pid(server)
    killed.kill()
    await killed.wait()
    assert alive(pid)

    task = asyncio.create_task(server.run(), name="redis")
    assert await server.ready()
    assert await server_pid(server) == pid

    os.kill(pid, signal.SIGKILL)  # an adopted one is replaced too
    await eventually(lambda: not alive(pid))
    assert await server.ready()
    new = await server_pid(server)
    assert new != pid
    await server.stop()
    await task
    assert not alive(new)


@pytest.mark.parametrize("name", ["s", "Área de Trabalho 100%", "x" * 120])
async def test_a_relative_directory_of_any_name_is_the_same_place_to_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    server = EmbeddedRedis(directory=Path(name), binary=embedded_binary())
    task = asyncio.create_task(server.run(), name="redis")
    assert await server.ready(within=5)
    assert (tmp_path / name / "redis.sock").is_socket()
    await server.stop()
    await task
    assert list((tmp_path / name).glob("appendonly*"))


async def test_an_adopted_server_ends_when_told(start: Start) -> None:
    first = await start()
    pid = await server_pid(first)
    second = await start()
    async with asyncio.timeout(30):  # only so that it cannot hang
        await second.stop()

    await eventually(lambda: not alive(pid), within=20)


async def test_files_that_cannot_be_loaded_are_moved_aside(start: Start, tmp_path: Path) -> None:
    directory = tmp_path / "s"
    directory.mkdir()
    (directory / "appendonly.aof").write_text("this is no append-only file\r\n")

    await start()

    assert len(list(directory.glob("redis-broken-*/appendonly*"))) == 1


async def test_a_part_of_the_files_that_is_missing_costs_no_start(tmp_path: Path) -> None:
    """A newer server keeps several files, and answers before it dies of one that is not there."""
    binary = newer_binary()
    if binary is None:
        missing("a redis-server of version 7 or newer")
    assert binary
    server = EmbeddedRedis(directory=tmp_path / "s", binary=binary)
    task = asyncio.create_task(server.run(), name="redis")
    assert await server.ready()
    await server.stop()
    await task
    for part in (tmp_path / "s").rglob("*.incr.aof"):
        part.unlink()

    server = EmbeddedRedis(directory=tmp_path / "s", binary=binary)
    task = asyncio.create_task(server.run(), name="redis")
    await eventually(lambda: server.child_up, within=20)
    assert len(list((tmp_path / "s").glob("redis-broken-*/appendonlydir"))) == 1
    await server.stop()
    await task


async def test_a_script_around_the_server_will_do(tmp_path: Path) -> None:
    script = tmp_path / "redis.sh"
    script.write_text(
        f"""#!/bin/sh\ntrap 'kill $child' TERM\n{embedded_binary()} "$@" &\nchild=$!\nwait $child\nwait $child"""
    )
    script.chmod(0o700)
    server = EmbeddedRedis(directory=tmp_path / "s", binary=str(script))
    running = asyncio.create_task(server.run(), name="redis")
    await eventually(lambda: server.child_up, within=20)
    pid = await server_pid(server)
    await eventually(
        lambda: "redis:answers" not in {task.get_name() for task in asyncio.all_tasks()}
    )  # it asks no more
    await server.stop()
    await running
    assert not alive(pid)


async def test_one_that_still_loads_its_file_is_not_ready(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    loading = True

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readline():
            words = [(await reader.readline(), await reader.readline())[1].strip() for _ in range(int(head[1:]))]
            loaded = b"-LOADING Redis is loading the dataset in memory\r\n" if loading else b"+PONG\r\n"
            said = {b"PING": loaded, b"INFO": b"$17\r\nprocess_id:12345\n\r\n"}
            writer.write(said.get(words[0], b"+OK\r\n"))
        writer.close()

    async with await asyncio.start_unix_server(serve, tmp_path / "s" / "redis.sock"):
        server = EmbeddedRedis(directory=tmp_path / "s", binary=embedded_binary())
        assert not await server.ready(within=0.3)
        loading = False
        assert await server.ready()


async def test_stop_before_start_and_twice_is_safe(tmp_path: Path) -> None:
    server = EmbeddedRedis(directory=tmp_path / "s", binary=embedded_binary())
    await server.stop()
    await server.stop()
    await server.run()


def test_a_missing_binary_is_a_matter_of_configuration() -> None:
    assert find_binary(None)
    with pytest.raises(ConfigError, match=r"redis\.binary"):
        find_binary("/no/such/redis-server")
