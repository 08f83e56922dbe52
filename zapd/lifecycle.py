"""Start, drain and stop, in the order that loses nothing; pause and resume.

Start: resources → sessions → upkeep → dispatcher → outbox → cron → web. Stop: not ready and streams ended → cron,
outbox and dispatcher stop, so that nothing new is claimed → pools drain while sessions are up and HTTP still accepts
(SQL keeps what comes) → what is left is handed back → the listener closes → sessions → resources.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence

import structlog

from zapd.jobs.dispatcher import Dispatcher
from zapd.jobs.pool import Pool
from zapd.outbox import Outbox
from zapd.state import State
from zapd.supervisor import Supervisor
from zapd.web.server import Server

log = structlog.get_logger("zapd.app")


class Lifecycle:
    """One run of the parts. `prepare` runs between resources and parts: migrations, the admin key, connections."""

    def __init__(
        self,
        *,
        resources: Supervisor,
        parts: Supervisor,
        pools: Sequence[Pool],
        dispatcher: Dispatcher,
        pause_all: Callable[..., Awaitable[None]],
        outbox: Outbox,
        server: Server,
        state: State,
        draining: asyncio.Event,
        open_database: Callable[[], Awaitable[None]],
        prepare: Callable[[], Awaitable[None]],
        close_connections: Callable[[], Awaitable[None]],
        close_database: Callable[[], Awaitable[None]],
    ) -> None:
        self._resources = resources
        self._parts = parts
        self._pools = pools
        self._dispatcher = dispatcher
        self._pause_all = pause_all
        self._outbox = outbox
        self._server = server
        self._state = state
        self._draining = draining
        self._open_database = open_database
        self._prepare = prepare
        self._close_connections = close_connections
        self._close_database = close_database

    async def start(self, inherited: Sequence[socket.socket]) -> None:
        """Bring everything up. Raises ConfigError, Unavailable (SQL) or OSError (the address is taken).

        Redis being away is no reason to fail: messages are accepted and flow when it comes.
        """
        await self._open_database()
        await self._resources.start()
        await self._prepare()
        await self._parts.start()
        await self._server.start(inherited)
        self._state.phase = "running"

    async def stop(self, *, deadline: float, now: asyncio.Event) -> None:
        """Drain for at most `deadline` seconds, or until `now` is set; what still runs then is handed back."""
        self._state.phase = "draining"
        self._draining.set()
        self._outbox.quiet()
        await self._parts.stop("cron", "dispatcher")
        await self._drain_pools(deadline, now)
        await self._server.close()
        # The outbox ends after the pools, because the rows of jobs that ended in the drain must go.
        await self.close()

    async def close(self) -> None:
        """Let go of everything. Safe after a start that failed half-way."""
        await self._server.close()
        await self._parts.stop()
        await self._close_connections()
        await self._resources.stop()
        await self._close_database()

    async def pause(self) -> None:
        """Claim nothing on any queue: here at once; everywhere and over restarts when Redis has it."""
        await self._pause_all(paused=True)

    async def resume(self) -> None:
        """Claim again."""
        await self._pause_all(paused=False)

    @property
    def draining(self) -> bool:
        """Whether it was told to stop."""
        return self._draining.is_set()

    @property
    def turns(self) -> int:
        """Rises while the dispatcher is alive; the watchdog looks at it."""
        return self._dispatcher.turns

    async def _drain_pools(self, deadline: float, now: asyncio.Event) -> None:
        idle = asyncio.create_task(self._until_idle(), name="drain:idle")
        hurry = asyncio.create_task(now.wait(), name="drain:hurry")
        await asyncio.wait([idle, hurry], timeout=deadline, return_when=asyncio.FIRST_COMPLETED)
        for task in (idle, hurry):
            task.cancel()
        await asyncio.gather(idle, hurry, return_exceptions=True)
        handed_back = await asyncio.gather(*[pool.drain(0.0) for pool in self._pools])
        log.info("daemon.drained", handed_back=sum(handed_back))

    async def _until_idle(self) -> None:
        while any(pool.running for pool in self._pools):
            await asyncio.sleep(0.01)
