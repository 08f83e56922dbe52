"""The process around the app: one instance per state directory, signals, systemd notification, exit codes.

TERM or INT drains to the deadline, a second one hands back at once; USR1 pauses all queues and USR2 resumes them; HUP
validates and reloads the configuration, the old one stays on an error; QUIT writes tasks and state to the log.
"""

import asyncio
import fcntl
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from pathlib import Path

import structlog
import uvloop
from prometheus_client.registry import Collector

from zapd.app import App
from zapd.config import Config
from zapd.errors import ConfigError, Unavailable
from zapd.telemetry.notify import Notifier

log = structlog.get_logger("zapd.daemon")

# sysexits.h; systemd does not restart on 64 and 78 (systemd/zapd.service)
OK, MISSING_RESOURCE, BROKEN, WEDGED, BAD_CONFIG = 0, 69, 70, 75, 78
STATUS_EVERY = 10.0  #: seconds between STATUS= lines
#: Seconds after which a thread that waits for Python's lock gets it. The SQL thread needs it once per statement; with
#: Python's default of 5 ms a commit of ten statements beside a busy loop takes 50 ms.
SWITCH_INTERVAL = 0.00005
#: Thousands of messages under way are thousands of live objects; with Python's default of 700 the collector walked them
#: so often that it took a quarter of the processor time. Nothing here leans on it: hot paths make no cycles.
GC_THRESHOLDS = (50_000, 50, 100)
PRIVATE = 0o077  #: umask: the database holds what people write to each other, also in a directory that others may enter
START_WITHIN = 1800.0  #: seconds that a start may ask systemd for
STUCK_AFTER = 20.0  #: seconds without a step of the dispatcher after which the watchdog is not fed any more


def run(
    config: Config,
    *,
    reload: Callable[[], Config],
    on_ready: Callable[[], None] = lambda: None,
    collectors: Sequence[Collector] = (),
) -> int:
    """Run until a signal says stop; returns the exit code.

    `reload` reads and checks the configuration anew; `on_ready` is called once, when requests are answered;
    `collectors` are numbers that others count, for /metrics.
    """
    sys.setswitchinterval(SWITCH_INTERVAL)
    os.umask(PRIVATE)
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        config.state.dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = lock_state(config.state.dir)
    except OSError as error:
        log.error("start.failed", reason=f"the state directory cannot be used: {error}")
        return MISSING_RESOURCE
    if lock is None:
        log.error("start.refused", reason=f"another zapd runs on {config.state.dir.absolute()}")
        return MISSING_RESOURCE
    try:
        return uvloop.run(Daemon(config=config, reload=reload, on_ready=on_ready, collectors=collectors).run())
    except ConfigError:
        raise
    except Exception as error:  # the process's boundary: the operator gets a line and a code, systemd starts it anew
        log.exception("daemon.broken", reason=f"{type(error).__name__}: {error}")
        return BROKEN
    finally:
        os.close(lock)


def lock_state(directory: Path) -> int | None:
    """Take the state directory for this process: an open descriptor, or None when another process has it.

    The kernel drops the lock with the process, also at kill -9. It proves that an earlier instance is dead.
    """
    descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


