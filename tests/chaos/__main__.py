"""`make chaos`: kill zapd and its Redis at every step of a message's path, under a load of 200 messages.

Invariants, checked after each run: every accepted message is in the simulated network's ledger (lost = 0), and a
message is there twice only when its `sending` was reclaimed, which the event log counts (`message.resending`).
"""

import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.bench.rows import Row, row, save
from tests.support import eventually
from tests.support.daemon import Daemon
from tests.support.receiver import Receiver

MESSAGES = 200
RUNS = int(os.environ.get("RUNS", "3"))
TOML = """
[sandbox]
pair_after = "0.1s"
latency = "5ms"
[limits]
session_per_minute = 60000
session_burst = 1000
"""
FAILPOINTS = (
    "accept.committed",
    "relay.enqueued",
    "send.claimed",
    "send.answered",
    "send.recorded",
    "job.finished",
    "receive.applied",
    "delivery.posted",
)


@dataclass(frozen=True)
class Result:
    """What one run showed. `recovery` is from the fault until every accepted message had arrived, in seconds."""

    accepted: int
    lost: int
    doubled: int
    resent: int
    recovery: float


class Load:
    """Sends messages one after the other and goes on after a crash; knows which were accepted."""

    def __init__(self, daemon: Daemon, connection: str) -> None:
        self.daemon = daemon
        self.connection = connection
        self.accepted: set[str] = set()
        self.done = False

    async def run(self) -> None:
        n = 0
        while len(self.accepted) < MESSAGES:
            text = f"m{n}"
            n += 1
            body = {"to": "5511999998888", "type": "text", "payload": {"text": text}}
            try:
                status, _ = await self.daemon.call("POST", f"/connections/{self.connection}/send", body)
            except (aiohttp.ClientError, OSError, TimeoutError):
                await asyncio.sleep(0.05)
                continue
            if status == 202:
                self.accepted.add(text)
        self.done = True


Fault = Callable[[Daemon, Load], Awaitable[None]]


async def at_failpoint(daemon: Daemon, _load: Load) -> None:
    assert daemon.process
    await daemon.process.wait()
    daemon.environ.pop("ZAPD_FAILPOINT")
    await daemon.start()


async def half_way(load: Load) -> None:
    await eventually(lambda: len(load.accepted) >= MESSAGES // 2, within=60, every=0.005)


async def kill_everything(daemon: Daemon, load: Load) -> None:
    await half_way(load)
    await daemon.kill()
    await daemon.start()


async def kill_daemon(daemon: Daemon, load: Load) -> None:
    await half_way(load)
    await daemon.kill_only_daemon()
    await daemon.start()


async def kill_redis(daemon: Daemon, load: Load) -> None:
    await half_way(load)
    await daemon.kill_redis()


async def flushall(daemon: Daemon, load: Load) -> None:
    import redis

    await half_way(load)
    socket = next(daemon.state.rglob("*.sock"))
    with redis.Redis(unix_socket_path=str(socket)) as client:
        client.flushall()


async def terminate(daemon: Daemon, load: Load) -> None:
    await half_way(load)
    code = await daemon.stop()
    if code != 0:
        raise AssertionError(f"SIGTERM: exit {code}")
    await daemon.start()


async def one_run(fault: Fault, environ: dict[str, str]) -> Result:
    with tempfile.TemporaryDirectory(prefix="zapd-chaos-") as directory:
        async with Receiver() as receiver, Daemon(Path(directory), TOML, environ=environ) as daemon:
            connection = (await daemon.connect(webhook_url=receiver.url))["id"]
            load = Load(daemon, connection)
            async with asyncio.TaskGroup() as group:
                group.create_task(load.run(), name="load")
                await fault(daemon, load)
            healed = time.monotonic()

            async def missing() -> set[str]:
                return load.accepted - {entry["payload"]["text"] for entry in await daemon.ledger(connection)}

            async def none_missing() -> bool:
                return not await missing()

            try:
                await eventually(none_missing, within=90, every=0.1)
            except AssertionError:
                print(daemon.log_text()[-4000:])
            recovery = time.monotonic() - healed
            texts = Counter(entry["payload"]["text"] for entry in await daemon.ledger(connection))
            resent = await daemon.pages("/events?type=message.resending")
            return Result(
                accepted=len(load.accepted),
                lost=len(await missing()),
                doubled=sum(count - 1 for count in texts.values()),
                resent=len(resent),
                recovery=recovery,
            )


async def scenario(name: str, fault: Fault, environ: dict[str, str] | None = None) -> tuple[list[Row], bool]:
    results = [await one_run(fault, dict(environ or {})) for _ in range(RUNS)]
    lost, doubled = [float(r.lost) for r in results], [float(r.doubled) for r in results]
    ok = not any(lost) and all(r.doubled <= r.resent for r in results)
    verdict = "ok" if ok else "BROKEN"
    recovery = row(f"{name}: recovery", [r.recovery for r in results], "s")
    counts = f"lost {sum(lost):.0f}  doubled {sum(doubled):.0f}"
    print(f"{name:<28} {RUNS} runs  {counts}  recovery {recovery.value} s  {verdict}")
    return [row(f"{name}: lost", lost, "messages"), row(f"{name}: doubled", doubled, "messages"), recovery], ok


async def main() -> int:
    rows: list[Row] = []
    broken = 0
    scenarios: list[tuple[str, Fault, dict[str, str]]] = [
        (f"kill -9 at {name}", at_failpoint, {"ZAPD_FAILPOINT": f"{name}:40"}) for name in FAILPOINTS
    ]
    scenarios += [
        ("kill -9 zapd and Redis", kill_everything, {}),
        ("kill -9 zapd", kill_daemon, {}),
        ("kill -9 Redis", kill_redis, {}),
        ("FLUSHALL", flushall, {}),
        ("SIGTERM", terminate, {}),
    ]
    only = sys.argv[1:]
    for name, fault, environ in scenarios:
        if not only or any(word in name for word in only):
            more, ok = await scenario(name, fault, environ)
            rows += more
            broken += not ok
    save(Path("build/chaos.json"), rows)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
