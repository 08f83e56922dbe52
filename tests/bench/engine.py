"""The queue engine beside its peers: the same jobs, the same Redis, the same minutes.

Each candidate is a script in a process of its own (`peers/common.py` says what it does). Runs are interleaved: run 1 of
all, run 2 of all, so that a machine that is slow for a while is so for everybody.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from tests.bench.peers.common import WARM
from tests.bench.peers.install import HERE, Peer, peers
from tests.bench.rows import Row, row
from tests.support.daemon import free_port
from tests.support.redis_server import RedisServer, embedded_binary

RUNS = int(os.environ.get("RUNS", "5"))
JOBS = int(os.environ.get("JOBS", "20000"))
SINGLES = 2000
PACED = 600  #: jobs of one latency run, at 200 a second
PATIENCE = 300.0  #: seconds for one run
ZAPD = Peer("zapd", (sys.executable, "-m", "tests.bench.ours"), {})
WITH_SQL = Peer("zapd with SQL", ZAPD.command, {"SQL": "1"})
ON_SOCKET = Peer("zapd, Unix socket", ZAPD.command, {})
BARE = Peer("bare loop", (sys.executable, str(HERE / "use_bare.py")), {})
#: Those whose latency is worth the minutes; the others are behind them by far, or poll.
QUICK_TO_START = ("zapd", "zapd with SQL", "BullMQ", "SAQ", "taskiq")

Figures = dict[str, float]


@dataclass(frozen=True)
class Spent:
    """What Redis had spent so far."""

    cpu: float
    commands: int
    traffic: int
    memory: int


class Bench:
    """A Redis of its own, with its file off, and the candidates that run on it."""

    def __init__(self, server: RedisServer, url: str) -> None:
        self.server = server
        self.url = url
        self.errors = server.directory / "errors"
        self.empty = Spent(0.0, 0, 0, 0)
        self._client = redis.Redis.from_url(server.url)

    def spent(self) -> Spent:
        info: Any = self._client.info("everything")
        return Spent(
            cpu=info["used_cpu_user"] + info["used_cpu_sys"],
            commands=info["total_commands_processed"],
            traffic=info["total_net_input_bytes"] + info["total_net_output_bytes"],
            memory=info["used_memory"],
        )

    def drain(self, peer: Peer, jobs: int = JOBS, filled: int = 0, **environ: str) -> Figures:
        """Fill and drain once. Times in seconds for one job, after the warm-up; `redis_*` over all jobs."""
        filled = filled or jobs
        with self._started(peer, "drain", jobs, filled, environ) as process:
            empty = self.empty
            fill = self._told(process)
            before = self.spent()
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
            drained = self._told(process)
            after = self.spent()
        jobs = round(drained["jobs"])
        done = jobs + WARM
        return {
            "bulk": filled / fill["seconds"],
            "bulk_cpu": fill["cpu"] / filled,
            "bulk_loop": fill.get("loop", fill["cpu"]) / filled,
            "bulk_redis": (before.cpu - empty.cpu) / (filled + WARM),
            "rate": jobs / drained["seconds"],
            "cpu": drained["cpu"] / jobs,
            "loop": drained["loop"] / jobs,
            "redis": (after.cpu - before.cpu) / done,
            "commands": (after.commands - before.commands) / done,
            "traffic": (after.traffic - before.traffic) / done,
            "memory": (before.memory - empty.memory) / (filled + WARM),
        }

    def times(self, peer: Peer, what: str, jobs: int) -> Figures:
        """`p50` and `p99` in milliseconds of a single add, or of the wait from enqueue to start."""
        with self._started(peer, what, jobs, 0, {}) as process:
            return self._told(process)

    @contextmanager
    def _started(
        self, peer: Peer, what: str, jobs: int, filled: int, environ: Mapping[str, str]
    ) -> Iterator[subprocess.Popen[str]]:
        self._client.flushall()
        self.empty = self.spent()
        url = self.server.url if peer is ON_SOCKET else self.url
        with tempfile.TemporaryDirectory(prefix="zapd-bench-") as folder, self.errors.open("wb") as errors:
            process = subprocess.Popen(
                [*peer.command, url, what, str(jobs), str(filled)],
                env={**os.environ, **peer.environ, **environ, "FOLDER": folder},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
            guard = threading.Timer(PATIENCE, process.kill)
            guard.start()
            with process:
                try:
                    yield process
                finally:
                    guard.cancel()
                    process.kill()

    def _told(self, process: subprocess.Popen[str]) -> Figures:
        assert process.stdout
        for line in process.stdout:
            if line.startswith("{"):
                figures: Figures = json.loads(line)
                return figures
        raise RuntimeError(self.errors.read_text(errors="replace")[-500:].strip() or "it ended without a figure")

    def close(self) -> None:
        self._client.close()


@contextmanager
def bench() -> Iterator[Bench]:
    """Redis as the peers know it: on loopback, its file off; of the version on PATH, else the embedded one."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="zapd-bench-") as folder:
        binary = shutil.which("redis-server") or embedded_binary()
        server = RedisServer(Path(folder), binary, "--port", str(port), "--bind", "127.0.0.1").start()
        opened = Bench(server, f"redis://127.0.0.1:{port}")
        try:
            yield opened
        finally:
            opened.close()
            server.kill()


