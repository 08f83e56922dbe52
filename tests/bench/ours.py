"""zapd in the engine table: its real broker, dispatcher and pool, and with `SQL=1` its outbox on SQLite in front.

Fencing, timeouts, outcomes, statistics and records are on, as in the daemon. `QUEUES` and `LANES` spread the jobs over
so many; a lane takes 100 jobs at once then, so that one lane can keep the pool as busy as many. Run as the peers are.
"""

import asyncio
import os
import random
import tempfile
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

from prometheus_client import CollectorRegistry

from tests.bench.peers.common import CONCURRENCY, Meter, serve
from zapd.ids import Ids
from zapd.jobs.broker import Broker
from zapd.jobs.client import connect
from zapd.jobs.dispatcher import Dispatcher
from zapd.jobs.job import Done, Job, Outcome
from zapd.jobs.metrics import JobMetrics
from zapd.jobs.pool import Pool
from zapd.jobs.scripts import Scripts
from zapd.jobs.settings import QueueSettings
from zapd.outbox import Outbox
from zapd.parts.basis import now_ms
from zapd.store.database import Database
from zapd.store.outbox import OutboxStore
from zapd.store.reader import Reader
from zapd.store.writer import Writer

QUEUES = int(os.environ.get("QUEUES", "1"))
LANES = int(os.environ.get("LANES", "0"))
_DONE = Done()


class Zapd:
    """One daemon's engine, built by hand."""

    async def open(self, url: str, meter: Meter) -> None:
        self._meter = meter
        self._ids = Ids(clock_ms=now_ms, random_bytes=os.urandom)
        self._names = [f"bench{number}" for number in range(QUEUES)]
        self._queues, self._lanes = cycle(self._names), cycle([f"lane{n}" for n in range(LANES)] or [""])
        settings = [
            QueueSettings(
                name=name,
                priority=5,
                concurrency=CONCURRENCY,
                max_concurrency=CONCURRENCY,
                attempts=3,
                backoff=1,
                lane_cap=CONCURRENCY,
            )
            for name in self._names
        ]
        self._metrics = JobMetrics(registry=CollectorRegistry(), queues=self._names)
        scripts = Scripts(client=connect(url, name="bench"), metrics=self._metrics)
        self._broker = Broker(
            scripts=scripts,
            heartbeats=scripts,
            queues=settings,
            node="n",
            boot="b",
            metrics=self._metrics,
            on_ready=lambda queue: self._dispatcher.wake(queue),
        )
        self._outbox = await self._with_sql() if os.environ.get("SQL") else None
        pools = [self._pool(queue) for queue in settings]
        self._dispatcher = Dispatcher(broker=self._broker, pools=pools, max_in_flight=CONCURRENCY)

    def _pool(self, queue: QueueSettings) -> Pool:
        return Pool(
            queue=queue,
            broker=self._broker,
            handler=self._noop,
            on_dead=self._dead,
            on_finished=self._finished,
            now_ms=now_ms,
            random=random.random,
            numbers=self._metrics.queues[queue.name],
        )

    async def _with_sql(self) -> Outbox:
        folder = Path(os.environ.get("FOLDER") or tempfile.mkdtemp(prefix="zapd-bench-"))
        database = Database(url=f"sqlite+aiosqlite:///{folder}/zapd.db")
        await database.migrate()
        writer = Writer(database=database)

        async def never() -> bool:
            return False

        async def nothing(_at: int) -> None:
            pass

        outbox = Outbox(
            writer=writer,
            rows=OutboxStore(database=database, reader=Reader(database=database)),
            broker=self._broker,
            on_dead=self._dead,
            lost_data=never,
            on_lost=nothing,
            now_ms=now_ms,
        )
        self._services = [asyncio.create_task(service.run(), name=service.name) for service in (writer, outbox)]
        await asyncio.sleep(0.2)  # its first look at an empty table
        return outbox

    def _job(self, payload: str) -> Job:
        queue, lane = next(self._queues), next(self._lanes)
        return Job(
            id=self._ids.new("job"), queue=queue, lane=lane, payload=payload.encode(), priority=5, created_at=now_ms()
        )

    async def add(self, payload: str) -> None:
        job = self._job(payload)
        if self._outbox:
            await self._outbox.add([job])
        else:
            await self._broker.enqueue([job])

    async def add_many(self, payloads: Sequence[str]) -> None:
        jobs = [self._job(payload) for payload in payloads]
        if self._outbox is None:
            await self._broker.enqueue(jobs)
            return
        before = self._enqueued()
        await self._outbox.add(jobs)
        while self._enqueued() < before + len(jobs):
            await asyncio.sleep(0)

    def _enqueued(self) -> int:
        return sum(numbers.enqueued for numbers in self._metrics.queues.values())

    async def work(self) -> None:
        await self._dispatcher.run()

    async def _noop(self, job: Job) -> Outcome:
        self._meter.started(job.payload.decode())
        return _DONE

    async def _dead(self, job: Job, reason: str, error: str) -> None:
        raise AssertionError(reason)

    def _finished(self, ids: Sequence[tuple[str, str]]) -> None:
        if self._outbox:
            self._outbox.finished(ids)
        self._meter.over(len(ids))


if __name__ == "__main__":
    serve(Zapd())
