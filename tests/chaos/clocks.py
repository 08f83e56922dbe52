"""21, the whole daemon's schedules: its wall clock jumps, also over the nights in which clocks change.

libfaketime moves the clock of zapd, not that of Redis; what measures durations goes on as it is.
"""

import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos.engine import FAKETIME
from tests.chaos.table import Line
from tests.support import eventually
from tests.support.daemon import Daemon
from tests.support.redis_server import RedisServer, embedded_binary

NUMBER = 21
NAME = "schedules over clock jumps and DST"
#: In Berlin 02:30 does not exist on the first of these nights (it fires when the hour is over, at 01:00 UTC) and comes
#: twice on the second (at 00:30 and 01:30 UTC; only the first counts).
SPRING, AUTUMN = "2026-03-29", "2026-10-25"
#: To where the clock jumps, and how often each schedule must have fired in all some seconds later.
STEPS = (
    (f"{SPRING}T00:58:55", {"night": 0, "morning": 0}),
    (f"{SPRING}T00:59:58", {"night": 1, "morning": 1}),
    (f"{SPRING}T02:00:05", {"night": 1, "morning": 1}),
    (f"{SPRING}T00:59:58", {"night": 1, "morning": 1}),  # back: what fired does not fire again
    (f"{AUTUMN}T00:29:58", {"night": 2, "morning": 1}),
    (f"{AUTUMN}T01:29:58", {"night": 2, "morning": 1}),
    (f"{AUTUMN}T01:59:58", {"night": 2, "morning": 2}),
    (f"{AUTUMN}T02:59:58", {"night": 2, "morning": 2}),
)
SCHEDULES = {"night": "30 2 * * *", "morning": "0 3 * * *"}


async def schedules_over_clock_jumps(runs: int) -> Line:
    """Every slot fires once: none twice when the clock goes back, the one of the missing hour when it is over."""
    wrong: list[str] = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory(prefix="zapd-chaos-") as directory:
            redis = RedisServer(Path(directory) / "redis", embedded_binary()).start()
            try:
                wrong += await _one(Path(directory), redis.url)
            finally:
                redis.kill()
    none = [0] * runs
    return Line(fault=NUMBER, name=NAME, lost=none, duplicated=none, recoveries=[], wrong=wrong)


async def _one(directory: Path, redis_url: str) -> list[str]:
    clock = directory / "clock"
    _jump(clock, f"{SPRING}T00:50:00")
    faked = {"LD_PRELOAD": str(FAKETIME), "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1"}
    environ = {**faked, "FAKETIME_DONT_FAKE_MONOTONIC": "1", "ZAPD_REDIS__URL": redis_url}
    async with Daemon(directory, environ=environ) as daemon:
        for name, line in SCHEDULES.items():
            body = {"id": name, "cron": line, "timezone": "Europe/Berlin", "emit": f"chaos.{name}"}
            status, answer = await daemon.call("POST", "/schedules", body)
            assert status == 201, answer
        wrong = []
        for to, expected in STEPS:
            _jump(clock, to)
            found = await _fires_after(daemon, seconds=8)
            if found != expected:
                wrong.append(f"{to}: {found} instead of {expected}")
        return wrong


def _jump(clock: Path, to: str) -> None:
    offset = datetime.fromisoformat(to).replace(tzinfo=UTC).timestamp() - time.time()
    clock.write_text(f"{offset:+.3f}\n")


async def _fires_after(daemon: Daemon, *, seconds: float) -> dict[str, int]:
    """How often each has fired when all has had its time: the daemon looks every 5 s."""
    since = time.monotonic()
    await eventually(lambda: time.monotonic() - since > seconds, within=seconds + 5, every=0.2)
    found = {name: (await daemon.call("GET", f"/schedules/{name}"))[1] for name in SCHEDULES}
    return {name: schedule["fires"] for name, schedule in found.items()}