Measured = dict[str, dict[str, list[float]]]  #: peer → figure → one value for each run


async def engine() -> list[Row]:
    """The table: zapd, its peers, the bare loop."""
    found = [ZAPD, BARE, ON_SOCKET, *peers()]
    with bench() as on:
        measured = measure(on, found)
    return [*drain_rows(measured), *cost_rows(measured), *wait_rows(measured)]


def measure(on: Bench, candidates: Sequence[Peer]) -> Measured:
    """All runs of all candidates. One that fails is left out from then on, and it is said why."""
    measured: Measured = defaultdict(lambda: defaultdict(list))
    left = list(candidates)
    for run in range(RUNS):
        for peer in list(left):
            try:
                figures = on.drain(peer)
                figures |= {f"single_{name}": value for name, value in on.times(peer, "single", SINGLES).items()}
                if peer.name in QUICK_TO_START:
                    figures |= {f"wait_{name}": value for name, value in on.times(peer, "latency", PACED).items()}
            except (RuntimeError, OSError) as error:
                print(f"{peer.name} is left out, it failed: {error}", flush=True)
                measured.pop(peer.name, None)
                left.remove(peer)
                continue
            print(f"  run {run + 1}, {peer.name}: {figures['rate']:,.0f} jobs/s drained", flush=True)
            for name, value in figures.items():
                measured[peer.name][name].append(value)
    return measured


def drain_rows(measured: Measured) -> list[Row]:
    """Jobs per second drained and enqueued."""
    python = [name for name in measured if name in ("SAQ", "arq", "taskiq", "dramatiq", "streaq")]
    best = max(python, key=lambda name: statistics.median(measured[name]["rate"]), default=None)
    rows = [row(f"drain rate: {name}", of["rate"], "jobs/s") for name, of in measured.items() if name != "zapd"]
    rows += beside("drain rate: zapd", measured, "rate", "jobs/s", ["BullMQ", best, "bare loop"])
    rows += [row(f"bulk enqueue: {name}", of["bulk"], "jobs/s") for name, of in measured.items() if name != "zapd"]
    return rows + beside("bulk enqueue: zapd", measured, "bulk", "jobs/s", ["BullMQ", "bare loop"])


def cost_rows(measured: Measured) -> list[Row]:
    """What a job costs this process and Redis."""
    for of in measured.values():
        of["cost"] = [(cpu + redis_cpu) * 1000 for cpu, redis_cpu in zip(of["cpu"], of["redis"], strict=True)]
    rows: list[Row] = []
    for figure, name, unit in (
        ("cost", "CPU for 1,000 jobs, process and Redis", "s"),
        ("commands", "Redis commands for a job, scripts' own included", "commands"),
        ("traffic", "bytes to and from Redis for a job", "bytes"),
        ("memory", "Redis memory for a waiting job", "bytes"),
    ):
        rows += [row(f"{name}: {peer}", measured[peer][figure], unit) for peer in ("BullMQ",) if peer in measured]
        rows += beside(f"{name}: zapd", measured, figure, unit, ["BullMQ"])
    return rows


