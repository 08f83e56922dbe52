"""Decides which queue claims next. One loop, so that the order of queues is one decision after another."""

import asyncio
import math
from collections.abc import Sequence

import structlog

from zapd.errors import Unavailable
from zapd.jobs.broker import Broker
from zapd.jobs.pool import Pool
from zapd.jobs.scripts import ScriptFailed

log = structlog.get_logger("zapd.jobs")

_POLL = 1.0  # seconds; finds what other daemons enqueue, and what a lost wake-up left behind
_BROKEN = 1.0  # seconds between tries of a queue whose data Redis cannot work with
_AWAY = 0.25  # seconds between tries while Redis is away
_AGEING = 1.0  # seconds of waiting that count as one level of priority


class _Line:
    """One queue, as the dispatcher sees it. Times as the loop's clock."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.queue = pool.queue.name
        self.due = math.inf  #: when to claim again, or since when it waits for that
        self.more = False  #: the last claim left work behind
        self.ready = 0  #: about how much
        self.capped = False  #: tenants wait for one of their jobs to end, which may be another queue's
        self.unsure = True  #: jobs may have been claimed without our knowing; true at start, for a restart of this part


class Dispatcher:
    """Claims for all pools, at most their free slots and `max_in_flight` in all, the most urgent queue first.

    A queue that waits rises by one level per second, so that the lowest still moves under any load.
    """

    name = "dispatcher"

    def __init__(self, *, broker: Broker, pools: Sequence[Pool], max_in_flight: int = 1000) -> None:
        self._broker = broker
        self._max_in_flight = max_in_flight
        self._lines = {pool.queue.name: _Line(pool) for pool in pools}
        self._wake = asyncio.Event()
        self._stopped = asyncio.Event()
        self._stopped.set()
        self._stopping = False
        self._paused = False
        self._away_until = 0.0
        self._shut_until = 0.0  # the rate over all queues lets nothing go before
        self._crowded = False  # a claim was put off because of `max_in_flight`
        self.turns = 0  #: rises while the loop is alive; for a watchdog
        for line in self._lines.values():
            self._listen(line)

    def wake(self, queue: str) -> None:
        """Something was enqueued here: claim now instead of at the next poll."""
        line = self._lines.get(queue)
        if line:
            self._make_due(line)

    def doubt(self) -> None:
        """Redis may hold claims of ours that we do not run, because it came back with what it held earlier: look.

        Without that they would be held for as long as we live, and their lanes with them.
        """
        for line in self._lines.values():
            line.unsure = True
            self._make_due(line)

    def hold(self, on: bool) -> None:
        """No claims from now on, here and at once; off: claim again."""
        self._paused = on
        self._wake.set()

    def limit(self, max_in_flight: int) -> None:
        """Another limit over all pools, from the next claim on."""
        self._max_in_flight = max_in_flight
        self._wake.set()

    async def run(self) -> None:
        """Claim until `stop`."""
        loop = asyncio.get_running_loop()
        self._stopped.clear()
        for line in self._lines.values():
            line.unsure = True  # a run before this one may have died between a claim and its start
            self._make_due(line)
        try:
            while not self._stopping:
                self._wake.clear()
                self.turns += 1
                for line in self._lines.values():
                    line.pool.slots.resize(ready=line.ready if line.more and line.pool.slots.free <= 0 else 0)
                while (chosen := self._next(loop.time())) and not self._stopping:
                    await self._serve(chosen)
                await self._sleep()
        finally:
            self._stopped.set()

    async def stop(self) -> None:
        """No more claims; waits for the one under way, because an abandoned claim strands its jobs."""
        self._stopping = True
        self._wake.set()
        await self._stopped.wait()

    def _listen(self, line: _Line) -> None:
        def slot_free() -> None:
            if line.more:
                self._make_due(line)
            elif self._crowded:
                self._wake.set()

        def changed() -> None:
            self._make_due(line)
            for other in self._lines.values():
                if other.capped:
                    self._make_due(other)

        line.pool.on_slot = slot_free
        line.pool.on_change = changed

    def _make_due(self, line: _Line) -> None:
        line.due = min(line.due, asyncio.get_running_loop().time())
        self._wake.set()

    def _next(self, now: float) -> _Line | None:
        """The most urgent queue that is due and has a free slot."""
        self._crowded = False
        if self._paused or now < self._away_until:
            return None
        best, highest = None, 0.0
        for line in self._lines.values():
            if line.due <= now and line.pool.slots.free > 0 and not self._shuts(line, now):
                urgency = line.pool.queue.priority + (now - line.due) / _AGEING
                if best is None or urgency > highest:
                    best, highest = line, urgency
        self._crowded = best is not None and self._room() <= 0
        return None if self._crowded else best

    def _shuts(self, line: _Line, now: float) -> bool:
        """Whether the rate over all queues holds it back. It then counts as due, so that the urgent go first."""
        return now < self._shut_until and line.pool.queue.shared

    def _room(self) -> int:
        return self._max_in_flight - sum(line.pool.slots.busy for line in self._lines.values())

    async def _serve(self, line: _Line) -> None:
        loop = asyncio.get_running_loop()
        line.due = loop.time() + _POLL  # before the claim, so that a wake-up during it is not lost
        try:
            if line.unsure:
                await self._recover(line)
            claim = await self._broker.claim(line.queue, min(self._room(), line.pool.slots.free, line.pool.slots.share))
        except Unavailable as error:
            line.unsure = True
            line.due = loop.time() + (_BROKEN if isinstance(error, ScriptFailed) else _AWAY)
            if not isinstance(error, ScriptFailed):  # else the other queues have nothing to do with it
                self._away_until = line.due
            log.warning("jobs.claim_failed", queue=line.queue, error=str(error)[:200])
            return
        line.pool.start(claim.jobs)
        line.more, line.ready = claim.more, max(1, claim.ready)
        now = loop.time()
        line.capped = claim.capped or (line.capped and claim.held)
        waits_for_ends = any(other.capped for other in self._lines.values())
        for other in self._lines.values():
            other.pool.tells_all = waits_for_ends
        if claim.shut:
            self._shut_until = now + (claim.wait or 0.0)
        if claim.more or claim.shut:
            line.due = min(line.due, now)
        elif claim.wait is not None:
            line.due = min(line.due, now + claim.wait)

    async def _recover(self, line: _Line) -> None:
        line.unsure = False  # before the call: a doubt that comes meanwhile is another one
        found = await self._broker.recover(line.queue, line.pool.held())
        if found:
            log.warning("jobs.recovered", queue=line.queue, jobs=found)

    async def _sleep(self) -> None:
        """Until a wake-up, or the next queue is due."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        shut = self._shut_until
        due = [
            max(line.due, shut) if self._shuts(line, now) else line.due
            for line in self._lines.values()
            if line.pool.slots.free > 0
        ]
        until = max(self._away_until, min(due, default=now + _POLL))
        if self._paused or self._crowded or until <= now:
            until = now + _POLL
        full = [line.pool.slots.grows_in for line in self._lines.values() if line.more and line.pool.slots.free <= 0]
        until = min([until, *[now + seconds for seconds in full]])
        timer = loop.call_at(min(until, now + _POLL), self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()
