"""Collects the ends of claims while one script call runs, and sends them together with the next."""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from zapd.backoff import Backoff
from zapd.errors import Unavailable
from zapd.jobs.broker import Broker
from zapd.jobs.claim import Finished

log = structlog.get_logger("zapd.jobs")

_MOST = 500  # per call
_LOOK = 0.005  # seconds between looks whether the earlier ones are answered
_AGAIN = Backoff(base=0.05, factor=2.0, cap=1.0)


class FinishBuffer:
    """The finishes of one queue. `on_answered(results, taken)` is called after each batch, in order.

    One call is under way at a time, so the engine needs to remember only the newest to answer a repetition. While
    Redis is away the buffer keeps trying; it holds at most what the pool had claimed.
    """

    def __init__(
        self,
        *,
        queue: str,
        broker: Broker,
        on_answered: Callable[[Sequence[Finished], Sequence[bool]], None],
        random: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._broker = broker
        self._on_answered = on_answered
        self._random = random
        self._waiting: list[Finished] = []
        self._sent: list[Finished] = []
        self._added = self._ended = 0
        self._task: asyncio.Task[None] | None = None

    def add(self, result: Finished) -> None:
        """Finish a claim soon. What ends in the same turn of the loop goes together."""
        self._waiting.append(result)
        self._added += 1
        if self._task is None:
            self._task = asyncio.create_task(self._flush(), name=f"finish:{self._queue}")

    def held(self) -> list[str]:
        """Ids of jobs whose finish is not answered yet."""
        return [result.claimed.job.id for result in (*self._sent, *self._waiting)]

    async def settle(self) -> None:
        """Wait until all that was added by now is answered, or given up."""
        goal = self._added
        while self._ended < goal and self._task is not None:
            await asyncio.sleep(_LOOK)

    async def flush(self, seconds: float) -> bool:
        """Wait until all is answered. False: not within the time; what is left is given up and will be reclaimed."""
        if self._task is None:
            return True
        _, late = await asyncio.wait([self._task], timeout=seconds)
        for task in late:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return not late

    async def _flush(self) -> None:
        try:
            while self._waiting:
                self._sent, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
                taken = await self._finish(self._sent)
                sent, self._sent = self._sent, []
                self._ended += len(sent)
                self._on_answered(sent, taken)
        finally:
            self._ended += len(self._sent)
            self._sent = []  # a batch that failed for good is not ours any more: `recover` must find it
            self._task = None

    async def _finish(self, batch: list[Finished]) -> list[bool]:
        failures = 0
        while True:
            try:
                return await self._broker.finish(self._queue, batch)
            except Unavailable as error:
                failures += 1
                log.warning("jobs.finish_delayed", queue=self._queue, jobs=len(batch), error=str(error)[:200])
            await asyncio.sleep(_AGAIN.delay(failures, random=self._random))