def wait_rows(measured: Measured) -> list[Row]:
    """Milliseconds for a single enqueue, and from enqueue to start."""
    rows: list[Row] = []
    for name in ("BullMQ", "SAQ"):
        if name in measured:
            rows.append(row(f"single enqueue p50: {name}", measured[name]["single_p50"], "ms"))
    rows += beside("single enqueue p50: zapd", measured, "single_p50", "ms", ["BullMQ", "SAQ"])
    others = [name for name in QUICK_TO_START[2:] if name in measured]
    for figure in ("p50", "p99"):
        key = f"wait_{figure}"
        best = min(others, key=lambda name: statistics.median(measured[name][key]), default=None)
        title = f"enqueue to start at 200 jobs/s, {figure}"
        rows += [row(f"{title}: {name}", measured[name][key], "ms") for name in others]
        rows += beside(f"{title}: zapd", measured, key, "ms", [best])
    return rows


def beside(title: str, measured: Measured, figure: str, unit: str, others: Sequence[str | None]) -> list[Row]:
    """zapd's figure, once for each alternative that is there; at least once."""
    if "zapd" not in measured:
        return []
    values = measured["zapd"][figure]
    rows = []
    for n, other in enumerate([other for other in others if other in measured]):
        base = statistics.median(measured[str(other)][figure])
        rows.append(row(title if n == 0 else f"{title}, beside {other}", values, unit, versus=other, base=base))
    return rows or [row(title, values, unit)]


async def with_sql() -> list[Row]:
    """The product's real path: jobs committed to SQLite first, rows gone when jobs have ended; where the cost goes."""
    with bench() as on:
        measured = measure(on, [ZAPD, WITH_SQL])
    plain, sql = measured["zapd"], measured["zapd with SQL"]
    rows = []
    for figure, name, unit in (
        ("rate", "drain rate", "jobs/s"),
        ("bulk", "bulk enqueue", "jobs/s"),
        ("single_p50", "single enqueue p50", "ms"),
        ("wait_p50", "enqueue to start at 200 jobs/s, p50", "ms"),
        ("wait_p99", "enqueue to start at 200 jobs/s, p99", "ms"),
    ):
        base = statistics.median(plain[figure])
        rows.append(row(f"{name}, with SQL", sql[figure], unit, versus="zapd without SQL", base=base))
    for phase, cpu, loop, of_redis in (
        ("enqueue", "bulk_cpu", "bulk_loop", "bulk_redis"),
        ("drain", "cpu", "loop", "redis"),
    ):
        parts: dict[str, Any] = {
            "event loop": lambda of, loop=loop: of[loop],
            "SQL thread": lambda of, cpu=cpu, loop=loop: [a - b for a, b in zip(of[cpu], of[loop], strict=True)],
            "Redis": lambda of, of_redis=of_redis: of[of_redis],
        }
        for part, take in parts.items():
            base = statistics.median(take(plain)) * 1e6
            rows.append(
                row(
                    f"CPU for a job, {phase}, with SQL: {part}",
                    [value * 1e6 for value in take(sql)],
                    "us",
                    versus="zapd without SQL",
                    base=base if base > 0.5 else None,
                )
            )
    return rows


async def scale() -> list[Row]:
    """CPU for one job, process and Redis, as the queue gets deep, the queues many, the lanes many."""
    small = JOBS < 20_000
    cases: list[tuple[str, str, int, int, dict[str, str]]] = []
    for waiting in (1_000, 10_000, 100_000, *(() if small else (1_000_000,))):
        cases.append(("waiting", f"{waiting:,}", min(waiting, 10_000), waiting, {}))
    cases += [("queues", str(queues), JOBS, JOBS, {"QUEUES": str(queues)}) for queues in (1, 10, 100)]
    filled = JOBS if small else 100_000
    cases += [
        ("lanes", f"{lanes:,}", JOBS, filled, {"LANES": str(lanes)})
        for lanes in (1, 100, 10_000, *(() if small else (100_000,)))
    ]
    rows: list[Row] = []
    first: dict[str, tuple[str, float]] = {}
    with bench() as on:
        for what, many, jobs, waiting, environ in cases:
            runs = [on.drain(ZAPD, jobs, waiting, **environ) for _ in range(min(RUNS, 3))]
            costs = [(run["cpu"] + run["redis"]) * 1e6 for run in runs]
            versus, base = first.setdefault(what, (f"{many} {what}", statistics.median(costs)))
            rows.append(row(f"CPU for a job, {many} {what}", costs, "us", versus=versus, base=base))
            if what == "lanes":
                rows.append(row(f"Redis memory for a job, {many} lanes", [run["memory"] for run in runs], "bytes"))
            print(f"  {many} {what}: {rows[-1].value}", flush=True)
    return rows
