"""`make chaos`: break zapd and its engine on purpose, and count what was lost and doubled.

Two kinds of scenarios. `engine.py`: worker processes on one Redis, without SQL; what must be true is in `cluster.py`.
`faults.py`: the whole daemon under a load of 200 messages; every accepted message is in the simulated network's ledger,
in the order accepted, and twice only when its `sending` was reclaimed, which the event log counts; its webhooks came,
and what came again came under the same id.

Words as arguments choose scenarios by name, numbers by the fault's number in the catalogue; `RUNS` says how often each
runs. A part of the scenarios leaves the other rows of build/chaos.json as they are.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.bench.rows import Row, row, save
from tests.chaos import clocks, faults, hostile
from tests.chaos.engine import FAKETIME, SCENARIOS, Scenario, play
from tests.chaos.run import Fault, one_run
from tests.chaos.table import HEAD, Line
from tests.support import eventually
from tests.support.daemon import Daemon
from tests.support.load import Load, excess

FILE = Path("build/chaos.json")
MESSAGES = 200
BACKLOG = 1000
RUNS = int(os.environ.get("RUNS", "3"))
PACED = '[sandbox]\npair_after = "0.1s"\nlatency = "5ms"\n'
FAILPOINTS = (
    "accept.committed",
    "relay.enqueued",
    "job.claimed",
    "send.claimed",
    "send.answered",
    "send.recorded",
    "job.finished",
    "receive.kept",
    "receive.applied",
    "delivery.posted",
    "delivery.recorded",
)


@dataclass(frozen=True, kw_only=True)
class Whole:
    """A fault of the whole daemon."""

    number: int
    name: str
    fault: Fault
    environ: dict[str, str] = field(default_factory=dict)
    external: tuple[str, ...] | None = None  #: options of a Redis of its own, instead of the embedded one
    refuses: frozenset[int] = frozenset()  #: what a send may be answered with while it lasts
    postgres: bool = False  #: as the database, instead of SQLite
    runs: int = RUNS  #: at most; one that takes minutes is run once


DAEMON = [
    *[
        Whole(number=1, name=f"kill -9 at {at}", fault=faults.at_failpoint, environ={"ZAPD_FAILPOINT": f"{at}:40"})
        for at in FAILPOINTS
    ],
    Whole(number=1, name="kill -9 zapd", fault=faults.kill_daemon),
    Whole(number=1, name="kill -9 zapd and Redis", fault=faults.kill_everything),
    Whole(number=1, name="kill -9 zapd and Redis, webhooks pending", fault=faults.kill_everything_with_webhooks),
    Whole(number=5, name="SIGTERM", fault=faults.terminate),
    Whole(number=5, name="SIGTERM twice", fault=faults.terminate_twice),
    Whole(number=5, name="SIGTERM, receiver hangs", fault=faults.terminate_with_webhooks),
    Whole(
        number=1,
        name="kill -9 while handing back",
        fault=faults.terminate_at_failpoint,
        environ={"ZAPD_FAILPOINT": "drain.handing_back"},
    ),
    Whole(number=7, name="kill -9 Redis", fault=faults.kill_redis),
    Whole(number=7, name="kill -9 Redis, webhooks pending", fault=faults.kill_redis_with_webhooks),
    Whole(number=8, name="FLUSHALL", fault=faults.flushall),
    Whole(number=8, name="FLUSHALL, webhooks pending", fault=faults.flushall_with_webhooks),
    Whole(number=8, name="an old RDB is restored", fault=faults.restore_old_rdb, external=()),
    Whole(number=10, name="SIGSTOP Redis for 1 s", fault=faults.stop_redis_for_1_s),
    Whole(number=10, name="SIGSTOP Redis for 5 s", fault=faults.stop_redis_for_5_s),
    Whole(number=10, name="SIGSTOP Redis for 30 s", fault=faults.stop_redis_for_30_s),
    Whole(number=10, name="SIGSTOP Redis for 120 s", fault=faults.stop_redis_for_120_s, runs=1),
    Whole(number=13, name="SQL is locked for 20 s", fault=faults.lock_database_for_20_s, refuses=frozenset({503})),
    Whole(
        number=13,
        name="PostgreSQL out of reach for 20 s",
        fault=faults.postgres_out_of_reach_for_20_s,
        refuses=frozenset({503}),
        postgres=True,
    ),
    Whole(
        number=13,
        name="PostgreSQL hangs up for 5 s",
        fault=faults.postgres_hangs_up_for_5_s,
        refuses=frozenset({503}),
        postgres=True,
    ),
    Whole(number=26, name="hostile bodies", fault=faults.hostile_bodies),
    Whole(number=10, name="Redis hangs over the intake", fault=faults.redis_hangs_over_the_intake),
    Whole(number=10, name="Redis is down over the intake", fault=faults.redis_is_down_over_the_intake, external=()),
    Whole(number=17, name="Redis is full over the intake", fault=faults.redis_is_full_over_the_intake, external=()),
    Whole(
        number=18,
        name="Redis may evict",
        fault=faults.redis_may_evict,
        external=("--maxmemory-policy", "allkeys-lru"),
    ),
]


async def whole(scenario: Whole) -> Line:
    """The runs of a fault of the daemon."""
    results = [
        await one_run(
            scenario.fault,
            messages=MESSAGES,
            environ=scenario.environ,
            external=scenario.external,
            refuses=scenario.refuses,
            postgres=scenario.postgres,
        )
        for _ in range(min(RUNS, scenario.runs))
    ]
    verdicts = [verdict for verdict, _ in results]
    wrong = [
        f"{what.replace('_', ' ')} {sum(getattr(verdict, what) for verdict in verdicts)}"
        for what in ("doubled", "resent", "disordered", "untold", "told_twice", "refused")
        if not all(verdict.ok for verdict in verdicts)
    ]
    redelivered = row(f"{scenario.name}: redelivered", [verdict.redelivered for verdict in verdicts], "webhooks")
    return Line(
        fault=scenario.number,
        name=scenario.name,
        lost=[verdict.lost for verdict in verdicts],
        duplicated=[verdict.doubled for verdict in verdicts],
        recoveries=[seconds for _, seconds in results],
        more=[redelivered],
        wrong=wrong,
    )


async def engine(scenario: Scenario) -> Line:
    """The runs of a fault of the engine."""
    verdicts = []
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory(prefix="zapd-chaos-") as directory:
            verdicts.append(await play(scenario, Path(directory)))
    return Line(
        fault=scenario.number,
        name=f"engine: {scenario.name}",
        lost=[verdict.lost for verdict in verdicts],
        duplicated=[verdict.duplicated for verdict in verdicts],
        recoveries=[seconds for verdict in verdicts for seconds in verdict.recoveries],
        wrong=[word for verdict in verdicts for word in verdict.wrong],
    )


async def neighbours() -> Line:
    """Two sessions at the default pace, one with a backlog of 1,000: the other's only message leaves at once."""
    waits, worst, wrong = [], [], []
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory(prefix="zapd-chaos-") as directory:
            async with Daemon(Path(directory), PACED) as daemon:
                busy, quiet = (await daemon.connect())["id"], (await daemon.connect())["id"]
                await Load(daemon, busy, BACKLOG).run()
                before = len(await daemon.ledger(busy))
                started = time.monotonic()
                await daemon.send(quiet, "m0")
                await _arrivals(daemon, quiet, 1)
                waits.append(time.monotonic() - started)
                await _arrivals(daemon, busy, before + 6)
                ledger = await daemon.ledger(busy)
                worst.append(excess(ledger, per_minute=80, burst=10))
                texts = [entry["payload"]["text"] for entry in ledger]
                if texts != [f"m{n}" for n in range(len(texts))] or len(texts) >= BACKLOG / 10:
                    wrong.append("order or pace")
    wrong += ["pace"] * (max(worst) > 0) + ["the single one waited"] * (max(waits) >= 1)
    name = "1,000 beside 1"
    more = [
        row(f"{name}: wait of the single one", waits, "s"),
        row(f"{name}: messages above the pace", [max(0.0, value) for value in worst], "messages"),
    ]
    none = [0] * RUNS
    return Line(fault=24, name=name, lost=none, duplicated=none, recoveries=waits, more=more, wrong=wrong)


