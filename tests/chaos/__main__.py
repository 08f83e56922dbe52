"""`make chaos`: kill zapd and its Redis at every step of a message's path, under a load of 200 messages.

Invariants, checked after each run: every accepted message is in the simulated network's ledger (lost = 0), in the order
accepted, and twice only when its `sending` was reclaimed, which the event log counts (`message.resending`). The
webhooks of every accepted message came, and what came again came under the same id. Words as arguments choose
scenarios; `RUNS` says how often each runs.
"""

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.rows import Row, row, save
from tests.chaos import faults
from tests.chaos.run import Fault, one_run
from tests.support import eventually
from tests.support.daemon import Daemon
from tests.support.load import Load, excess

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


async def scenario(
    name: str, fault: Fault, environ: dict[str, str], *, external: bool = False
) -> tuple[list[Row], bool]:
    results = [await one_run(fault, messages=MESSAGES, environ=environ, external=external) for _ in range(RUNS)]
    verdicts = [verdict for verdict, _ in results]
    ok = all(verdict.ok for verdict in verdicts)
    counts = {
        what: [float(getattr(verdict, what)) for verdict in verdicts]
        for what in ("lost", "doubled", "resent", "disordered", "untold", "redelivered", "told_twice")
    }
    recovery = row(f"{name}: recovery", [seconds for _, seconds in results], "s")
    shown = "  ".join(f"{what.replace('_', ' ')} {sum(values):.0f}" for what, values in counts.items())
    print(f"{name:<42} {RUNS} runs  {shown}  recovery {recovery.value} s  {'ok' if ok else 'BROKEN'}", flush=True)
    kept = ("lost", "doubled", "redelivered")
    return [*[row(f"{name}: {what}", counts[what], "messages") for what in kept], recovery], ok


async def neighbours(name: str) -> tuple[list[Row], bool]:
    """Two sessions at the default pace, one with a backlog of 1,000: the other's only message leaves at once."""
    waits, worst, ok = [], [], True
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
                ok = ok and texts == [f"m{n}" for n in range(len(texts))] and len(texts) < BACKLOG / 10
    ok = ok and max(worst) <= 0 and max(waits) < 1
    wait = row(f"{name}: wait of the single one", waits, "s")
    print(
        f"{name:<42} {RUNS} runs  wait {wait.value} s  excess {max(worst):.2f}  {'ok' if ok else 'BROKEN'}", flush=True
    )
    return [wait, row(f"{name}: messages above the pace", [max(0.0, value) for value in worst], "messages")], ok


async def _arrivals(daemon: Daemon, connection: str, count: int) -> None:
    async def there() -> bool:
        return len(await daemon.ledger(connection)) >= count

    await eventually(there, within=60, every=0.005)


async def main() -> int:
    rows: list[Row] = []
    broken = 0
    scenarios: list[tuple[str, Fault, dict[str, str]]] = [
        (f"kill -9 at {name}", faults.at_failpoint, {"ZAPD_FAILPOINT": f"{name}:40"}) for name in FAILPOINTS
    ]
    scenarios += [
        ("kill -9 zapd and Redis", faults.kill_everything, {}),
        ("kill -9 zapd", faults.kill_daemon, {}),
        ("kill -9 Redis", faults.kill_redis, {}),
        ("FLUSHALL", faults.flushall, {}),
        ("FLUSHALL, webhooks pending", faults.flushall_with_webhooks, {}),
        ("kill -9 Redis, webhooks pending", faults.kill_redis_with_webhooks, {}),
        ("kill -9 zapd and Redis, webhooks pending", faults.kill_everything_with_webhooks, {}),
        ("SIGSTOP Redis for 5 s", faults.stop_redis_for_5_s, {}),
        ("Redis hangs over the intake", faults.redis_hangs_over_the_intake, {}),
        ("Redis is down over the intake", faults.redis_is_down_over_the_intake, {}),
        ("SIGTERM", faults.terminate, {}),
    ]
    only = sys.argv[1:]

    def chosen(name: str) -> bool:
        return not only or any(word in name for word in only)

    for name, fault, environ in scenarios:
        if chosen(name):
            external = fault is faults.redis_is_down_over_the_intake
            more, ok = await scenario(name, fault, environ, external=external)
            rows += more
            broken += not ok
    if chosen(name := "1,000 beside 1"):
        more, ok = await neighbours(name)
        rows += more
        broken += not ok
    if not only:  # the figures of README come from a whole run
        save(Path("build/chaos.json"), rows)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
