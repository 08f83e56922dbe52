"""SAQ in the engine table."""

import asyncio
from collections.abc import Sequence

from common import CONCURRENCY, Meter, serve
from saq import Queue, Worker


class Saq:
    async def open(self, url: str, meter: Meter) -> None:
        async def noop(ctx, *, p: str) -> None:
            meter.started(p)
            meter.over()

        self.queue = Queue.from_url(url)
        await self.queue.connect()
        self.worker = Worker(self.queue, functions=[("noop", noop)], concurrency=CONCURRENCY)

    async def add(self, payload: str) -> None:
        await self.queue.enqueue("noop", p=payload)

    async def add_many(self, payloads: Sequence[str]) -> None:
        for start in range(0, len(payloads), 50):  # it has no bulk call, and lets 20 operations run at once
            await asyncio.gather(*[self.add(payload) for payload in payloads[start : start + 50]])

    async def work(self) -> None:
        await self.worker.start()


serve(Saq())
