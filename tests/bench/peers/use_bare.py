"""The bare loop: what Redis and one uvloop process with hiredis can do at most with streams, and without promises.

One task per job, XREADGROUP of up to 100, XACK and XDEL by 50; XADD pipelined by 100. No fence, no timeout, no record.
"""

import asyncio
from collections.abc import Sequence

from common import CONCURRENCY, Meter, serve
from redis.asyncio import Redis

STREAM, GROUP = "bare", "g"


class Bare:
    async def open(self, url: str, meter: Meter) -> None:
        self.redis = Redis.from_url(url, protocol=2)
        self.meter = meter
        self.free = CONCURRENCY
        self.ended: list[bytes] = []
        self.wake = asyncio.Event()
        await self.redis.xgroup_create(STREAM, GROUP, "0", mkstream=True)

    async def add(self, payload: str) -> None:
        await self.redis.xadd(STREAM, {"p": payload})

    async def add_many(self, payloads: Sequence[str]) -> None:
        for start in range(0, len(payloads), 100):
            pipeline = self.redis.pipeline(transaction=False)
            for payload in payloads[start : start + 100]:
                pipeline.execute_command("XADD", STREAM, "*", "p", payload)
            await pipeline.execute()

    async def work(self) -> None:
        loop = asyncio.get_running_loop()
        tasks: set[asyncio.Task[None]] = set()
        while True:
            while self.free < CONCURRENCY // 4:
                self.wake.clear()
                await self.wake.wait()
            read = ("XREADGROUP", "GROUP", GROUP, "me", "COUNT", self.free, "BLOCK", 1000, "STREAMS", STREAM, ">")
            answer = await self.redis.execute_command(*read)
            for entry, fields in answer[0][1] if answer else ():
                self.free -= 1
                task = loop.create_task(self._job(entry, fields[b"p"]))
                tasks.add(task)
                task.add_done_callback(tasks.discard)

    async def _job(self, entry: bytes, payload: bytes) -> None:
        await self._handler(payload)
        self.free += 1
        self.wake.set()
        self.ended.append(entry)
        if len(self.ended) >= 50:
            ended, self.ended = self.ended, []
            pipeline = self.redis.pipeline(transaction=False)
            pipeline.execute_command("XACK", STREAM, GROUP, *ended)
            pipeline.execute_command("XDEL", STREAM, *ended)
            await pipeline.execute()
            self.meter.over(len(ended))

    async def _handler(self, payload: bytes) -> None:
        self.meter.started(payload.decode())


serve(Bare())
