"""Several workers on one Redis, a producer that repeats what was not answered, and the verdict over the witness."""

import asyncio
import itertools
import os
import shutil
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from tests.chaos.proxy import Proxy
from tests.chaos.witness import Life, Witness
from tests.chaos.worker import QUEUE, Setup
from tests.support import eventually
from tests.support.redis_server import RedisServer, embedded_binary
from zapd.errors import Unavailable
from zapd.jobs.broker import Broker
from zapd.jobs.client import connect
from zapd.jobs.job import Job
from zapd.jobs.keys import key
from zapd.jobs.metrics import JobMetrics
from zapd.jobs.scripts import Scripts

#: What beside 5 % may come with the first work: connections of the pool, tasks under way, memory of imports and caches.
_SPARE = {"fds": 16, "tasks": 5, "rss": 24 * 1024}
_WITHIN = 90.0  # seconds that healing may take before it counts as lost


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of the acknowledged jobs. `wrong` holds the invariants that broke, in words."""

    acked: int
    lost: int
    duplicated: int
    recoveries: tuple[float, ...]  #: of jobs in flight at the fault: seconds until their end was accepted
    wrong: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return self.lost == 0 and not self.wrong


class Cluster:
    """`async with Cluster(directory) as cluster`: `workers` daemons are up. Faults are its methods and its parts'."""

    def __init__(
        self,
        directory: Path,
        *,
        workers: int = 2,
        redis: Sequence[str] = (),
        proxied: bool = False,
        skews: Sequence[float] = (),
        faketime: str = "",
        **setup: Any,
    ) -> None:
        self.jump = directory / "jump"  #: how many seconds every worker's wall clock is off, when it is there
        self.redis_clock = directory / "redis-clock" if faketime else None  #: as libfaketime reads it
        self.server = RedisServer(directory / "redis", _binary(faked=bool(faketime)), *redis)
        if self.redis_clock:
            self.redis_clock.write_text("+0\n")
            its = {"LD_PRELOAD": faketime, "FAKETIME_TIMESTAMP_FILE": str(self.redis_clock)}
            self.server.environ = {**its, "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        self.storm = directory / "storm"
        self.witness = Witness(directory / "witness", "driver")
        self._directory = directory
        self._setup = Setup(
            url="",
            beat_url="",
            witness=str(directory / "witness"),
            node="",
            boot="",
            storm=str(self.storm),
            jump=str(self.jump),
            **setup,
        )
        self._count = workers
        self._proxied = proxied
        self._skews = skews
        self._boots = itertools.count(1)
        self._numbers = itertools.count()
        self._stack = AsyncExitStack()
        self.setups: list[Setup] = []
        self.processes: list[asyncio.subprocess.Process] = []
        self.commands: list[Proxy] = []  #: of each worker, when proxied
        self.beats: list[Proxy] = []
        self.faults: list[float] = []
        self.lanes: dict[str, list[str]] = defaultdict(list)
        self.failing: set[str] = set()  #: jobs that may use more than one attempt

    async def __aenter__(self) -> "Cluster":
        self.server.start()
        self._stack.callback(self.server.kill)
        self.redis: Any = connect(self.server.url, name="driver")
        self.metrics = JobMetrics(registry=CollectorRegistry(), queues=[QUEUE])
        scripts = Scripts(client=self.redis, metrics=self.metrics)
        self.broker = Broker(
            scripts=scripts,
            heartbeats=scripts,
            queues=[self._setup.queue()],
            node="driver",
            boot="1",
            metrics=self.metrics,
        )
        for number in range(self._count):
            await self._prepare(number)
        await asyncio.gather(*[self.start(number) for number in range(self._count)])
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in self.processes:
            with suppress(ProcessLookupError):
                process.kill()
        await asyncio.gather(*[process.wait() for process in self.processes])
        await self.redis.aclose()
        await self._stack.aclose()
        self.witness.close()

    async def _prepare(self, number: int) -> None:
        url = beat_url = self.server.url
        if self._proxied:
            for proxies in (self.commands, self.beats):
                proxies.append(await self._stack.enter_async_context(Proxy(self.server.socket)))
            url, beat_url = self.commands[number].url, self.beats[number].url
        skew = self._skews[number] if self._skews else 0.0
        self.setups.append(replace(self._setup, url=url, beat_url=beat_url, node=f"w{number}", skew=skew))

    async def start(self, number: int, **changes: Any) -> None:
        """Start this worker (again), and wait until it runs."""
        boot = f"b{next(self._boots)}"
        setup = self.setups[number] = replace(self.setups[number], boot=boot, **changes)
        with (self._directory / f"w{number}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.chaos.worker", setup.told(), stdout=log, stderr=log
            )
        self.processes[number : number + 1] = [process]
        await eventually(lambda: self._said("up", f"w{number}:{boot}"), within=60)

    def _leaks(self) -> list[str]:
        """I9: what a worker that lives has more of than at its start, by more than 5 % and a little."""
        found = []
        for number, setup in enumerate(self.setups):
            who = f"{setup.node}:{setup.boot}"
            if self.processes[number].returncode is not None:
                continue
            for what, spare in _SPARE.items():
                told = [fact.number for fact in self.witness.look().facts if fact.who == who and fact.what == what]
                if told and told[-1] > told[0] * 1.05 + spare:
                    found.append(f"{who} {what} {told[0]} → {told[-1]}")
        return found

    def _said(self, what: str, who: str) -> bool:
        return (what, who) in self.witness.look().newest

    def log_lines(self) -> int:
        """Warnings of all workers so far."""
        return sum(path.read_bytes().count(b"\n") for path in self._directory.glob("w*.log"))

    # --- load ---

    async def add(self, count: int, kind: str = "", *, lane: str = "", delay: float = 0.0) -> list[str]:
        """Enqueue jobs, one call for each; one that was not answered is repeated until it is: `enqueue` may be."""
        return [await self._add(kind, lane, delay) for _ in range(count)]

    async def _add(self, kind: str, lane: str, delay: float) -> str:
        job_id = f"job_{next(self._numbers):07d}"
        self.witness.tell("attempt", job_id)  # before what it says is reckoned: nothing may start too early after this
        now = time.time_ns() // 1_000_000
        due = now + round(delay * 1000) if delay else 0
        job = Job(id=job_id, queue=QUEUE, payload=b"{}", priority=5, created_at=now, kind=kind, lane=lane, due_at=due)
        if kind in ("fail", "raise"):
            self.failing.add(job_id)
        if lane:
            self.lanes[lane].append(job_id)
        while True:
            try:
                await self.broker.enqueue([job])
                break
            except Unavailable:
                await asyncio.sleep(0.05)
        self.witness.tell("ack", job_id)
        return job_id

    def jobs(self) -> dict[str, Life]:
        return self.witness.look().lives

    def holders(self, number: int) -> list[str]:
        """Jobs that this worker runs now."""
        setup = self.setups[number]
        who = f"{setup.node}:{setup.boot}"
        return [
            job_id
            for job_id, life in self.jobs().items()
            if not life.over and life.starts and life.starts[-1].who == who
        ]

    def fault(self) -> None:
        """A fault comes now; recovery of what is under way is counted from here."""
        self.faults.append(time.monotonic())

    async def busy(self, number: int = 0, jobs: int = 5) -> None:
        """Wait until this worker has that many under way."""
        await eventually(lambda: len(self.holders(number)) >= jobs, within=30, every=0.01)

    async def healed(self, within: float = _WITHIN) -> None:
        """Wait until every acknowledged job is over. What is not then is lost."""

        def whole() -> bool:
            return all(life.over or life.canceled for life in self.jobs().values() if life.acked is not None)

        with suppress(AssertionError):
            await eventually(whole, within=within, every=0.05)

    # --- faults ---

    def signal(self, number: int, sign: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.processes[number].pid, sign)

    async def kill(self, number: int) -> None:
        """kill -9."""
        self.signal(number, signal.SIGKILL)
        await self.processes[number].wait()

    async def restart_redis(self) -> None:
        """kill -9 and a new start on the same directory."""
        self.server.kill()
        await asyncio.to_thread(self.server.start)

    def number(self, what: str, who: str = "") -> int:
        """The newest of a worker's vital numbers, or the sum of those of all workers so far."""
        newest = self.witness.look().newest
        return sum(count for (name, worker), count in newest.items() if name == what and worker.startswith(who))

    # --- verdict ---

    async def judge(self, *, zombies: bool = False, in_order: bool = True) -> Verdict:
        """After `healed`. `zombies`: two workers may run one job at once, because one of them was cut off."""
        found = self.jobs()
        acked = {job_id: life for job_id, life in found.items() if life.acked is not None}
        lost = [job_id for job_id, life in acked.items() if not life.over and not life.canceled]
        checks = {
            "I2 accepted twice": [job_id for job_id, life in found.items() if len(life.over) > 1],
            "I3 two at once": [] if zombies else [job_id for job_id, life in found.items() if _overlap(life)],
            "I4 out of order": self._disordered(found) if in_order else [],
            "I6 left in Redis": await self._left(),
            "I7 an attempt burnt": [
                job_id
                for job_id, life in found.items()
                if job_id not in self.failing and any(start.number > 1 for start in life.starts)
            ],
            "I9 not back at the baseline": await self._settled_leaks(),
            "ran after it was canceled": [job_id for job_id, life in found.items() if life.canceled and life.effects],
        }
        wrong = [f"{what}: {', '.join(names[:3])} ({len(names)})" for what, names in checks.items() if names]
        return Verdict(
            acked=len(acked),
            lost=len(lost),
            duplicated=sum(max(0, len(life.effects) - 1) for life in found.values()),
            recoveries=tuple(self._recoveries(found)),
            wrong=tuple(wrong),
        )

    async def _settled_leaks(self) -> list[str]:
        with suppress(AssertionError):
            await eventually(lambda: not self._leaks(), within=10, every=0.3)
        return self._leaks()

    def _recoveries(self, found: dict[str, Life]) -> list[float]:
        spans = [(life.starts[0].at, life.over[0].at) for life in found.values() if life.starts and life.over]
        firsts = ((over, next((at for at in self.faults if begun < at < over), None)) for begun, over in spans)
        return [over - at for over, at in firsts if at is not None]

    def _disordered(self, found: dict[str, Life]) -> list[str]:
        wrong = []
        for job_ids in self.lanes.values():
            firsts = [found[job_id].starts[0].at for job_id in job_ids if found[job_id].starts]
            wrong += [job_ids[n] for n in range(1, len(firsts)) if firsts[n] < firsts[n - 1]]
        return wrong

    async def _left(self) -> list[str]:
        """What an empty queue still holds in Redis, after its own clean-up."""

        async def rest() -> list[str]:
            await self.broker.clean(QUEUE)
            allowed = {key(QUEUE, name) for name in ("meta", "stat", "done", "op", "hb", "x", "xj")}
            names = [name.decode() for name in await self.redis.keys("*")]
            return [
                name for name in names if name not in allowed and not await self.redis.ttl(name) >= 0
            ]  # a key with a time to live goes by itself

        end = time.monotonic() + 5
        while (left := await rest()) and time.monotonic() < end:
            await asyncio.sleep(0.1)
        return left


def _overlap(life: Life) -> bool:
    """Whether two workers ran the job at the same time. A run without an end died with its worker."""
    for start in life.starts:
        end = next((end for end in life.ends if end.who == start.who and end.at > start.at), None)
        if end and any(start.at < other.at < end.at and other.who != start.who for other in life.starts):
            return True
    return False


def _binary(*, faked: bool) -> str:
    found = None if faked else shutil.which("redis-server")  # Debian's, with jemalloc, cannot start under libfaketime
    return found or embedded_binary()
