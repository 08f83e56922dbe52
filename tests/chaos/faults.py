"""The faults: each is given a run whose load has not begun, and is done when everything is up again."""

import asyncio
import signal
import sqlite3

import aiohttp
import redis

from tests.chaos.run import Run
from tests.support import eventually
from tests.support.daemon import Daemon


async def at_failpoint(run: Run) -> None:
    """kill -9 at one line of the code (`zapd/failpoint.py`)."""
    run.go.set()
    assert run.daemon.process
    async with asyncio.timeout(60):
        await run.daemon.process.wait()
    run.daemon.environ.pop("ZAPD_FAILPOINT")
    await run.daemon.start()


async def kill_everything(run: Run) -> None:
    """As a power cut."""
    await run.half_way()
    await run.daemon.kill()
    await run.daemon.start()


async def kill_daemon(run: Run) -> None:
    """The next start adopts the running Redis."""
    await run.half_way()
    await run.daemon.kill_only_daemon()
    await run.daemon.start()


async def kill_redis(run: Run) -> None:
    """It comes back with its file."""
    await run.half_way()
    await run.daemon.kill_redis()


async def flushall(run: Run) -> None:
    """All scheduling state goes."""
    await run.half_way()
    flush(run.daemon)


async def flushall_with_webhooks(run: Run) -> None:
    """The receiver hangs; everything it has to get is in the queue."""
    await run.taken_in()
    flush(run.daemon)
    run.receiver.open.set()


async def kill_redis_with_webhooks(run: Run) -> None:
    """As above."""
    await run.taken_in()
    await run.daemon.kill_redis()
    run.receiver.open.set()


async def kill_everything_with_webhooks(run: Run) -> None:
    """As above."""
    await run.taken_in()
    await run.daemon.kill()
    run.receiver.open.set()
    await run.daemon.start()


async def stop_redis_for_1_s(run: Run) -> None:
    """Shorter than the client's timeout."""
    await _stop_redis(run, 1)


async def stop_redis_for_5_s(run: Run) -> None:
    """Longer than the client's timeout: the answers of calls that took effect are lost."""
    await _stop_redis(run, 5)


async def stop_redis_for_30_s(run: Run) -> None:
    """Longer than a lease; the embedded server is not given up for it, or a new one takes its place."""
    await _stop_redis(run, 30)


async def _stop_redis(run: Run, seconds: float) -> None:
    await run.half_way()
    run.signal_redis(signal.SIGSTOP)
    await asyncio.sleep(seconds)
    run.signal_redis(signal.SIGCONT)


async def redis_hangs_over_the_intake(run: Run) -> None:
    """Every send is accepted while Redis does not answer."""
    run.signal_redis(signal.SIGSTOP)
    run.go.set()
    await run.load.reached(1.0)
    run.signal_redis(signal.SIGCONT)


async def redis_is_down_over_the_intake(run: Run) -> None:
    """Every send is accepted while there is no Redis; it comes back empty."""
    assert run.redis
    run.redis.kill()
    run.go.set()
    await run.load.reached(1.0)
    run.redis.start()


async def restore_old_rdb(run: Run) -> None:
    """A Redis comes back with what it held before the last half of the load: done jobs are there again."""
    assert run.redis
    run.go.set()
    await run.load.reached(0.3)
    with redis.Redis.from_url(run.redis.url) as client:
        client.save()
    saved = (run.redis.directory / "dump.rdb").read_bytes()
    await run.load.reached(0.8)
    run.redis.kill()
    (run.redis.directory / "dump.rdb").write_bytes(saved)
    await asyncio.to_thread(run.redis.start)


async def redis_is_full_over_the_intake(run: Run) -> None:
    """Every send is accepted while Redis takes nothing new."""
    assert run.redis
    with redis.Redis.from_url(run.redis.url) as client:
        client.config_set("maxmemory", "1mb")
        run.go.set()
        await run.load.reached(1.0)
        client.config_set("maxmemory", "0")


async def redis_may_evict(run: Run) -> None:
    """The policy lets Redis throw jobs away: zapd says so in its log, and goes on."""
    await eventually(lambda: "noeviction" in run.daemon.log_text(), within=20)
    await run.half_way()