class Daemon:
    """One run of the process."""

    def __init__(
        self,
        *,
        config: Config,
        reload: Callable[[], Config],
        on_ready: Callable[[], None],
        collectors: Sequence[Collector],
    ) -> None:
        self._config = config
        self._reload = reload
        self._on_ready = on_ready
        self._collectors = collectors
        self._notifier = Notifier.from_environment(os.environ)
        self._stop_asked = asyncio.Event()
        self._stop_now = asyncio.Event()
        self._actions: set[asyncio.Task[None]] = set()
        self._code = OK
        self._born = time.monotonic()

    async def run(self) -> int:
        """Start, wait for the end, drain. Returns the exit code."""
        try:
            app = App(config=self._config, on_failed=self._part_failed, collectors=self._collectors)
        except OSError as error:  # a key file that it may not read
            log.error("start.failed", reason=str(error))
            return MISSING_RESOURCE
        self._listen_to_signals(app)  # before the start: a stop that comes meanwhile drains as soon as it is over
        patience = asyncio.create_task(self._ask_for_patience(app), name="daemon:patience")
        try:
            await app.lifecycle.start(safe(inherited_sockets(), loopback_only=self._config.http.loopback_only))
        except ConfigError as error:
            log.error("start.failed", reason=str(error))
            await app.lifecycle.close()
            return BAD_CONFIG
        except (OSError, Unavailable) as error:
            log.error("start.failed", reason=str(error))
            await app.lifecycle.close()
            return MISSING_RESOURCE
        except Exception:  # whatever it was: what has started must end, the embedded Redis first of all
            await app.lifecycle.close()
            raise
        finally:
            patience.cancel()
        self._notifier.send("READY=1", f"STATUS={app.summary()}")
        log.info("daemon.ready", listen=self._config.http.listen, state_dir=str(self._config.state.dir.absolute()))
        self._on_ready()
        gc.freeze()  # what is here now stays: the collector need not walk it again and again
        async with asyncio.TaskGroup() as group:
            watchdog = group.create_task(self._feed_watchdog(app), name="daemon:watchdog")
            await self._stop_asked.wait()
            await self._drain(app)
            watchdog.cancel()
        log.info("daemon.stopped", code=self._code)
        return self._code

    def _part_failed(self, name: str, reason: str) -> None:
        log.error("daemon.part_failed", service=name, reason=reason)
        self._code = WEDGED
        self._stop_asked.set()

    # --- signals ---

    def _listen_to_signals(self, app: App) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGUSR1, self._act, "pause", app.lifecycle.pause)
        loop.add_signal_handler(signal.SIGUSR2, self._act, "resume", app.lifecycle.resume)
        loop.add_signal_handler(signal.SIGHUP, self._act, "reload", lambda: self._reload_config(app))
        loop.add_signal_handler(signal.SIGQUIT, self._dump, app)

    def _stop(self) -> None:
        if self._stop_asked.is_set():
            self._stop_now.set()
        self._stop_asked.set()

    def _act(self, name: str, action: Callable[[], Awaitable[None]]) -> None:
        log.info("signal.received", action=name)
        task = asyncio.ensure_future(self._guarded(name, action))
        self._actions.add(task)
        task.add_done_callback(self._actions.discard)

    @staticmethod
    async def _guarded(name: str, action: Callable[[], Awaitable[None]]) -> None:
        try:
            await action()
        except Exception:  # a signal must never end the daemon
            log.exception("signal.failed", action=name)

    async def _reload_config(self, app: App) -> None:
        try:
            config = await asyncio.to_thread(self._reload)
            await app.apply(config)
        except ConfigError as error:
            app.reloaded(ok=False)
            log.error("config.kept", problems=list(error.problems))
            return
        app.reloaded(ok=True)
        log.info("config.reloaded")

    @staticmethod
    def _dump(app: App) -> None:
        for task in asyncio.all_tasks():
            frames = [f"{f.f_code.co_filename}:{f.f_lineno} {f.f_code.co_name}" for f in task.get_stack(limit=8)]
            log.warning("dump.task", task=task.get_name(), stack=frames)
        log.warning("dump.state", summary=app.summary(), services=app.services())

    # --- the end ---

    async def _drain(self, app: App) -> None:
        deadline = self._config.drain.deadline
        self._notifier.send("STOPPING=1", f"EXTEND_TIMEOUT_USEC={round((deadline + 20) * 1e6)}")
        log.info("daemon.draining", deadline=deadline)
        await app.lifecycle.stop(deadline=deadline, now=self._stop_now)

    async def _ask_for_patience(self, app: App) -> None:
        """A large database takes longer to migrate than systemd waits; killed over it, it would begin anew."""
        while time.monotonic() - self._born < START_WITHIN:
            await asyncio.sleep(STATUS_EVERY)
            self._notifier.send(f"EXTEND_TIMEOUT_USEC={round(3 * STATUS_EVERY * 1e6)}", f"STATUS={app.summary()}")

    async def _feed_watchdog(self, app: App) -> None:
        """Tell systemd that the loop and the dispatcher live. Redis or SQL being away is no reason to be restarted."""
        every = min(self._notifier.watchdog_every or STATUS_EVERY, STATUS_EVERY)
        turns, moved_at = app.lifecycle.turns, time.monotonic()
        while True:
            await asyncio.sleep(every)
            if app.lifecycle.turns != turns or app.lifecycle.draining:  # a drain has a deadline of its own
                turns, moved_at = app.lifecycle.turns, time.monotonic()
            if time.monotonic() - moved_at < STUCK_AFTER:
                self._notifier.send("WATCHDOG=1", f"STATUS={app.summary()}")
            else:
                log.error("watchdog.not_fed", stuck_for=round(time.monotonic() - moved_at))


def inherited_sockets() -> list[socket.socket]:
    """Listeners that systemd opened for us (socket activation): nobody is refused while the daemon is replaced."""
    count = int(os.environ.pop("LISTEN_FDS", "0"))
    mine = os.environ.pop("LISTEN_PID", "") == str(os.getpid())
    os.environ.pop("LISTEN_FDNAMES", None)
    if not mine:
        return []
    sockets = []
    for descriptor in range(3, 3 + count):
        os.set_inheritable(descriptor, False)  # the embedded Redis must not hold the listener open
        listener = socket.socket(fileno=descriptor)
        listener.setblocking(False)
        sockets.append(listener)
    return sockets


def safe(listeners: list[socket.socket], *, loopback_only: bool) -> list[socket.socket]:
    """The same sockets. Raises ConfigError when strangers can reach one of them and [http] listen says otherwise.

    What [http] listen says decides whether webhooks may go to this machine and whether /metrics asks for a key.
    """
    for listener in listeners:
        address = listener.getsockname()
        inside = listener.family == socket.AF_UNIX or ip_address(address[0].partition("%")[0]).is_loopback
        if loopback_only and not inside:
            raise ConfigError(f"http.listen = must be what systemd's socket listens on, which is {address[0]}")
    return listeners
