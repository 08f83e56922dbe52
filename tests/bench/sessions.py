"""Many sessions in one daemon: each at its full pace (order, limit, waiting, processor, memory), and many idle ones.

`SECONDS=60 SESSIONS=1000 python -m tests.bench sessions-paced` chooses how long and how many.
"""

import asyncio
import os
import sqlite3
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import aiohttp

from tests.bench.main_job import cpu_seconds, daemon, resident
from tests.bench.rows import Row, row
from tests.support import eventually
from tests.support.daemon import Daemon

SESSIONS = int(os.environ.get("SESSIONS", "1000"))
SECONDS = float(os.environ.get("SECONDS", "300"))
IDLE = int(os.environ.get("IDLE", "10000"))
PER_MINUTE, BULK = 80, 8
STEP_MS = 60_000 / PER_MINUTE
TOML = f"""
[limits]
session_per_minute = {PER_MINUTE}
session_burst = 1
[queues."message:send"]
concurrency = 200
max_concurrency = 1000
[queues."session:init"]
concurrency = 50
max_concurrency = 100
[jobs]
max_in_flight = 3000
[sandbox]
pair_after = "0s"
auto_reply = false
[sessions]
start_gap = "0ms"
"""


class Sent(NamedTuple):
    """One message: its place in the order, when it was accepted, when its send began (ms)."""

    id: str
    created_at: int
    sending_at: int


async def paced() -> list[Row]:
    """Every session sends at its full pace for SECONDS."""
    async with daemon(TOML) as running:
        assert running.process
        connections = await _connect(running, SESSIONS)
        cpu, began = cpu_seconds(running.process.pid), time.monotonic()
        accepted = await _feed(running, connections, SECONDS)
        lasted, used = time.monotonic() - began, cpu_seconds(running.process.pid) - cpu
        memory = resident(running.process.pid) / 1e6
        await running.stop()
        by_session, arrived = _read(running.state / "zapd.db")
    waits, over = _waits(by_session)
    done = sum(map(len, by_session.values()))
    name = f"{SESSIONS} sessions at {PER_MINUTE}/min for {SECONDS:g} s"
    return [
        row(f"{name}: sent", [done / lasted], "msg/s", versus="full pace", base=SESSIONS * PER_MINUTE / 60),
        row(f"{name}: accepted and not sent at the end", [accepted - done], "msg"),
        row(f"{name}: over the limit", [over], "msg"),
        row(f"{name}: most of one session in any 60 s", [_most_a_minute(by_session)], "msg"),
        row(f"{name}: out of order", [_out_of_order(arrived)], "msg"),
        row(f"{name}: p99 of waiting beyond the limiter", [waits[int(len(waits) * 0.99)]], "ms"),
        row(f"{name}: processor", [used / lasted], "cores"),
        row(f"{name}: processor per message", [used / max(done, 1) * 1e3], "ms"),
        row(f"{name}: memory", [memory], "MB"),
    ]


async def idle() -> list[Row]:
    """Memory of a session that does nothing."""
    async with daemon(TOML) as running:
        assert running.process
        await _connect(running, 50)  # what is made once is made
        before = resident(running.process.pid)
        await _connect(running, IDLE)
        await asyncio.sleep(5)
        cpu = cpu_seconds(running.process.pid)
        await asyncio.sleep(10)
        used = (cpu_seconds(running.process.pid) - cpu) / 10
        after = resident(running.process.pid)
    return [
        row(f"{IDLE} idle sessions: memory of one", [(after - before) / IDLE / 1024], "KiB"),
        row(f"{IDLE} idle sessions: daemon", [after / 1e6], "MB"),
        row(f"{IDLE} idle sessions: processor", [used], "cores"),
    ]


async def _connect(running: Daemon, count: int) -> list[str]:
    """Connections that are up."""
    gate, made = asyncio.Semaphore(64), list[str]()

    async def one() -> None:
        async with gate:
            _, created = await running.call("POST", "/connections", {"transport": "sandbox", "label": "bench"})
            made.append(created["id"])

    before = await _up(running)
    await asyncio.gather(*[one() for _ in range(count)])

    async def all_up() -> bool:
        return await _up(running) >= before + count

    await eventually(all_up, within=600, every=0.5)
    return made


async def _up(running: Daemon) -> int:
    return int((await running.call("GET", "/status"))[1]["sessions"].get("connected", 0))


async def _feed(running: Daemon, connections: list[str], seconds: float) -> int:
    """Keep every session's lane filled, a bulk at a time; returns how many messages were accepted."""
    text = {"to": "5511999998888", "type": "text", "payload": {"text": "Sua consulta de amanhã está confirmada."}}
    body = {"messages": [text] * BULK}
    headers = {"Authorization": f"Bearer {running.key}"}
    every, accepted, end = BULK * 60 / PER_MINUTE, 0, time.monotonic() + seconds
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=32), headers=headers) as http:

        async def keep_filled(number: int, connection: str) -> None:
            nonlocal accepted
            due = time.monotonic() + every * number / len(connections)
            while (now := time.monotonic()) < end:
                if now < due:
                    await asyncio.sleep(due - now)
                    continue
                url = f"{running.url}/connections/{connection}/send/bulk"
                async with http.post(url, json=body) as answer:
                    assert answer.status == 202, await answer.text()
                accepted += BULK
                due += every

        await asyncio.gather(*[keep_filled(n, connection) for n, connection in enumerate(connections)])
    return accepted


def _read(path: Path) -> tuple[dict[str, list[Sent]], dict[str, list[str]]]:
    """Per session: what was sent, in the order it was accepted; and message ids in the order in which they arrived."""
    database = sqlite3.connect(path)
    by_session: dict[str, list[Sent]] = defaultdict(list)
    arrived: dict[str, list[str]] = defaultdict(list)
    query = "SELECT connection_id, id, created_at, sending_at FROM messages WHERE sending_at IS NOT NULL ORDER BY id"
    for connection, message, created, sending in database.execute(query):
        by_session[connection].append(Sent(message, created, sending))
    for connection, message in database.execute("SELECT connection_id, message_id FROM sandbox_ledger ORDER BY id"):
        arrived[connection].append(message)
    database.close()
    return by_session, arrived


def _waits(by_session: dict[str, list[Sent]]) -> tuple[list[float], int]:
    """How much later than the limiter allowed each send began (ms), sorted; and how many were over the limit.

    The limiter counts at the claim, and a send begins some milliseconds of commit later: a send is over the limit when
    it is more than one message ahead of the pace.
    """
    waits, over = [], 0
    for sent in by_session.values():
        full_at = 0.0
        for one in sent:
            full_at = max(full_at, one.sending_at) + STEP_MS
            over += full_at - one.sending_at > 2 * STEP_MS
        for before, one in pairwise(sent):
            waits.append(one.sending_at - max(one.created_at, before.sending_at + STEP_MS))
    return sorted(waits) or [0.0], over


def _most_a_minute(by_session: dict[str, list[Sent]]) -> int:
    """The most sends of one session in any 60 seconds."""
    most = 0
    for sent in by_session.values():
        times, first = [one.sending_at for one in sent], 0
        for last, at in enumerate(times):
            while at - times[first] >= 60_000:
                first += 1
            most = max(most, last - first + 1)
    return most


def _out_of_order(arrived: dict[str, list[str]]) -> int:
    return sum(one < before for ids in arrived.values() for before, one in pairwise(ids))
