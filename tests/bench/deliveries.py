"""Webhooks: deliveries per second to one endpoint and to a hundred, and what one slow endpoint costs the others.

The backlog is made while the queue is paused, so that nothing but delivering is measured. Beside it, in the same run: a
script with aiohttp that signs as many POSTs to the same receiver and forgets them: no queue, no tries again, no record.
"""

import asyncio
import hmac
import json
import os
import sys
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import cycle, islice
from statistics import median

import aiohttp
from aiohttp import web

from tests.bench import load
from tests.bench.main_job import LIFTED, RUNS, daemon, send_request
from tests.bench.rows import Row, row
from tests.support import eventually
from tests.support.daemon import Daemon
from tests.support.receiver import Receiver

DELIVERIES = 6_000
AT_ONCE = 64  #: POSTs of the script, as many as an endpoint may have in this measurement
BODY = json.dumps({"id": "evt_1", "type": "message.sent", "data": {"text": "x" * 300}}).encode()
SLOW = 10.0  #: seconds that the slow endpoint takes to answer
QUEUE = "/queues/webhook:delivery"


async def deliveries() -> list[Row]:
    """The same number of deliveries, to one endpoint and to a hundred, and by the script."""
    rates: dict[int, list[float]] = {1: [], 100: []}
    script: list[float] = []
    for _ in range(RUNS):
        async with _sink() as url:
            script.append(await _scripted(url))
        for endpoints, found in rates.items():
            async with _sink() as url:
                found.append(await _drained(url, endpoints))
    one, many = rates.values()
    versus, base = "a script with aiohttp that forgets them", median(script)
    return [
        row("POSTs of a script with aiohttp", script, "posts/s"),
        row("deliveries to 1 endpoint", one, "posts/s", versus=versus, base=base),
        row("deliveries to 100 endpoints", many, "posts/s", versus=versus, base=base),
    ]


async def _scripted(sink: str) -> float:
    """What is left when nothing is kept: sign, POST, next."""
    key, left = os.urandom(32), iter(range(DELIVERIES))

    async def worker(http: aiohttp.ClientSession) -> None:
        for number in left:
            at = str(int(time.time()))
            signed = hmac.digest(key, f"evt_{number}.{at}.".encode() + BODY, "sha256")
            headers = {"webhook-id": f"evt_{number}", "webhook-timestamp": at, "Content-Type": "application/json"}
            headers["webhook-signature"] = "v1," + b64encode(signed).decode()
            async with http.post(f"{sink}?n=0", data=BODY, headers=headers, allow_redirects=False) as answer:
                assert answer.status < 300, answer.status

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar()) as http:
        begun = asyncio.get_running_loop().time()
        await asyncio.gather(*[worker(http) for _ in range(AT_ONCE)])
        return DELIVERIES / (asyncio.get_running_loop().time() - begun)


@asynccontextmanager
async def _sink() -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.sink", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.terminate()
        await process.wait()


async def _drained(sink: str, endpoints: int) -> float:
    async with daemon(LIFTED) as running, aiohttp.ClientSession() as http:
        connections = [(await running.connect())["id"] for _ in range(64)]
        for n in range(endpoints):
            await _endpoint(running, f"{sink}?n={n}")
        await running.call("POST", f"{QUEUE}/pause")
        messages = DELIVERIES // endpoints
        pairs = [send_request(running, connection) for connection in connections]
        requests = islice(cycle([one for _, one in pairs]), messages)
        await load.run(url=pairs[0][0], requests=requests, connections=64, seconds=60)

        async def ready() -> bool:
            _, queue = await running.call("GET", "/status")
            return bool(queue["queues"]["webhook:delivery"]["waiting"] >= messages * endpoints)

        await eventually(ready, within=120, every=0.1)
        begun = asyncio.get_running_loop().time()
        await running.call("POST", f"{QUEUE}/resume")

        async def arrived() -> bool:
            async with http.get(sink) as answer:
                counts: dict[str, int] = json.loads(await answer.read())
            return counts.get("message.sent", 0) >= messages * endpoints

        await eventually(arrived, within=120, every=0.02)
        return messages * endpoints / (asyncio.get_running_loop().time() - begun)


async def slow_endpoint(messages: int = 300) -> list[Row]:
    """The p99 from an event to a quick receiver, alone and beside one that takes 10 s for each answer."""
    alone, beside = [], []
    for _ in range(RUNS):  # in turns: the machine is the same for both
        alone.append(await _lag(messages, slow=False))
        beside.append(await _lag(messages, slow=True))
    return [
        row("webhook lag p99", alone, "ms"),
        row("webhook lag p99 beside an endpoint 10 s slow", beside, "ms", versus="alone", base=median(alone)),
    ]


async def _lag(messages: int, *, slow: bool) -> float:
    lags: list[float] = []

    async def quick(request: web.Request) -> web.Response:
        at = datetime.fromisoformat((await request.json())["timestamp"])
        lags.append((datetime.now(UTC) - at).total_seconds() * 1000)
        return web.Response(status=204)

    async def late(_: web.Request) -> web.Response:
        await asyncio.sleep(SLOW)
        return web.Response(status=204)

    async with daemon(LIFTED) as running, Receiver() as one, Receiver() as other:
        one.respond, other.respond = quick, late if slow else quick
        connection = (await running.connect())["id"]
        await _endpoint(running, one.url)
        await _endpoint(running, other.url)
        if not slow:  # both count then; only the first one's are wanted
            other.respond = None
        for n in range(messages):
            await running.send(connection, f"m{n}")
            await asyncio.sleep(0.01)
        await eventually(lambda: len(lags) >= messages, within=60)
    return sorted(lags)[len(lags) * 99 // 100]


async def _endpoint(running: Daemon, url: str) -> None:
    status, made = await running.call("POST", "/endpoints", {"url": url, "types": ["message.sent"]})
    assert status == 201, made