async def _arrivals(daemon: Daemon, connection: str, count: int) -> None:
    async def there() -> bool:
        return len(await daemon.ledger(connection)) >= count

    await eventually(there, within=60, every=0.005)


async def model() -> Line:
    """The scripts against the model in Hypothesis, with calls replayed and reordered: the tests do it."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "tests/integration/jobs/test_model.py"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    wrong = [] if done.returncode == 0 else [done.stdout[-500:]]
    return Line(fault=31, name="scripts against the model", lost=[0], duplicated=[0], recoveries=[], wrong=wrong)


def scenarios() -> list[tuple[int, str, Callable[[], Awaitable[Line]]]]:
    """(fault, name, what runs it), in the order of the catalogue."""
    found: list[tuple[int, str, Callable[[], Awaitable[Line]]]] = []
    found += [(one.number, one.name, partial(whole, one)) for one in DAEMON]
    found += [(one.number, f"engine: {one.name}", partial(engine, one)) for one in SCENARIOS]
    found += [(hostile.NUMBER, "hostile receivers", partial(hostile.hostile_receivers, runs=RUNS))]
    if FAKETIME.exists():
        found += [(clocks.NUMBER, clocks.NAME, partial(clocks.schedules_over_clock_jumps, RUNS))]
    found += [(24, "1,000 beside 1", neighbours), (31, "scripts against the model", model)]
    return sorted(found, key=lambda line: line[0])


async def main() -> int:
    only = sys.argv[1:]
    rows: list[Row] = []
    broken = 0
    print(HEAD, flush=True)
    for number, name, run in scenarios():
        if only and not any(word == str(number) or (not word.isdigit() and word in name) for word in only):
            continue
        try:
            line = await run()
        except Exception as error:
            line = Line(fault=number, name=name, lost=[0], duplicated=[0], recoveries=[], wrong=[repr(error)[:500]])
        print(line, flush=True)
        rows += line.rows()
        broken += not line.ok
    save(FILE, rows, merge=bool(only), quiet=True)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
