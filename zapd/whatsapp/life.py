"""The one task of a transport. Whatever kills it is told as a lost connection, so that the session starts it again."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from zapd.model.session import SessionState
from zapd.whatsapp.credentials import CORRUPT, CorruptCredentials
from zapd.whatsapp.transport import OnState, StateChange

log = structlog.get_logger("zapd.whatsapp")


class Life:
    """Runs a transport's work from its `start` to its `stop`."""

    def __init__(self, *, name: str) -> None:
        self._name = name
        self._task: asyncio.Task[None] | None = None

    def begin(self, work: Callable[[], Awaitable[None]], *, on_state: OnState) -> None:
        """Run `work`, unless it runs. One that returns has nothing more to do; one that raises lost its connection."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(work, on_state), name=self._name)

    async def end(self) -> None:
        """Cancel the work and wait for it. Safe to call twice and before `begin`."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self, work: Callable[[], Awaitable[None]], on_state: OnState) -> None:
        try:
            await work()
        except CorruptCredentials as error:
            log.error("transport.corrupt_credentials", task=self._name, error=str(error))
            await on_state(StateChange(state=SessionState.FAILED, reason=CORRUPT))
        except Exception as error:  # the loop of a wire: whatever killed it, the session must hear of it
            log.exception("transport.crashed", task=self._name)
            await on_state(StateChange(state=SessionState.RECONNECTING, reason=type(error).__name__))
