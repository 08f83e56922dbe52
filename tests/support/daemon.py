"""The real daemon as a subprocess, and a client that talks to it as a user does."""

import asyncio
import io
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp

from tests.support import eventually

COMMAND = [str(Path(sys.executable).parent / "zapd")]

#: A daemon that names callables of `tests` must find ours: a wheel that is installed (linkpreview) brings a package of
#: that name too.
OWN_TESTS = {"PYTHONPATH": str(Path(__file__).parents[2])}


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


class Daemon:
    """`async with Daemon(directory, toml) as daemon:` starts it and waits until it is ready; leaving kills it."""

    def __init__(
        self, state: Path, toml: str = "", *, environ: Mapping[str, str] | None = None, host: str = "127.0.0.1"
    ) -> None:
        self.state = state
        self.host = host
        self.prefix: list[str] = []  #: a program that runs the daemon as its arguments say
        self.pass_fds: tuple[int, ...] = ()
        self.port = free_port()
        self.config = state / "zapd.toml"
        self.log = state / "zapd.log"
        self.environ = {**os.environ, **OWN_TESTS, **(environ or {})}
        self.process: asyncio.subprocess.Process | None = None
        state.mkdir(parents=True, exist_ok=True)
        self.config.write_text(toml)
        self._http: aiohttp.ClientSession | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        return (self.state / "admin.key").read_text().strip()

    def log_text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def log_lines(self) -> list[dict[str, Any]]:
        """The log's JSON lines."""
        lines = []
        for line in self.log_text().splitlines():
            with suppress(ValueError):
                lines.append(json.loads(line))
        return lines

    async def start(self, within: float = 30.0) -> "Daemon":
        arguments = ["run", "--config", str(self.config), "--state-dir", str(self.state)]
        arguments += ["--listen", f"{self.host}:{self.port}"]
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.prefix,
                *COMMAND,
                *arguments,
                stdout=log,
                stderr=log,
                env=self.environ,
                start_new_session=True,
                pass_fds=self.pass_fds,
            )
        if self._http is None:
            self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
        await eventually(self._ready, within=within)
        return self

    async def _ready(self) -> bool:
        assert self.process
        if self.process.returncode is not None:
            raise AssertionError(f"the daemon ended with {self.process.returncode}:\n{self.log_text()[-3000:]}")
        try:
            return (await self.call("GET", "/ready"))[0] == 200
        except (aiohttp.ClientError, OSError):
            return False

    async def call(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None, raw: bool = False
    ) -> tuple[int, Any]:
        """Status and decoded answer (bytes with `raw`). A body of bytes goes out as it is."""
        assert self._http
        head = {"Content-Type": "application/json", **(headers or {})}
        if (self.state / "admin.key").exists():
            head.setdefault("Authorization", f"Bearer {self.key}")
        data: Any = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        if data and len(data) > 1 << 20:
            data = io.BytesIO(data)  # aiohttp warns of large bytes
        async with self._http.request(method, self.url + path, data=data, headers=head) as answer:
            content = await answer.read()
            if raw:
                return answer.status, content
            try:
                return answer.status, json.loads(content or b"null")
            except ValueError:
                return answer.status, content

    async def connect(self, **body: Any) -> dict[str, Any]:
        """A connected sandbox connection."""
        status, created = await self.call("POST", "/connections", {"transport": "sandbox", "label": "test", **body})
        assert status == 202, created

        async def connected() -> bool:
            return bool((await self.call("GET", f"/connections/{created['id']}"))[1].get("state") == "connected")

        await eventually(connected, within=20)
        result: dict[str, Any] = created
        return result

    async def send(self, connection: str, text: str, to: str = "5511999998888", **more: Any) -> dict[str, Any]:
        """An accepted text message."""
        body = {"to": to, "type": "text", "payload": {"text": text}, **more}
        status, answer = await self.call("POST", f"/connections/{connection}/send", body)
        assert status == 202, answer
        result: dict[str, Any] = answer
        return result

    async def pages(self, path: str) -> list[dict[str, Any]]:
        """Every row of a list, page by page."""
        rows: list[dict[str, Any]] = []
        after = ""
        while True:
            mark = "&" if "?" in path else "?"
            status, page = await self.call("GET", f"{path}{mark}limit=100" + (f"&after={after}" if after else ""))
            assert status == 200, page
            rows += page["data"]
            after = page.get("next") or ""
            if not after:
                return rows

    async def messages(self, connection: str, direction: str = "outbound") -> list[dict[str, Any]]:
        return await self.pages(f"/connections/{connection}/messages?direction={direction}")

    async def ledger(self, connection: str) -> list[dict[str, Any]]:
        """What truly arrived in the simulated network."""
        return await self.pages(f"/sandbox/{connection}/ledger")

    async def status_of(self, message: str) -> str:
        return str((await self.call("GET", f"/messages/{message}"))[1].get("status"))

    def signal(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)

    async def kill(self) -> None:
        """kill -9 of the daemon and of what it started, as a power cut would."""
        assert self.process
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()
        await self.kill_redis()

    async def kill_redis(self) -> None:
        """kill -9 of the embedded Redis, wherever it is in the process tree."""
        killed = set(self.redis_pids())
        for pid in killed:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await eventually(lambda: killed.isdisjoint(self.redis_pids()))  # a new one may be there before we look

    async def kill_only_daemon(self) -> None:
        """kill -9 of the daemon alone: its Redis lives on."""
        assert self.process
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)
        await self.process.wait()

    def redis_pids(self) -> list[int]:
        """Processes whose command line names this state directory and a redis-server."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    command = (entry / "cmdline").read_bytes()
                    state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
                    cwd = os.readlink(entry / "cwd")
                    ours = str(self.state).encode() in command or cwd.startswith(str(self.state))
                    if ours and b"redis-server" in command and state != "Z":
                        found.append(int(entry.name))
        return found

    async def stop(self, within: float = 40.0) -> int:
        """SIGTERM; returns the exit code."""
        self.signal(signal.SIGTERM)
        return await self.wait(within)

    async def wait(self, within: float = 40.0) -> int:
        assert self.process
        async with asyncio.timeout(within):
            return await self.process.wait()

    async def __aenter__(self) -> "Daemon":
        try:
            return await self.start()
        except BaseException:
            await self.close()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            print(self.log_text()[-6000:])
        await self.close()

    async def close(self) -> None:
        if self.process and self.process.returncode is None:
            await self.kill()
        await self.kill_redis()
        if self._http:
            await self._http.close()
