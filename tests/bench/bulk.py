"""20,000 jobs of 300 bytes into a queue of the operator's, in two calls of `POST /queues/{q}/jobs`: what takes time.

The same jobs, in the same run: over HTTP into the real daemon; into SQL alone, in a database of its own, as the
daemon commits them; into Redis alone, as the relay hands them over.
"""

import asyncio
import json
import os
import tempfile
import time
from pathlib import Path

from prometheus_client import CollectorRegistry

from tests.bench.main_job import RUNS, daemon
from tests.bench.rows import Row, row
from tests.support.redis_server import RedisServer, embedded_binary
from zapd.ids import Ids
from zapd.jobs.broker import Broker
from zapd.jobs.client import connect
from zapd.jobs.job import Job
from zapd.jobs.metrics import JobMetrics
from zapd.jobs.scripts import Scripts
from zapd.jobs.settings import QueueSettings
from zapd.store.database import Database
from zapd.store.outbox import OutboxStore
from zapd.store.reader import Reader
from zapd.store.writer import Writer

JOBS, CALLS = 20_000, 2
QUEUE = "bulk"
TOML = f'[queues."{QUEUE}"]\naction = "noop"\n'
PAYLOAD = {"text": "x" * 288}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def bulk() -> list[Row]:
    over_http = [await _http() for _ in range(RUNS)]
    in_sql = [await _sql() for _ in range(RUNS)]
    in_redis = [await _redis() for _ in range(RUNS)]
    return [
        row("bulk: jobs accepted over HTTP, 20,000 in two calls", over_http, "/s"),
        row("bulk: the SQL part alone", in_sql, "/s"),
        row("bulk: the Redis part alone", in_redis, "/s"),
    ]


async def _http() -> float:
    body = json.dumps({"jobs": [{"payload": PAYLOAD}] * (JOBS // CALLS)}).encode()
    async with daemon(TOML) as running:
        await running.call("POST", f"/queues/{QUEUE}/pause")
        started = time.perf_counter()
        for _ in range(CALLS):
            status, answer = await running.call("POST", f"/queues/{QUEUE}/jobs", body)
            assert status == 202, answer
        return JOBS / (time.perf_counter() - started)


def _jobs() -> list[Job]:
    ids, payload = Ids(clock_ms=now_ms, random_bytes=os.urandom), json.dumps(PAYLOAD).encode()
    return [Job(id=ids.new("job"), queue=QUEUE, payload=payload, priority=5, created_at=now_ms()) for _ in range(JOBS)]


async def _sql() -> float:
    jobs = _jobs()
    with tempfile.TemporaryDirectory(prefix="zapd-bench-") as directory:
        database = Database(url=f"sqlite+aiosqlite:///{directory}/zapd.db")
        await database.migrate()
        writer, rows = Writer(database=database), OutboxStore(database=database, reader=Reader(database=database))
        running = asyncio.create_task(writer.run(), name="writer")
        started = time.perf_counter()
        for start in range(0, JOBS, JOBS // CALLS):
            some = jobs[start : start + JOBS // CALLS]
            assert all(await writer.commit_each([rows.added(job) for job in some]))
        took = time.perf_counter() - started
        await writer.stop()
        await running
        await database.close()
    return JOBS / took


async def _redis() -> float:
    jobs = _jobs()
    with tempfile.TemporaryDirectory(prefix="zapd-bench-") as directory:
        server = RedisServer(Path(directory), embedded_binary()).start()
        try:
            client = connect(server.url, name="bench")
            settings = QueueSettings(name=QUEUE, priority=5, concurrency=1, max_concurrency=1, attempts=1, backoff=1.0)
            metrics = JobMetrics(registry=CollectorRegistry(), queues=[QUEUE])
            scripts = Scripts(client=client, metrics=metrics)
            broker = Broker(scripts=scripts, heartbeats=scripts, queues=[settings], node="n", boot="b", metrics=metrics)
            started = time.perf_counter()
            await broker.enqueue(jobs)
            took = time.perf_counter() - started
            await client.aclose()
        finally:
            server.kill()
    return JOBS / took
