"""Jobs that saw two workers die run one at a time in a daemon: the third crash shows which of them is the poison.

Over all queues, because all share the process. Whoever comes while another is in waits, out of our hands, so that the
crash does not count for it.
"""

import asyncio
from collections.abc import Awaitable, Callable

from zapd.jobs.run import Run

ALONE = 30.0  #: seconds after which the next may come in too: one that takes long must not hold up all others
_CLAIM = 0.25  # seconds in which the answers of claims that are under way come in


class Suspects:
    """Of one daemon. Pools `join` with how to wait until the ends they told Redis of are answered."""

    def __init__(self) -> None:
        self._in: list[Run] = []
        self._settle: list[Callable[[], Awaitable[None]]] = []

    def join(self, settle: Callable[[], Awaitable[None]]) -> None:
        """One more pool."""
        self._settle.append(settle)

    def admit(self, run: Run) -> bool:
        """Whether it may start now; then `leave` is due at its end."""
        if any(run.started < other.started + ALONE for other in self._in):
            return False
        self._in.append(run)
        return True

    def leave(self, run: Run) -> None:
        """It ended, or was handed back."""
        if run in self._in:
            self._in.remove(run)

    async def alone(self) -> None:
        """Wait until those that were not admitted are out of our hands."""
        await asyncio.sleep(_CLAIM)
        for settle in self._settle:
            await settle()
