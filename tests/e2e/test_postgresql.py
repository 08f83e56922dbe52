"""The daemon on PostgreSQL and a Redis of its own machine: what a larger installation runs."""

import asyncio
from pathlib import Path

import pytest

from tests.support import eventually
from tests.support.daemon import COMMAND, Daemon
from tests.support.load import Load, arrived, heal, judge
from tests.support.receiver import Receiver

FAST = '[sandbox]\npair_after = "0.05s"\nlatency = "5ms"\n[limits]\nsession_per_minute = 60000\nsession_burst = 1000\n'


@pytest.fixture
def environ(postgres_url: str, redis_url: str) -> dict[str, str]:
    return {"DATABASE_URL": postgres_url.replace("+asyncpg", ""), "ZAPD_REDIS__URL": redis_url}


async def zapd(daemon: Daemon, *arguments: str) -> tuple[int, str]:
    """A command on the daemon's configuration: exit code and output."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        "--config",
        str(daemon.config),
        "--state-dir",
        str(daemon.state),
        env=daemon.environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def test_it_does_not_start_before_the_database_is_migrated(tmp_path: Path, environ: dict[str, str]) -> None:
    daemon = Daemon(tmp_path / "state", FAST, environ=environ)
    with pytest.raises(AssertionError, match="ended with 78"):
        await daemon.start()
    await daemon.close()
    assert "zapd migrate" in daemon.log_text()


async def test_a_kill_9_under_load_loses_nothing_on_postgresql(
    tmp_path: Path, environ: dict[str, str], receiver: Receiver
) -> None:
    daemon = Daemon(tmp_path / "state", FAST, environ=environ)
    code, output = await zapd(daemon, "migrate")
    assert code == 0, output
    async with daemon:
        connection = (await daemon.connect(webhook_url=receiver.url))["id"]
        load = Load(daemon, connection, 80)
        async with asyncio.TaskGroup() as group:
            group.create_task(load.run())
            await load.reached(0.5)
            await daemon.kill_only_daemon()
            await daemon.start()
        await heal(load, receiver)
        verdict = await judge(load, receiver)
        assert verdict.ok, verdict
        assert not (daemon.state / "zapd.db").exists()
        assert not daemon.redis_pids()
        assert await daemon.stop() == 0


async def test_it_survives_a_flush_and_a_restart_on_postgresql(tmp_path: Path, environ: dict[str, str]) -> None:
    import redis

    daemon = Daemon(tmp_path / "state", FAST, environ=environ)
    for _ in range(2):  # again does no harm
        code, output = await zapd(daemon, "migrate")
        assert code == 0, output
    async with daemon:
        connection = (await daemon.connect())["id"]
        assert (await daemon.call("POST", f"/connections/{connection}/pause"))[0] in (200, 202)
        for n in range(20):
            await daemon.send(connection, f"m{n}")
        with redis.Redis.from_url(environ["ZAPD_REDIS__URL"]) as client:
            client.flushall()
        assert await daemon.stop() == 0
        await daemon.start()
        assert (await daemon.call("POST", f"/connections/{connection}/resume"))[0] in (200, 202)

        async def all_there() -> bool:
            return len(await arrived(daemon, connection)) == 20

        await eventually(all_there, within=20)
        assert await arrived(daemon, connection) == [f"m{n}" for n in range(20)]


async def test_what_postgresql_cannot_hold_is_refused_with_an_answer_of_its_own(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    daemon = Daemon(tmp_path / "state", FAST, environ=environ)
    assert (await zapd(daemon, "migrate"))[0] == 0
    async with daemon:
        for path in ("/dead-letters/export?text=a%00", "/dead-letters?text=a%00", "/events?type=a%00"):
            status, problem = await daemon.call("GET", path)
            assert (status, problem["status"]) == (422, 422)
