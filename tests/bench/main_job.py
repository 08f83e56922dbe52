"""The main job under load, on the real daemon with its embedded defaults: accept, send, whole way, memory."""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import cycle, islice, repeat
from pathlib import Path
from typing import Any

import aiohttp
import uvloop
from aiohttp import web

from tests.bench import load
from tests.bench.rows import Row, row
from tests.support import eventually
from tests.support.daemon import Daemon

RUNS = int(os.environ.get("RUNS", "5"))
SECONDS = 4.0
CONNECTIONS = 64
TEXT = "Olá, Maria! Sua consulta de amanhã às 14h está confirmada. Responda SAIR para não receber mais."
BODY = json.dumps({"to": "5511999998888", "type": "text", "payload": {"text": TEXT}}).encode()
LIFTED = """
[limits]
session_per_minute = 6000000
session_burst = 100000
[queues."message:send"]
concurrency = 200
max_concurrency = 400
[queues."webhook:delivery"]
concurrency = 50
max_concurrency = 400
[queues."message:status"]
concurrency = 50
max_concurrency = 100
[webhooks]
endpoint_concurrency = 64
[jobs]
max_in_flight = 1000
[sandbox]
pair_after = "0s"
latency = "0s"
auto_reply = false
"""


@asynccontextmanager
async def daemon(toml: str = "") -> AsyncIterator[Daemon]:
    with tempfile.TemporaryDirectory(prefix="zapd-bench-") as directory:
        async with Daemon(Path(directory), toml) as running:
            yield running


def send_request(running: Daemon, connection: str) -> tuple[str, bytes]:
    url = f"{running.url}/connections/{connection}/send"
    return url, load.request("POST", url, BODY, [("Authorization", f"Bearer {running.key}")])


async def bare() -> load.Result:
    """The same load on a handler that does nothing, in a process of its own."""
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.main_job", "bare", stdout=asyncio.subprocess.PIPE
    )
    assert server.stdout
    url = (await server.stdout.readline()).decode().strip()
    one = load.request("POST", url, BODY)
    result = await load.run(url=url, requests=repeat(one), connections=CONNECTIONS, seconds=SECONDS)
    server.terminate()
    await server.wait()
    return result


