"""`zapd doctor receiver`: does the running daemon withstand a hostile receiver."""

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import click

from zapd.cli.client import Client
from zapd.cli.hostile import MODES, HostileReceiver
from zapd.cli.options import client_command
from zapd.cli.output import Output

PATIENCE = 100.0  #: seconds that a ping may take: its receiver answers never, and zapd waits for its own timeout
GRACE = 5.0  #: seconds beyond zapd's timeout after which a POST must be over
MEMORY = 64 * 1024**2  #: bytes by which the daemon may grow meanwhile
HEALTH = 1.0  #: seconds that /health may take at most meanwhile

#: How each misbehaviour must end. None: as taken, because its status says so and the rest is not read.
EXPECTED: dict[str, tuple[str | None, ...]] = {
    "hang": ("timeout",),
    "slow-loris": ("timeout",),
    "slow-body": ("timeout",),
    "huge": (None,),
    "endless-chunks": (None,),
    "gzip-bomb": (None,),
    "endless-head": ("server_error",),
    "redirect": ("redirect",),
    "429-storm": ("client_error",),
    "flapping": ("connect", None),  # every other connection is taken
    "garbage": ("server_error",),
}
#: What must be refused when an endpoint is made: cloud metadata and this host, in several spellings.
FORBIDDEN = (
    "http://169.254.169.254/latest/meta-data/",
    "http://[::ffff:169.254.169.254]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[fd00:ec2::254]/",
    "http://100.100.100.200/",
    "http://192.0.0.192/",
    "http://2852039166/",
    "http://0xa9fea9fe/",
    "http://0251.0376.0251.0376/",
    "http://metadata@169.254.169.254/",
)


@dataclass(frozen=True)
class Finding:
    """One check."""

    check: str
    ok: bool
    seconds: float
    found: str

    def row(self) -> dict[str, Any]:
        """For the table."""
        return {
            "check": self.check,
            "result": "ok" if self.ok else "BROKEN",
            "seconds": f"{self.seconds:.1f}",
            "found": self.found,
        }


@click.command()
@click.option("--serve", is_flag=True, help="Only serve; for any sender of webhooks. Ctrl-C stops it.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where the receiver listens.")
@click.option("--port", default=0, help="0 takes a free one.")
@client_command
def receiver(api: Client, out: Output, serve: bool, host: str, port: int) -> None:
    """Let a hostile receiver loose on the running daemon, and see that its limits hold.

    It makes an endpoint for each misbehaviour, pings it, and deletes it. zapd must reach HOST: loopback is open while
    zapd listens on loopback only.
    """
    if serve:
        return _serve(host, port)
    with _Running(host, port) as hostile:
        findings = _examined(api.patient(PATIENCE), hostile)
    if out.as_json:
        out.json([finding.row() for finding in findings])
    else:
        out.table([finding.row() for finding in findings], "check", "result", "seconds", "found")
    broken = sum(not finding.ok for finding in findings)
    if broken:
        raise click.ClickException(f"{broken} of {len(findings)} limits do not hold")
    return None


def _examined(api: Client, hostile: HostileReceiver) -> list[Finding]:
    findings = [_refused(api, url) for url in FORBIDDEN]
    before = _memory(api)
    with _HealthWatch(api) as health, ThreadPoolExecutor(len(MODES)) as threads:
        findings += threads.map(lambda mode: _pinged(api, hostile, mode), MODES)
    grown = _memory(api) - before
    findings.append(Finding("memory", grown <= MEMORY, 0.0, f"grew by {max(0, grown) / 1024**2:.0f} MiB"))
    findings.append(Finding("/health meanwhile", health.worst <= HEALTH, health.worst, f"{health.looks} looks"))
    return findings


def _refused(api: Client, url: str) -> Finding:
    try:
        made = api.call("POST", "/endpoints", {"url": url, "types": ["doctor.none"]}).data
    except click.ClickException as error:
        return Finding(f"refuses {url}", "url" in error.message, 0.0, error.message)
    api.call("DELETE", f"/endpoints/{made['id']}")
    return Finding(f"refuses {url}", False, 0.0, "an endpoint was made")


def _pinged(api: Client, hostile: HostileReceiver, mode: str) -> Finding:
    started = time.monotonic()
    try:
        made = api.call("POST", "/endpoints", {"url": hostile.url(mode), "types": ["doctor.none"]}).data
    except click.ClickException as error:
        return Finding(mode, False, 0.0, error.message)
    try:
        tried = api.call("POST", f"/endpoints/{made['id']}/ping").data["right"]
    except click.ClickException as error:
        return Finding(mode, False, time.monotonic() - started, error.message)
    finally:
        api.call("DELETE", f"/endpoints/{made['id']}")
    seconds = tried["duration_ms"] / 1000
    found = f"{tried['failure'] or 'taken'}: {tried['error'] or tried['status']}"
    ok = tried["failure"] in EXPECTED[mode] and (tried["failure"] == "timeout" or seconds < GRACE)
    return Finding(mode, ok, seconds, found)


def _memory(api: Client) -> float:
    """Bytes in use, from the daemon's own metrics."""
    text = api.call("GET", "/metrics", accept="text/plain").body.decode()
    lines = [line for line in text.splitlines() if line.startswith("process_resident_memory_bytes ")]
    return float(lines[0].split(" ")[1]) if lines else 0.0


class _HealthWatch:
    """Asks for /health ten times a second; `worst` is the longest that it took, in seconds."""

    def __init__(self, api: Client) -> None:
        self.worst = 0.0
        self.looks = 0
        self._api = api
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="health")

    def __enter__(self) -> "_HealthWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            started = time.monotonic()
            try:
                self._api.call("GET", "/health")
            except click.ClickException:
                self.worst = PATIENCE
            self.worst = max(self.worst, time.monotonic() - started)
            self.looks += 1


class _Running:
    """A hostile receiver on a loop in a thread of its own."""

    def __init__(self, host: str, port: int) -> None:
        self._hostile = HostileReceiver(host=host, port=port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="hostile", daemon=True)

    def __enter__(self) -> HostileReceiver:
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._hostile.__aenter__(), self._loop).result()
        except OSError as error:
            raise click.ClickException(f"the receiver cannot listen: {error}") from None
        return self._hostile

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._hostile.__aexit__(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _serve(host: str, port: int) -> None:
    with _Running(host, port) as hostile:
        modes: Sequence[str] = ("ok", *MODES)
        for mode in modes:
            click.echo(hostile.url(mode))
        click.echo("Ctrl-C stops it", err=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            click.echo(err=True)
