"""dramatiq in the engine table: one process of 8 threads, its default; more threads make it slower."""

import logging
from collections.abc import Sequence

import dramatiq
from common import Meter, serve
from dramatiq.brokers.redis import RedisBroker

logging.disable(logging.CRITICAL)


class Dramatiq:
    async def open(self, url: str, meter: Meter) -> None:
        self.broker = RedisBroker(url=url)
        dramatiq.set_broker(self.broker)

        @dramatiq.actor
        def noop(p: str) -> None:
            meter.started(p)
            meter.over()

        self.noop = noop

    async def add(self, payload: str) -> None:
        self.noop.send(payload)

    async def add_many(self, payloads: Sequence[str]) -> None:
        for payload in payloads:  # it has no bulk call
            self.noop.send(payload)

    async def work(self) -> None:
        dramatiq.Worker(self.broker, worker_threads=8).start()


serve(Dramatiq())
