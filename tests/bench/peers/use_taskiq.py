"""taskiq with taskiq-redis in the engine table, on streams, because its lists lose the jobs of a worker that dies."""

import asyncio
import logging
from collections.abc import Sequence

from common import CONCURRENCY, Meter, serve
from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

logging.disable(logging.CRITICAL)


class Taskiq:
    async def open(self, url: str, meter: Meter) -> None:
        self.broker = RedisStreamBroker(url)

        @self.broker.task(task_name="noop")
        async def noop(p: str) -> None:
            meter.started(p)
            meter.over()

        self.noop = noop
        await self.broker.startup()

    async def add(self, payload: str) -> None:
        await self.noop.kiq(payload)

    async def add_many(self, payloads: Sequence[str]) -> None:
        for start in range(0, len(payloads), 50):  # it has no bulk call
            await asyncio.gather(*[self.add(payload) for payload in payloads[start : start + 50]])

    async def work(self) -> None:
        await run_receiver_task(self.broker, max_async_tasks=CONCURRENCY)


serve(Taskiq())
