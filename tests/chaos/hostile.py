"""Hostile receivers beside a healthy one: its webhooks come as fast as among healthy neighbours, and nothing is lost.

Two daemons with the same twelve endpoints get the same load in turns, a phase each: one's are all healthy, of the
other's eleven are hostile (`zapd.cli.hostile`). The turns are short, so that a machine that is busy for a while is so
for both. Then the hostile ones heal, what they missed is recovered, and every event must have been taken by every
endpoint. A receiver that answers 200 has taken an event,
however it goes on after that.
"""

import asyncio
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench.rows import row
from tests.chaos.table import Line
from tests.support import eventually
from tests.support.daemon import Daemon
from tests.support.receiver import Receiver
from zapd.cli.hostile import MODES, HostileReceiver

PHASES = 32  #: of each daemon in a run
PHASE = 30  #: messages
PER_SECOND = 20.0
MESSAGES = PHASES * PHASE  #: of each daemon in a run
ALLOWED = 1.2  #: times the p99 among healthy neighbours
TOML = """
[sandbox]
pair_after = "0s"
latency = "0s"
auto_reply = false
[limits]
session_per_minute = 600000
session_burst = 1000
[webhooks]
timeout = "2s"
[queues."webhook:delivery"]
backoff = "1s"
"""


NUMBER = 32  #: in the catalogue of faults


async def hostile_receivers(*, runs: int) -> Line:
    """The scenario."""
    quiet: list[list[float]] = []
    noisy: list[list[float]] = []
    lost = []
    for _ in range(runs):
        among_healthy, among_hostile, missing = await _run()
        quiet.append(among_healthy)
        noisy.append(among_hostile)
        lost.append(missing)
    name, versus = "hostile receivers", "among healthy neighbours"
    base = statistics.median(map(_p99, quiet))
    found = row(f"{name}: p99 of the healthy one", [*map(_p99, noisy)], "ms", versus=versus, base=base)
    middle = row(
        f"{name}: median of the healthy one",
        [*map(_median, noisy)],
        "ms",
        versus=versus,
        base=statistics.median(map(_median, quiet)),
    )
    slower = (found.ratio or 0) > ALLOWED
    print(f"    p99 {base:.1f} ms {versus}, {found.value:.1f} ms among hostile ones: {found.ratio} times")
    return Line(
        fault=NUMBER,
        name=name,
        lost=lost,
        duplicated=[0] * runs,  # receivers drop doubles by webhook-id; what is told twice is counted elsewhere
        recoveries=[],
        more=[row(f"{name}: p99 {versus}", [*map(_p99, quiet)], "ms"), found, middle],
        wrong=[f"the healthy one's p99 is {found.ratio} times that among healthy ones"] if slower else [],
    )


async def _run() -> tuple[list[float], list[float], int]:
    """The lags (s) among healthy and among hostile neighbours, and how many deliveries were lost in the end."""
    async with _Side() as quiet, _Side() as noisy:
        await quiet.others.heal()
        for _ in range(PHASES):
            await quiet.phase()
            await noisy.phase()
        await noisy.others.heal()
        return quiet.lags, noisy.lags, await _missing_after_recovery(noisy.daemon, noisy.ids, noisy.begun)


class _Side:
    """A daemon with its healthy receiver and the eleven others."""

    def __init__(self) -> None:
        self.lags: list[float] = []
        self.ids: list[str] = []  #: the endpoints of the others
        self.begun = datetime.now(UTC).isoformat()
        self.others = _Others()
        self._sent = 0
        self._connection = ""
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "_Side":
        async with AsyncExitStack() as stack:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="zapd-chaos-"))
            self.daemon = await stack.enter_async_context(Daemon(Path(directory), TOML))
            healthy = await stack.enter_async_context(Receiver())
            await stack.enter_async_context(self.others)
            self.lags = _watch(healthy)
            self._connection = (await self.daemon.connect())["id"]
            self.ids = [await _endpoint(self.daemon, f"{self.others.base}/{mode}") for mode in MODES]
            await _endpoint(self.daemon, healthy.url)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def phase(self) -> None:
        """Send PHASE messages at the pace, and wait until the healthy one has heard of all of them."""
        for n in range(PHASE):
            await self.daemon.send(self._connection, f"m{self._sent + n}")
            await asyncio.sleep(1 / PER_SECOND)
        self._sent += PHASE
        await eventually(lambda: len(self.lags) >= self._sent, within=60)


class _Others:
    """The hostile receiver in a process of its own: what it does must not slow down who measures."""

    def __init__(self) -> None:
        self.base = ""
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> "_Others":
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.chaos.hostile", stdin=pipe, stdout=pipe
        )
        self.base = await self._line()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process
        self._process.kill()
        await self._process.wait()

    async def heal(self) -> None:
        """From now on it takes everything."""
        assert self._process
        assert self._process.stdin
        self._process.stdin.write(b"heal\n")
        assert await self._line() == "healed"

    async def _line(self) -> str:
        assert self._process
        assert self._process.stdout
        return (await self._process.stdout.readline()).decode().strip()


async def _serve() -> None:
    async with HostileReceiver() as receiver:
        print(receiver.base, flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            receiver.healed = True
            print("healed", flush=True)


def _watch(receiver: Receiver) -> list[float]:
    """Seconds from each event to its arrival, as they come."""
    from aiohttp import web

    lags: list[float] = []

    async def respond(request: web.Request) -> web.Response:
        at = datetime.fromisoformat((await request.json())["timestamp"])
        lags.append((datetime.now(UTC) - at).total_seconds())
        return web.Response(status=204)

    receiver.respond = respond
    return lags


async def _endpoint(daemon: Daemon, url: str) -> str:
    status, made = await daemon.call("POST", "/endpoints", {"url": url, "types": ["message.sent"]})
    assert status == 201, made
    return str(made["id"])


async def _missing_after_recovery(daemon: Daemon, ids: list[str], begun: str) -> int:
    """Recover until nothing is left to be recovered or waited for; what is not delivered then is lost."""
    missing = 0
    for endpoint in ids:
        await daemon.call("PATCH", f"/endpoints/{endpoint}", {"enabled": True})
        await eventually(_recovered(daemon, endpoint, begun), within=90, every=0.5)
        states = [d["state"] for d in await daemon.pages(f"/deliveries?endpoint_id={endpoint}")]
        missing += MESSAGES - states.count("delivered")
    return missing


def _recovered(daemon: Daemon, endpoint: str, begun: str) -> Callable[[], Any]:
    async def look() -> bool:
        what = {"since": begun, "only_failed": False}
        _, found = await daemon.call("POST", f"/endpoints/{endpoint}/recover", what)
        states = {d["state"] for d in await daemon.pages(f"/deliveries?endpoint_id={endpoint}")}
        return found["failed"] + found["missed"] == 0 and states == {"delivered"}

    return look


def _p99(lags: list[float]) -> float:
    return sorted(lags)[len(lags) * 99 // 100] * 1000


def _median(lags: list[float]) -> float:
    return statistics.median(lags) * 1000


if __name__ == "__main__":
    asyncio.run(_serve())
