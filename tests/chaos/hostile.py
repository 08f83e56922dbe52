"""Hostile receivers beside a healthy one: its webhooks come as fast as among healthy neighbours, and nothing is lost.

Twice the same load on a daemon with the same number of endpoints: first all of them healthy, then eleven of twelve
hostile (`zapd.cli.hostile`). Then the hostile ones heal, what they missed is recovered, and every event must have been
taken by every endpoint. A receiver that answers 200 has taken an event, however it goes on after that.
"""

import asyncio
import statistics
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench.rows import row
from tests.chaos.table import Line
from tests.support import eventually
from tests.support.daemon import Daemon
from tests.support.receiver import Receiver
from zapd.cli.hostile import MODES, HostileReceiver

MESSAGES = 400
PER_SECOND = 80.0
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
    quiet, noisy, lost = [], [], []
    for _ in range(runs):
        quiet.append((await _measured(hostile=False))[0])
        p99, missing = await _measured(hostile=True)
        noisy.append(p99)
        lost.append(missing)
    name, base = "hostile receivers", statistics.median(quiet)
    found = row(f"{name}: p99 of the healthy one", noisy, "ms", versus="healthy neighbours", base=base)
    slower = (found.ratio or 0) > ALLOWED
    return Line(
        fault=NUMBER,
        name=name,
        lost=lost,
        duplicated=[0] * runs,  # receivers drop doubles by webhook-id; what is told twice is counted elsewhere
        recoveries=[],
        more=[found],
        wrong=[f"the healthy one's p99 is {found.ratio} times that among healthy ones"] if slower else [],
    )


async def _measured(*, hostile: bool) -> tuple[float, int]:
    """The p99 (ms) from an event to the healthy receiver, and how many deliveries were lost in the end."""
    with tempfile.TemporaryDirectory(prefix="zapd-chaos-") as directory:
        async with Daemon(Path(directory), TOML) as daemon, Receiver() as healthy, _Others() as others:
            if not hostile:
                await others.heal()
            lags = _watch(healthy)
            connection = (await daemon.connect())["id"]
            begun = datetime.now(UTC).isoformat()
            ids = [await _endpoint(daemon, f"{others.base}/{mode}") for mode in MODES]
            await _endpoint(daemon, healthy.url)
            for n in range(MESSAGES):
                await daemon.send(connection, f"m{n}")
                await asyncio.sleep(1 / PER_SECOND)
            await eventually(lambda: len(lags) >= MESSAGES, within=60)
            await others.heal()
            return _p99(lags), await _missing_after_recovery(daemon, ids, begun)


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


if __name__ == "__main__":
    asyncio.run(_serve())
