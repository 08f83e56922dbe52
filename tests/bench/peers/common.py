"""What every candidate of the engine table does, whatever its library: fill a queue, drain it, add one job at a time.

A candidate is a script that calls `serve`; it runs in an environment of its own, so this file needs the standard
library only. `SCRIPT URL drain|single|latency JOBS FILLED` prints one JSON line for each phase; between filling and
draining it waits for a line on stdin, so that the caller can look at Redis.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

SIZE = 300  #: bytes of a payload
BATCH = 1000  #: jobs in one bulk call
WARM = 2000  #: jobs before the clock starts: interpreters with a compiler are warm by then
CONCURRENCY = 100
RATE = 200.0  #: jobs per second when latency is measured

Times = tuple[float, float, float]


class Meter:
    """Counts jobs. Handlers call `started` with the payload; who knows that jobs are over calls `over`."""

    def __init__(self, jobs: int, filled: int) -> None:
        self._jobs = jobs  #: to be measured; fewer when a batch overshoots the warm-up and no more are there
        self._filled = filled + WARM
        self._count = self._goal = 0
        self._begun: Times | None = None
        self._ended: Times | None = None
        self.waits: list[float] = []  #: milliseconds from enqueue to start

    def started(self, payload: str) -> None:
        """A handler got this payload, which begins with the nanoseconds at which it was enqueued."""
        self.waits.append((time.time_ns() - int(payload[:19])) / 1e6)

    def over(self, jobs: int = 1) -> None:
        self._count += jobs
        if self._begun is None and self._count >= WARM:
            self._begun = self.now()
            self._goal = min(self._filled, self._count + self._jobs)
            self._jobs = self._goal - self._count
        elif self._begun and self._ended is None and self._count >= self._goal:
            self._ended = self.now()

    async def ended(self) -> dict[str, float]:
        """What the jobs after the warm-up took."""
        while self._ended is None:
            await asyncio.sleep(0.002)
        assert self._begun
        return {**self.since(self._begun, self._ended), "jobs": self._jobs}

    @staticmethod
    def now() -> Times:
        return time.perf_counter(), time.process_time(), time.thread_time()

    @staticmethod
    def since(begun: Times, ended: Times) -> dict[str, float]:
        """Seconds on the wall, of this process's processor time, and of that of its main thread."""
        seconds, cpu, loop = (end - begin for begin, end in zip(begun, ended, strict=True))
        return {"seconds": seconds, "cpu": cpu, "loop": loop}


class Candidate(Protocol):
    """A queue library behind the four things that the table needs."""

    async def open(self, url: str, meter: Meter) -> None: ...
    async def add(self, payload: str) -> None: ...
    async def add_many(self, payloads: Sequence[str]) -> None: ...
    async def work(self) -> None:
        """Run a worker; may return while it runs on."""


def payload() -> str:
    return str(time.time_ns()).ljust(SIZE, "x")


def tell(**figures: Any) -> None:
    print(json.dumps(figures), flush=True)


async def fill(candidate: Candidate, jobs: int) -> None:
    for start in range(0, jobs, BATCH):
        await candidate.add_many([payload() for _ in range(min(BATCH, jobs - start))])


async def drain(candidate: Candidate, meter: Meter, filled: int) -> None:
    await fill(candidate, WARM)
    begun = Meter.now()
    await fill(candidate, filled)
    tell(**Meter.since(begun, Meter.now()))
    sys.stdin.readline()
    worker = asyncio.ensure_future(candidate.work())
    tell(**await meter.ended())
    del worker


async def single(candidate: Candidate, jobs: int) -> None:
    took = []
    for _ in range(jobs + 200):
        begun = time.perf_counter()
        await candidate.add(payload())
        took.append((time.perf_counter() - begun) * 1000)
    tell(**percentiles(took[200:]))


async def latency(candidate: Candidate, meter: Meter, jobs: int) -> None:
    worker = asyncio.ensure_future(candidate.work())
    await asyncio.sleep(1)
    adding = set()
    begun = time.perf_counter()
    for number in range(jobs + 200):
        await asyncio.sleep(max(0.0, begun + number / RATE - time.perf_counter()))
        task = asyncio.ensure_future(candidate.add(payload()))
        adding.add(task)
        task.add_done_callback(adding.discard)
    while len(meter.waits) < jobs + 200:
        await asyncio.sleep(0.01)
    tell(**percentiles(meter.waits[200:]))
    del worker


def percentiles(values: list[float]) -> dict[str, float]:
    values = sorted(values)
    return {"p50": values[len(values) // 2], "p99": values[int(len(values) * 0.99)]}


async def _serve(candidate: Candidate) -> None:
    url, what, jobs, filled = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    meter = Meter(jobs, filled)
    await candidate.open(url, meter)
    phases: dict[str, Coroutine[Any, Any, None]] = {
        "drain": drain(candidate, meter, filled),
        "single": single(candidate, jobs),
        "latency": latency(candidate, meter, jobs),
    }
    chosen = phases.pop(what)
    for other in phases.values():
        other.close()
    await chosen
    sys.stdout.flush()
    os._exit(0)  # whatever threads and tasks the library has: all is measured


def serve(candidate: Candidate) -> None:
    """Run the phase that the command line names."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(_serve(candidate))
    else:
        uvloop.run(_serve(candidate))
