"""The engine as a daemon has it, built by hand: brokers of several daemons on one Redis, and jobs for them."""

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

from prometheus_client import CollectorRegistry

from zapd.jobs.broker import Broker
from zapd.jobs.claim import Claimed, Ending, Finished
from zapd.jobs.client import connect
from zapd.jobs.dispatcher import Dispatcher
from zapd.jobs.job import Handler, Job
from zapd.jobs.keys import key
from zapd.jobs.metrics import JobMetrics
from zapd.jobs.pool import Pool
from zapd.jobs.scripts import Scripts
from zapd.jobs.settings import QueueSettings
from zapd.jobs.suspects import Suspects
from zapd.jobs.verdict import OnDead, OnRetry

QUEUE = "work"


def settings(name: str = QUEUE, **changes: Any) -> QueueSettings:
    values: dict[str, Any] = {
        "name": name,
        "priority": 5,
        "concurrency": 4,
        "max_concurrency": 4,
        "attempts": 3,
        "backoff": 0.01,
        "timeout": 30.0,
    }
    return QueueSettings(**(values | changes))


class Engine:
    """`broker` is daemon a's; `another` gives those of other daemons."""

    def __init__(self, url: str, *queues: QueueSettings) -> None:
        self.redis: Any = connect(url, name="test")  # its types are unions of every reply there is
        self.queues = queues or (settings(),)
        self.metrics = JobMetrics(registry=CollectorRegistry(), queues=[queue.name for queue in self.queues])
        self.scripts = Scripts(client=self.redis, metrics=self.metrics)
        self.ready: list[str] = []  #: queues that got something new to claim
        self.broker = self.another("a")
        self.dead: list[tuple[str, str, str]] = []
        self.over: list[str] = []
        self._numbers = itertools.count(1)
        self._services: list[tuple[Dispatcher, asyncio.Task[None]]] = []
        self._pools: list[Pool] = []
        self._suspects = Suspects()

    def configure(self, *queues: QueueSettings) -> None:
        """Other settings of the queues."""
        self.queues = queues
        self.metrics = JobMetrics(registry=CollectorRegistry(), queues=[queue.name for queue in queues])
        self.broker = self.another("a")

    def another(self, node: str, boot: str = "1", **given: float) -> Broker:
        scripts = Scripts(client=self.redis, metrics=self.metrics)
        return Broker(
            scripts=scripts,
            heartbeats=scripts,
            queues=self.queues,
            node=node,
            boot=boot,
            metrics=self.metrics,
            on_ready=self.ready.append,
            **given,
        )

    def job(self, job_id: str = "", **changes: Any) -> Job:
        now = time.time_ns() // 1_000_000
        values: dict[str, Any] = {"queue": QUEUE, "payload": b"{}", "priority": 5, "created_at": now}
        return Job(id=job_id or f"job_{next(self._numbers):04d}", **(values | changes))

    def pool(
        self,
        handler: Handler,
        name: str = QUEUE,
        on_dead: OnDead | None = None,
        on_retry: OnRetry = lambda *_: None,
        now_ms: Callable[[], int] = lambda: 1_750_000_000_000,
    ) -> Pool:
        (queue,) = (queue for queue in self.queues if queue.name == name)
        pool = Pool(
            queue=queue,
            broker=self.broker,
            handler=handler,
            on_dead=on_dead or self._died,
            on_retry=on_retry,
            on_finished=lambda ids: self.over.extend(job_id for _, job_id in ids),
            now_ms=now_ms,
            random=lambda: 0.0,
            numbers=self.metrics.queues[name],
            suspects=self._suspects,
        )
        self._pools.append(pool)
        return pool

    async def dispatch(self, *pools: Pool, max_in_flight: int = 1000) -> Dispatcher:
        """A running dispatcher; `close` stops it."""
        dispatcher = Dispatcher(broker=self.broker, pools=pools, max_in_flight=max_in_flight)
        self._services.append((dispatcher, asyncio.create_task(dispatcher.run(), name="dispatcher")))
        return dispatcher

    async def kill(self, broker: Broker) -> None:
        """That daemon's heartbeats are past."""
        for queue in self.queues:
            await self.redis.zadd(key(queue.name, "hb"), {broker.consumer: 1})

    async def close(self) -> None:
        for dispatcher, task in self._services:
            await dispatcher.stop()
            await task
        for pool in self._pools:
            await pool.drain(0)
        await self.redis.aclose()

    async def _died(self, job: Job, reason: str, error: str) -> None:
        self.dead.append((job.id, reason, error))


def ids(claimed: Sequence[Claimed]) -> list[str]:
    return [claim.job.id for claim in claimed]


def done(claimed: Sequence[Claimed]) -> list[Finished]:
    return [Finished(claim, Ending.DONE) for claim in claimed]


def ended(claimed: Sequence[Claimed], ending: Ending, delay_ms: int = 0, reason: str = "") -> list[Finished]:
    return [Finished(claim, ending, delay_ms, reason) for claim in claimed]
