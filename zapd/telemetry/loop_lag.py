"""How late the event loop runs: a timer that measures by how much it overslept. It counts the tasks on the way."""

import asyncio

from prometheus_client import CollectorRegistry, Gauge, Histogram

_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)


class LoopLag:
    """A service. `last` is the newest lag in seconds; it tells the watchdog that the loop still turns."""

    name = "loop_lag"

    def __init__(self, *, registry: CollectorRegistry, every: float = 0.25) -> None:
        self.last = 0.0
        self._every = every
        self._stopped = asyncio.Event()
        self._seconds = Histogram(
            "zapd_loop_lag_seconds",
            "By how much a timer of the event loop is late.",
            buckets=_SECONDS,
            registry=registry,
        )
        # Counted here and not at the scrape: metrics are rendered in a thread, which cannot ask the loop.
        self._tasks = Gauge("zapd_tasks", "Tasks of the event loop.", registry=registry)

    async def run(self) -> None:
        """Sample until `stop`."""
        loop = asyncio.get_running_loop()
        while not self._stopped.is_set():
            due = loop.time() + self._every
            try:
                async with asyncio.timeout_at(due):
                    await self._stopped.wait()
            except TimeoutError:
                self.last = max(0.0, loop.time() - due)
                self._seconds.observe(self.last)
                self._tasks.set(len(asyncio.all_tasks()))

    async def stop(self) -> None:
        """End `run`."""
        self._stopped.set()
