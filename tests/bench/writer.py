"""How fast the group commit is: `python -m tests.bench.writer [directory]`, SQLite with synchronous=FULL.

One commit is what an accepted message costs: its row and its job's row.
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from zapd.ids import Ids
from zapd.model.message import Direction, Message, MessageStatus
from zapd.store.database import Database
from zapd.store.messages import MessageStore
from zapd.store.outbox import OutboxRow, OutboxStore
from zapd.store.writer import Writer

CALLERS = 64
SECONDS = 3.0


def now_ms() -> int:
    return time.time_ns() // 1_000_000


IDS = Ids(clock_ms=now_ms, random_bytes=os.urandom)


def accepted() -> tuple[Message, OutboxRow]:
    now, message_id, job_id = now_ms(), IDS.new("msg"), IDS.new("job")
    message = Message(
        tenant="default",
        id=message_id,
        connection_id="con_01J9Z3K5T801J9Z3K5T801J9Z3",
        direction=Direction.OUTBOUND,
        status=MessageStatus.QUEUED,
        peer="5511999998888",
        type="text",
        payload=b'{"text":"Ol\xc3\xa1! Your order 4711 is on its way and arrives tomorrow."}',
        priority=5,
        created_at=now,
        job_id=job_id,
    )
    row = OutboxRow(
        tenant="default",
        id=job_id,
        queue="message:send",
        kind="",
        lane="con_01J9Z3K5T801J9Z3K5T801J9Z3",
        priority=5,
        due_at=0,
        payload=json.dumps({"message_id": message_id, "connection_id": message.connection_id}).encode(),
        created_at=now,
    )
    return message, row


async def measure(writer: Writer, callers: int, seconds: float) -> None:
    took: list[float] = []
    end = time.perf_counter() + seconds

    async def caller() -> None:
        while time.perf_counter() < end:
            message, row = accepted()
            started = time.perf_counter()
            await writer.commit(MessageStore.added(message), OutboxStore.added(row))
            took.append(time.perf_counter() - started)

    loop_cpu, all_cpu, started = time.thread_time(), time.process_time(), time.perf_counter()
    await asyncio.gather(*[caller() for _ in range(callers)])
    wall, n = time.perf_counter() - started, len(took)
    loop_cpu, all_cpu = time.thread_time() - loop_cpu, time.process_time() - all_cpu
    cuts = statistics.quantiles(took, n=100)
    print(
        f"{callers:3} callers: {n / wall:8,.0f} commits/s ({2 * n / wall:,.0f} rows/s)"
        f"  p50 {cuts[49] * 1e3:.2f} ms  p99 {cuts[98] * 1e3:.2f} ms"
        f"  CPU s per 1,000: loop {loop_cpu / n * 1e3:.4f}, all {all_cpu / n * 1e3:.4f}"
    )


async def main(directory: Path) -> None:
    database = Database(url=f"sqlite+aiosqlite:///{directory}/bench.db")
    await database.migrate()
    writer = Writer(database=database)
    running = asyncio.create_task(writer.run(), name="writer")
    await measure(writer, CALLERS, 1.0)
    for _ in range(3):
        await measure(writer, CALLERS, SECONDS)
    await measure(writer, 1, SECONDS)
    await writer.stop()
    await running
    await database.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as place:
        uvloop.run(main(Path(place)))
