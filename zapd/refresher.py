"""Keeps what a part holds of SQL in memory true: looks again every few seconds, for another daemon may change it."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from zapd.errors import Unavailable

log = structlog.get_logger("zapd.refresher")

REFRESH_EVERY = 5.0  #: seconds


class Refresher:
    """`what` names it in the log; `refresh` may raise Unavailable: what is in memory goes on being served."""

    def __init__(self, *, what: str, refresh: Callable[[], Awaitable[None]], every: float = REFRESH_EVERY) -> None:
        self._what = what
        self._refresh = refresh
        self._every = every
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Refresh until `stop`."""
        while not self._stopping.is_set():
            try:
                await self._refresh()
            except Unavailable as error:
                log.warning("refresh.failed", what=self._what, reason=str(error))
            try:
                async with asyncio.timeout(self._every):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    def stop(self) -> None:
        """End `run`."""
        self._stopping.set()