async def terminate(run: Run) -> None:
    """A deploy."""
    await run.half_way()
    await _ended(run, await run.daemon.stop())


async def terminate_twice(run: Run) -> None:
    """An operator in a hurry: what runs is handed back at once."""
    await run.half_way()
    run.daemon.signal(signal.SIGTERM)
    await asyncio.sleep(0.05)
    run.daemon.signal(signal.SIGTERM)
    await _ended(run, await run.daemon.wait())


async def terminate_at_failpoint(run: Run) -> None:
    """A deploy that dies in the middle of handing back what it could not end; the receiver hangs, so there is such."""
    await run.taken_in()
    run.daemon.signal(signal.SIGTERM)
    await asyncio.sleep(0.2)  # two at once are one to the kernel
    run.daemon.signal(signal.SIGTERM)
    code = await run.daemon.wait()
    run.receiver.open.set()
    if code != -signal.SIGKILL:
        raise AssertionError(f"it did not die handing back: exit {code}")
    run.daemon.environ.pop("ZAPD_FAILPOINT")
    await run.daemon.start()


async def stop_redis_for_120_s(run: Run) -> None:
    """Eight leases."""
    await _stop_redis(run, 120)


async def lock_database_for_20_s(run: Run) -> None:
    """SQL takes nothing for longer than a lease: sends are refused with 503, nothing that was accepted is touched."""
    await run.half_way()
    database = await asyncio.to_thread(sqlite3.connect, run.daemon.state / "zapd.db", isolation_level=None, timeout=30)
    await asyncio.to_thread(database.execute, "BEGIN IMMEDIATE")
    try:
        await asyncio.sleep(20)
    finally:
        await asyncio.to_thread(database.execute, "ROLLBACK")
        await asyncio.to_thread(database.close)


async def postgres_out_of_reach_for_20_s(run: Run) -> None:
    """Nothing passes to PostgreSQL and back for longer than a lease; then the old connections are reset."""
    assert run.sql
    await run.half_way()
    run.sql.blackhole()
    await asyncio.sleep(20)
    run.sql.reset()
    run.sql.heal()


async def postgres_hangs_up_for_5_s(run: Run) -> None:
    """Every connection to PostgreSQL is reset every 0.2 s, also between a commit and its answer."""
    assert run.sql
    await run.half_way()
    for _ in range(25):
        run.sql.reset()
        await asyncio.sleep(0.2)


async def hostile_bodies(run: Run) -> None:
    """100 MB, a body nested 100,000 deep, bytes that are no text: refused each, and the load goes on beside them."""
    await run.half_way()
    deep = b"[" * 100_000 + b"]" * 100_000
    bodies = (b'{"jobs": "' + b"x" * 100_000_000 + b'"}', deep, b'{"a":' * 50_000, b"\xff\xfe{", b"")
    url = f"{run.daemon.url}/connections/{run.load.connection}/send"
    headers = {"Authorization": f"Bearer {run.daemon.key}", "Content-Type": "application/json"}
    async with aiohttp.ClientSession(headers=headers) as http:
        for body in bodies:
            try:
                async with http.post(url, data=body) as answer:
                    status = answer.status
            except aiohttp.ClientError:
                continue  # it hung up in the middle of 100 MB
            if not 400 <= status < 500:
                raise AssertionError(f"{len(body):,} bytes were answered with {status}")


async def terminate_with_webhooks(run: Run) -> None:
    """A deploy while the receiver hangs: the deliveries under way do not end within the deadline."""
    await run.taken_in()
    run.daemon.signal(signal.SIGTERM)
    await asyncio.sleep(0.2)  # two at once are one to the kernel
    run.daemon.signal(signal.SIGTERM)
    code = await run.daemon.wait()
    run.receiver.open.set()
    await _ended(run, code)


async def _ended(run: Run, code: int) -> None:
    if code != 0:
        raise AssertionError(f"SIGTERM: exit {code}")
    await run.daemon.start()


def flush(daemon: Daemon) -> None:
    """FLUSHALL of the embedded server."""
    with redis.Redis(unix_socket_path=str(next(daemon.state.rglob("redis.sock")))) as client:
        client.flushall()
