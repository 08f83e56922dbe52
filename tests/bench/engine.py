"""How many jobs per second one daemon drains: no-op jobs through the real broker, dispatcher and pool.

`python -m tests.bench.engine [jobs] [concurrency]`; prints plain jobs, then jobs in lanes.
"""

import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop
from prometheus_client import CollectorRegistry

from tests.support.redis_server import RedisServer, embedded_binary
from zapd.jobs.broker import Broker
from zapd.jobs.client import connect
from zapd.jobs.dispatcher import Dispatcher
from zapd.jobs.job import Done, Job, Outcome
from zapd.jobs.metrics import JobMetrics
from zapd.jobs.pool import Pool
from zapd.jobs.scripts import Scripts
from zapd.jobs.settings import QueueSettings

_DONE = Done()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def _drain(url: str, jobs: int, concurrency: int, lanes: int) -> tuple[float, float]:
    """Jobs per second enqueued and drained."""
    settings = QueueSettings(
        name="bench", priority=5, concurrency=concurrency, max_concurrency=concurrency, attempts=3, backoff=1
    )
    metrics = JobMetrics(registry=CollectorRegistry(), queues=["bench"])
    client = connect(url, name="bench")
    await client.flushall()
    scripts = Scripts(client=client, metrics=metrics)
    broker = Broker(scripts=scripts, heartbeats=scripts, queues=[settings], node="n", boot="b", metrics=metrics)
    left = jobs
    over = asyncio.Event()

    async def handler(job: Job) -> Outcome:
        return _DONE

    async def on_dead(job: Job, reason: str, error: str) -> None:
        raise AssertionError(reason)

    def on_finished(ids: Sequence[tuple[str, str]]) -> None:
        nonlocal left
        left -= len(ids)
        if left == 0:
            over.set()

    pool = Pool(
        queue=settings,
        broker=broker,
        handler=handler,
        on_dead=on_dead,
        on_finished=on_finished,
        now_ms=_now_ms,
        random=random.random,
        numbers=metrics.queues["bench"],
    )
    dispatcher = Dispatcher(broker=broker, pools=[pool])
    payload = b"x" * 300
    todo = [
        Job(
            id=f"job_{number:026d}",
            queue="bench",
            payload=payload,
            priority=5,
            created_at=_now_ms(),
            lane=f"lane{number % lanes}" if lanes else "",
        )
        for number in range(jobs)
    ]
    started = time.perf_counter()
    await broker.enqueue(todo)
    enqueued = time.perf_counter()
    service = asyncio.create_task(dispatcher.run(), name="dispatcher")
    await over.wait()
    ended = time.perf_counter()
    await dispatcher.stop()
    await service
    assert await pool.drain(1) == 0
    assert metrics.queues["bench"].outcomes["done"] == jobs
    await scripts.close()
    return jobs / (enqueued - started), jobs / (ended - enqueued)


def main() -> None:
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    concurrency = int(sys.argv[2]) if len(sys.argv) > 2 else 100
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder), embedded_binary()).start()
        for lanes in (0, 1000):
            runs = [uvloop.run(_drain(server.url, jobs, concurrency, lanes)) for _ in range(3)]
            enqueued, drained = (statistics.median(column) for column in zip(*runs, strict=True))
            print(f"{lanes} lanes: {enqueued:,.0f} jobs/s enqueued, {drained:,.0f} jobs/s drained")
        server.kill()


if __name__ == "__main__":
    main()