async def serve_bare() -> None:
    async def handler(request: web.Request) -> web.Response:
        json.loads(await request.read())
        return web.Response(body=b'{"id":"x","status":"queued"}', content_type="application/json", status=202)

    app = web.Application()
    app.router.add_post("/connections/{connection}/send", handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/connections/x/send", flush=True)
    await asyncio.Event().wait()


async def accept() -> list[Row]:
    """Accepted sends per second at 64 connections, and one sender at a time, beside the bare handler."""
    rates, p99, alone, base = [], [], [], []
    for _ in range(RUNS):
        base.append((await bare()).per_second)
        async with daemon('[sandbox]\npair_after = "0s"\n') as running:
            connection = (await running.connect())["id"]
            url, one = send_request(running, connection)
            single = await load.run(url=url, requests=repeat(one), connections=1, seconds=SECONDS / 2)
            many = await load.run(url=url, requests=repeat(one), connections=CONNECTIONS, seconds=SECONDS)
            for result in (single, many):
                if set(result.statuses) != {202}:
                    raise AssertionError(f"not all accepted: {result.statuses}")
            alone.append(single.p50)
            rates.append(many.per_second)
            p99.append(many.p99)
    middle = sorted(base)[len(base) // 2]
    return [
        row("bare aiohttp handler", base, "req/s"),
        row("accepted sends", rates, "msg/s", versus="bare aiohttp handler", base=middle),
        row("accept p99, 64 connections", p99, "ms"),
        row("accept p50, one at a time", alone, "ms"),
    ]


async def light() -> list[Row]:
    """From accept to `sent` at 6 messages a second, beyond the sandbox's own 50 ms."""
    from datetime import datetime

    async with daemon('[sandbox]\npair_after = "0s"\n[limits]\nsession_per_minute = 60000\n') as running:
        p50, p99 = [], []
        for _ in range(RUNS):
            connection = (await running.connect())["id"]
            for n in range(100):
                await running.send(connection, f"n{n}")
                await asyncio.sleep(0.15)  # 5-6 a second: the session itself is idle most of the time

            async def all_sent(where: str = connection) -> bool:
                return all(m["sent_at"] for m in await running.messages(where))

            await eventually(all_sent)
            waits = sorted(
                (datetime.fromisoformat(m["sent_at"]) - datetime.fromisoformat(m["created_at"])).total_seconds() * 1000
                - 50
                for m in await running.messages(connection)
            )
            p50.append(waits[50])
            p99.append(waits[98])
    return [row("accept to sent, p50", p50, "ms"), row("accept to sent, p99", p99, "ms")]


async def whole_way(types: list[str], messages: int = 10_000) -> list[Row]:
    """Messages per second from accept to their last webhook, limits lifted, over 64 sessions."""
    rates = []
    for _ in range(RUNS):
        sink = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.bench.sink", stdout=asyncio.subprocess.PIPE
        )
        assert sink.stdout
        hook = (await sink.stdout.readline()).decode().strip()
        async with daemon(LIFTED) as running, aiohttp.ClientSession() as http:
            connections = [(await running.connect())["id"] for _ in range(64)]
            status, made = await running.call("POST", "/endpoints", {"url": hook, "types": types})
            assert status == 201, made
            pairs = [send_request(running, connection) for connection in connections]
            requests: Iterator[bytes] = islice(cycle([one for _, one in pairs]), messages)
            begun = asyncio.get_running_loop().time()
            accepted = await load.run(url=pairs[0][0], requests=requests, connections=64, seconds=120)
            assert accepted.statuses == {202: messages}, accepted.statuses

            async def arrived(where: str = hook) -> bool:
                async with http.get(where) as answer:
                    counts: dict[str, int] = json.loads(await answer.read())
                return all(counts.get(name, 0) >= messages for name in types)

            await eventually(arrived, within=120, every=0.05)
            rates.append(messages / (asyncio.get_running_loop().time() - begun))
        sink.terminate()
        await sink.wait()
    return [row(f"whole way with {len(types)} webhook(s) a message", rates, "msg/s")]


async def memory(messages: int = 20_000) -> list[Row]:
    """Resident memory when idle, and what a queued message takes in SQL and Redis."""
    import redis

    async with daemon('[sandbox]\npair_after = "0s"\n') as running:
        await asyncio.sleep(3)
        assert running.process
        idle, idle_redis = resident(running.process.pid), sum(map(resident, running.redis_pids()))
        connection = (await running.connect())["id"]
        await asyncio.sleep(2)
        connected = resident(running.process.pid)
        await running.call("POST", f"/connections/{connection}/pause")
        socket = next(running.state.rglob("*.sock"))
        client = redis.Redis(unix_socket_path=str(socket))

        def used() -> tuple[int, int]:
            sql = sum(file.stat().st_size for file in running.state.glob("zapd.db") if file.exists())
            memory_info: Any = client.info("memory")
            return sql, int(memory_info["used_memory"])

        before = used()
        url, one = send_request(running, connection)
        await load.run(url=url, requests=islice(repeat(one), messages), connections=64, seconds=60)

        async def staged() -> bool:
            _, status = await running.call("GET", "/status")
            return bool(status["queues"]["message:send"]["waiting"] >= messages - 200)

        await eventually(staged, within=30)
        await asyncio.sleep(1)
        checkpoint(running.state / "zapd.db")
        after = used()
        client.close()
    return [
        row("idle daemon", [idle / 1e6], "MB"),
        row("daemon with one idle session", [connected / 1e6], "MB"),
        row("idle Redis", [idle_redis / 1e6], "MB"),
        row("queued message in SQL", [(after[0] - before[0]) / messages], "bytes"),
        row("queued message in Redis", [(after[1] - before[1]) / messages], "bytes"),
    ]


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> int:
    """Bytes in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def checkpoint(path: Path) -> None:
    """Move the write-ahead log into the database file, so that its size says what the rows take."""
    import sqlite3

    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    connection.close()


if __name__ == "__main__":
    uvloop.run(serve_bare())
