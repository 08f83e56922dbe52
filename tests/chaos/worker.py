"""One daemon's engine as a process of its own: the real broker, pool, dispatcher and upkeep, without SQL and HTTP.

What a job does is its kind; every start, side effect, end of a handler and accepted finish goes to the witness file.
"""

import asyncio
import ctypes
import json
import logging
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import structlog
import uvloop
from prometheus_client import CollectorRegistry

from tests.chaos.witness import Witness
from zapd.jobs.broker import Broker
from zapd.jobs.client import connect
from zapd.jobs.dispatcher import Dispatcher
from zapd.jobs.job import Done, Job, Outcome, Retry, Snooze
from zapd.jobs.metrics import JobMetrics
from zapd.jobs.pool import Pool
from zapd.jobs.scripts import Scripts
from zapd.jobs.settings import QueueSettings
from zapd.jobs.upkeep import Upkeep

QUEUE = "work"


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a worker is told, as JSON in its first argument. Times in seconds."""

    url: str
    beat_url: str
    witness: str
    node: str
    boot: str
    lease: float = 3.0
    concurrency: int = 20
    timeout: float = 30.0
    drain: float = 1.0
    skew: float = 0.0  #: how far its wall clock is ahead
    jump: str = ""  #: a file that says by how much more, from when it is there
    stuck: bool = False  #: jobs of the kind `stuck` never end here
    storm: str = ""  #: while this file exists, jobs of the kind `limited` are refused by their provider
    lane_rate: float | None = None
    lane_burst: int = 1
    reaches: float = 3.0  #: a call to Redis gives up after this

    def queue(self) -> QueueSettings:
        return QueueSettings(
            name=QUEUE,
            priority=5,
            concurrency=self.concurrency,
            max_concurrency=self.concurrency,
            attempts=3,
            backoff=0.5,
            timeout=self.timeout,
            lane_rate_per_minute=self.lane_rate,
            lane_burst=self.lane_burst,
        )

    def told(self) -> str:
        return json.dumps(asdict(self))


class Worker:
    """Builds the parts, runs until SIGTERM, drains."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._witness = Witness(Path(setup.witness), f"{setup.node}:{setup.boot}")
        self._metrics = JobMetrics(registry=CollectorRegistry(), queues=[QUEUE])
        queue = setup.queue()
        self._broker = Broker(
            scripts=self._scripts(setup.url, "commands", 16),
            heartbeats=self._scripts(setup.beat_url, "heartbeat", 1),
            queues=[queue],
            node=setup.node,
            boot=setup.boot,
            metrics=self._metrics,
            heartbeat_ttl=setup.lease,
        )
        self._pool = Pool(
            queue=queue,
            broker=self._broker,
            handler=self._handle,
            on_dead=self._dead,
            on_finished=self._finished,
            now_ms=lambda: time.time_ns() // 1_000_000,
            random=random.random,
            numbers=self._metrics.queues[QUEUE],
        )
        self._dispatcher = Dispatcher(broker=self._broker, pools=[self._pool])
        self._upkeep = Upkeep(
            broker=self._broker,
            metrics=self._metrics,
            random=random.random,
            beat_every=setup.lease / 5,
            sweep_every=min(3.0, setup.lease / 4),
            heartbeat_ttl=setup.lease,
        )

    def _scripts(self, url: str, name: str, connections: int) -> Scripts:
        client = connect(url, name=name, connections=connections, timeout=self._setup.reaches)
        return Scripts(client=client, metrics=self._metrics)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        ending = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, ending.set)
        services = [
            asyncio.create_task(self._upkeep.run(), name="upkeep"),
            asyncio.create_task(self._dispatcher.run(), name="dispatcher"),
            asyncio.create_task(self._vitals(), name="vitals"),
        ]
        self._witness.tell("up", "-", os.getpid())
        waiting = asyncio.create_task(ending.wait())
        await asyncio.wait([waiting, *services], return_when=asyncio.FIRST_COMPLETED)
        for service in services:
            if service.done():
                service.result()
        await self._dispatcher.stop()
        self._witness.tell("handed-back", "-", await self._pool.drain(self._setup.drain))
        await self._upkeep.stop()

    async def _vitals(self) -> None:
        numbers = self._metrics.queues[QUEUE]
        while True:
            self._witness.tell("fds", "-", len(os.listdir("/proc/self/fd")))
            self._witness.tell("tasks", "-", len(asyncio.all_tasks()) - self._pool.running)
            self._witness.tell("rss", "-", int(Path("/proc/self/statm").read_text().split()[1]) * 4)
            self._witness.tell("fenced", "-", numbers.fenced)
            self._witness.tell("reclaimed", "-", numbers.reclaimed)
            await asyncio.sleep(0.25)

    async def _handle(self, job: Job) -> Outcome:
        self._witness.tell("start", job.id, job.attempt)
        try:
            return await self._do(job)
        finally:
            self._witness.tell("end", job.id)

    async def _do(self, job: Job) -> Outcome:
        kind, _, number = job.kind.partition(":")
        match kind:
            case "exit":
                os._exit(9)
            case "segv":
                ctypes.string_at(0)
            case "spin":
                while True:
                    pass
            case "block":
                time.sleep(float(number))
            case "stuck" if self._setup.stuck:
                await asyncio.Event().wait()
            case "fail" if job.attempt == 1:
                return Retry("told to")
            case "raise":
                raise RuntimeError("told to")
            case "limited" if Path(self._setup.storm).exists():
                return Snooze(1.0, park_lane=True)
            case _:
                await asyncio.sleep(float(number or 0.02))
        self._witness.tell("effect", job.id)
        return Done()

    async def _dead(self, job: Job, reason: str, error: str) -> None:
        self._witness.tell(f"dead-{reason}", job.id, job.crashes)

    def _finished(self, ids: Sequence[tuple[str, str]]) -> None:
        for _, job_id in ids:
            self._witness.tell("over", job_id)


def main() -> None:
    setup = Setup(**json.loads(sys.argv[1]))
    wall, wall_ns, jump = time.time, time.time_ns, Path(setup.jump or "/nowhere")

    def off() -> float:
        return setup.skew + (float(jump.read_text() or 0) if jump.exists() else 0.0)

    time.time = lambda: wall() + off()
    time.time_ns = lambda: wall_ns() + round(off() * 1e9)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    uvloop.run(Worker(setup).run())


if __name__ == "__main__":
    main()
