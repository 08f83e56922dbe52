"""arq in the engine table. It polls; the poll is set to 10 ms, because the default of 500 ms is no contest."""

import asyncio
import logging
from collections.abc import Sequence

from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker, func
from common import CONCURRENCY, Meter, serve

logging.disable(logging.CRITICAL)


class Arq:
    async def open(self, url: str, meter: Meter) -> None:
        async def noop(ctx, p: str) -> None:
            meter.started(p)
            meter.over()

        self.pool = await create_pool(RedisSettings.from_dsn(url))
        self.worker = Worker(
            functions=[func(noop, name="noop")],
            redis_pool=self.pool,
            max_jobs=CONCURRENCY,
            poll_delay=0.01,
            handle_signals=False,
            log_results=False,
        )

    async def add(self, payload: str) -> None:
        await self.pool.enqueue_job("noop", payload)

    async def add_many(self, payloads: Sequence[str]) -> None:
        for start in range(0, len(payloads), 50):  # it has no bulk call
            await asyncio.gather(*[self.add(payload) for payload in payloads[start : start + 50]])

    async def work(self) -> None:
        await self.worker.async_run()


serve(Arq())
