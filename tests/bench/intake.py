"""Webhooks of the Meta Cloud API: how fast signed batches are kept and answered.

Meta wants its answer soon (the median within 250 ms) and sends up to 1,000 updates or 3 MB at once. Half of the updates
are messages of as many contacts, half are statuses. What comes in is also read, unless the queues are paused.
"""

import asyncio
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import aiohttp
import orjson

from tests.bench.main_job import cpu_seconds
from tests.bench.rows import Row, row
from tests.support.daemon import Daemon
from tests.support.fake_meta import CONFIG, Json, sign, status, text_message, webhook_body

RUNS = int(os.environ.get("RUNS", "5"))
SECONDS = 3.0
SENDERS = 4
BATCH = 100
LARGE = 100  #: answers of which the p99 is told
READERS = ("message:receive", "message:status")
TOML = '[cloud]\nbase_url = "http://127.0.0.1:9"\n'  # nobody: nothing is sent here


class Large(NamedTuple):
    """Answers to large bodies, and the daemon's processor for each (ms)."""

    median: float
    p99: float
    cpu: float


async def intake() -> list[Row]:
    """The rows."""
    with TemporaryDirectory() as directory:
        async with Daemon(Path(directory), TOML) as daemon:
            body = {"id": "meta", "label": "bench", "transport": "cloud", "config": CONFIG}
            assert (await daemon.call("POST", "/connections", body))[0] == 202
            for queue in READERS:
                assert (await daemon.call("POST", f"/queues/{queue}/pause"))[0] == 200
            rates, times = [], []
            for run in range(RUNS):
                rate, p99 = await _load(daemon, f"r{run}")
                rates.append(rate)
                times.append(p99)
            alone = [await _large(daemon, f"a{run}") for run in range(RUNS)]
            for queue in READERS:
                assert (await daemon.call("POST", f"/queues/{queue}/resume"))[0] == 200
            read = [await _large(daemon, f"b{run}") for run in range(RUNS)]
    name, others = "Meta webhooks, 1,000 updates in 3 MB", "while all are read"
    return [
        row(f"Meta webhooks, batches of {BATCH}: updates kept", rates, "1/s"),
        row(f"Meta webhooks, batches of {BATCH}: p99 of the answer", times, "ms"),
        row(f"{name}: median of the answer", [one.median for one in alone], "ms"),
        row(f"{name}: p99 of the answer", [one.p99 for one in alone], "ms"),
        row(f"{name}: processor to keep one", [one.cpu for one in alone], "ms"),
        row(f"{name}: median of the answer {others}", [one.median for one in read], "ms"),
        row(f"{name}: p99 of the answer {others}", [one.p99 for one in read], "ms"),
    ]


def _batch(mark: str, size: int, text: str) -> tuple[bytes, dict[str, str]]:
    messages = [text_message(f"wamid.{mark}.{n}", text, sender=f"55119{n:08}") for n in range(size // 2)]
    statuses = [status(f"wamid.out.{mark}.{n}", "sent") for n in range(size - size // 2)]
    contacts: list[Json] = [{"profile": {"name": "Ana"}, "wa_id": f"55119{n:08}"} for n in range(size // 2)]
    raw = orjson.dumps(webhook_body({"contacts": contacts, "messages": messages, "statuses": statuses}))
    return raw, {"X-Hub-Signature-256": sign(raw), "Content-Type": "application/json"}


async def _load(daemon: Daemon, mark: str) -> tuple[float, float]:
    """Updates kept per second by a few senders, and the p99 of the answer (ms)."""
    ready = [_batch(f"{mark}.{n}", BATCH, "Olá, tudo bem?") for n in range(600)]
    took: list[float] = []
    until = time.perf_counter() + SECONDS
    async with aiohttp.ClientSession() as http:

        async def send() -> None:
            while ready and time.perf_counter() < until:
                took.append(await _post(http, daemon, *ready.pop()))

        started = time.perf_counter()
        await asyncio.gather(*[send() for _ in range(SENDERS)])
        seconds = time.perf_counter() - started
    return len(took) * BATCH / seconds, sorted(took)[int(len(took) * 0.99)]


async def _large(daemon: Daemon, mark: str) -> Large:
    """Large bodies, one after the other, each made when the last was answered."""
    assert daemon.process
    cpu = cpu_seconds(daemon.process.pid)
    async with aiohttp.ClientSession() as http:
        took = sorted([await _post(http, daemon, *_batch(f"{mark}.{n}", 1000, "x" * 5700)) for n in range(LARGE)])
    used = (cpu_seconds(daemon.process.pid) - cpu) / LARGE * 1000
    return Large(took[LARGE // 2], took[int(LARGE * 0.99)], used)


async def _post(http: aiohttp.ClientSession, daemon: Daemon, raw: bytes, headers: dict[str, str]) -> float:
    started = time.perf_counter()
    async with http.post(f"{daemon.url}/hooks/cloud/meta", data=raw, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
    return (time.perf_counter() - started) * 1000
