"""Jobs that saw two workers die run one at a time in a daemon: the third crash shows which of them is the poison.

Over all queues, because all share the process. Whoever comes while another is in waits, out of our hands, so that the
crash does not count for it. Nor may a job die for one that has not killed anybody yet: nothing else begins beside a
suspect at first, and while it waits for what began a moment before, a crash does not count for it either.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from zapd.jobs.run import Run

ALONE = 30.0  #: seconds after which the next may come in too: one that takes long must not hold up all others
TRIAL = 6.0  #: seconds for which nothing else begins; whoever kills does it early
QUIET = 1.0  #: seconds that what began before must have run, or ended
_CLAIM = 0.25  # seconds in which the answers of claims that are under way come in
_LOOK = 0.05  # seconds between looks whether it is quiet


class Suspects:
    """Of one daemon. Pools `join` with how to wait until the ends they told Redis of are answered, and their runs."""

    def __init__(self) -> None:
        self.shut = False  #: nothing but the suspect may begin
        self._in: list[Run] = []
        self._pools: list[tuple[Callable[[], Awaitable[None]], Callable[[], Iterable[Run]]]] = []
        self._open = asyncio.Event()
        self._trial: tuple[Run, asyncio.TimerHandle] | None = None
        self._rest_until = 0.0  # the others have as long as a trial took before the next one

    def join(self, settle: Callable[[], Awaitable[None]], runs: Callable[[], Iterable[Run]]) -> None:
        """One more pool."""
        self._pools.append((settle, runs))

    def admit(self, run: Run) -> bool:
        """Whether it may start now; then `leave` is due at its end. From now on nothing else begins."""
        if run.started < self._rest_until or any(run.started < other.started + ALONE for other in self._in):
            return False
        self._in.append(run)
        self._end_trial()
        self.shut = True
        self._open.clear()
        self._trial = run, asyncio.get_running_loop().call_later(TRIAL, self._end_trial)
        return True

    def leave(self, run: Run) -> None:
        """It ended, or was handed back."""
        if run in self._in:
            self._in.remove(run)
            if self._trial and self._trial[0] is run:
                self._end_trial()

    async def opened(self, run: Run) -> None:
        """Wait until others may begin."""
        while self.shut:
            await self._open.wait()
        run.started = asyncio.get_running_loop().time()

    async def alone(self, run: Run) -> None:
        """Wait until those that were not admitted are out of our hands, and what began before has shown nothing."""
        await asyncio.sleep(_CLAIM)
        for settle, _ in self._pools:
            await settle()
        while self._disturbed(run):
            await asyncio.sleep(_LOOK)

    def _disturbed(self, run: Run) -> bool:
        since = asyncio.get_running_loop().time() - QUIET
        return any(
            other.begun and other.started > since for _, runs in self._pools for other in runs() if other is not run
        )

    def _end_trial(self) -> None:
        if self._trial is None:
            return
        (run, timer), self._trial = self._trial, None
        timer.cancel()
        now = asyncio.get_running_loop().time()
        self._rest_until = now + (now - run.started)
        self.shut = False
        self._open.set()
