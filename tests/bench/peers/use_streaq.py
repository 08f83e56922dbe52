"""streaq in the engine table."""

import logging
from collections.abc import Sequence

from common import CONCURRENCY, Meter, serve
from streaq import Worker

logging.disable(logging.CRITICAL)


class Streaq:
    async def open(self, url: str, meter: Meter) -> None:
        self.adding, self.working = (
            Worker(redis_url=url, concurrency=CONCURRENCY, handle_signals=False) for _ in range(2)
        )

        async def noop(p: str) -> None:
            meter.started(p)
            meter.over()

        self.noop, _ = (worker.task(name="noop")(noop) for worker in (self.adding, self.working))
        await self.adding.__aenter__()

    async def add(self, payload: str) -> None:
        await self.noop.enqueue(payload)

    async def add_many(self, payloads: Sequence[str]) -> None:
        await self.adding.enqueue_many([self.noop.enqueue(payload) for payload in payloads])

    async def work(self) -> None:
        await self.working.run_async()


serve(Streaq())
