"""The faults: each is given a run whose load has not begun, and is done when everything is up again."""

import asyncio
import signal

from tests.chaos.run import Run
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


async def stop_redis_for_5_s(run: Run) -> None:
    """Longer than the client's timeout: the answers of calls that took effect are lost."""
    await run.half_way()
    run.signal_redis(signal.SIGSTOP)
    await asyncio.sleep(5)
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


async def terminate(run: Run) -> None:
    """A deploy."""
    await run.half_way()
    code = await run.daemon.stop()
    if code != 0:
        raise AssertionError(f"SIGTERM: exit {code}")
    await run.daemon.start()


def flush(daemon: Daemon) -> None:
    """FLUSHALL of the embedded server."""
    import redis

    with redis.Redis(unix_socket_path=str(next(daemon.state.rglob("redis.sock")))) as client:
        client.flushall()
