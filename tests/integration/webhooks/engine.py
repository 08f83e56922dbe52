"""The real queue under the deliverer: broker, pool and dispatcher on a Redis of the tests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.integration.webhooks.world import World
from zapd.jobs.broker import Broker
from zapd.jobs.client import connect
from zapd.jobs.dispatcher import Dispatcher
from zapd.jobs.job import Job
from zapd.jobs.metrics import JobMetrics
from zapd.jobs.pool import Pool
from zapd.jobs.scripts import Scripts
from zapd.jobs.settings import QueueSettings
from zapd.webhooks.fanout import QUEUE


class Engine:
    """Takes jobs; `finished` holds the ids of those that are over."""

    def __init__(self, broker: Broker, dispatcher: Dispatcher, finished: list[str]) -> None:
        self._broker = broker
        self._dispatcher = dispatcher
        self.finished = finished

    async def limit(self, endpoint_id: str, *, per_minute: int, burst: int) -> None:
        await self._broker.limit_lane(QUEUE, endpoint_id, per_minute=per_minute, burst=burst, cap=None)

    async def take(self, jobs: list[Job]) -> None:
        await self._broker.enqueue(jobs)
        self._dispatcher.wake(QUEUE)


@asynccontextmanager
async def engine_for(
    world: World, redis_url: str, *, lane_cap: int, slots: int = 8, hangs_after: float | None = None
) -> AsyncIterator[Engine]:
    """The queue `webhook:delivery` with so many slots, `lane_cap` of them for one endpoint; 3 attempts, short waits."""
    settings = QueueSettings(
        name=QUEUE,
        priority=3,
        concurrency=slots,
        max_concurrency=slots,
        hangs_after=hangs_after,
        attempts=3,
        backoff=0.01,
        lane_cap=lane_cap,
    )
    metrics = JobMetrics(registry=world.registry, queues=[QUEUE])
    clients = [connect(redis_url, name="test"), connect(redis_url, name="test:heartbeat")]
    commands, heartbeats = (Scripts(client=client, metrics=metrics) for client in clients)
    broker = Broker(
        scripts=commands, heartbeats=heartbeats, queues=[settings], node="node", boot="boot", metrics=metrics
    )
    await broker.heartbeat(QUEUE)
    finished: list[str] = []
    pool = Pool(
        queue=settings,
        broker=broker,
        handler=world.deliverer.deliver,
        on_dead=world.deliverer.dead,
        on_finished=lambda ended: finished.extend(job_id for _, job_id in ended),
        now_ms=world.clock.now_ms,
        random=lambda: 0.0,
        numbers=metrics.queues[QUEUE],
    )
    dispatcher = Dispatcher(broker=broker, pools=[pool])
    loop = asyncio.create_task(dispatcher.run(), name="dispatcher")
    yield Engine(broker, dispatcher, finished)
    await dispatcher.stop()
    await loop
    await pool.drain(1.0)
    await commands.close()
    await heartbeats.close()
