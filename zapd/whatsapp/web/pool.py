"""The worker processes: who is where, how many there are, and which must end.

A worker that crashes takes its accounts' connections along, and nobody knows which of them was the cause. So accounts
of crashed workers share with fewer and fewer others: half as many after each crash, until the one at fault is alone and
the others are well. Crashes are forgotten after a while. A worker that hangs or grows is ended; one that grew is asked
to give its accounts away first.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from zapd.whatsapp.web.files import drop_old
from zapd.whatsapp.web.metrics import WorkerMetrics
from zapd.whatsapp.web.process import COMMAND, STOPPED, UNABLE, OnEvent, Worker, WorkerGone

log = structlog.get_logger("zapd.web_workers")

LOOK_EVERY = 1.0  #: seconds
CLEAN_EVERY = 3_600.0  #: seconds
KEEP_FOR = 30 * 86_400.0  #: seconds that keys which were set aside are kept
FORGIVEN_AFTER = 600.0  #: seconds after which a crash counts no more
HUNG, GREW = "hung", "grew"  #: why a worker was killed
TOO_MANY = 5  #: crashes in that time of an account that was alone
KILLED_AT = 2  #: times the memory limit: it grew faster than its accounts could leave
IDLE_FOR = 30.0  #: seconds that a worker without accounts is kept


class Crashes(Exception):
    """This account crashed its own worker again and again."""


class Lease:
    """A place in a worker for one account. Give it back with `release`."""

    def __init__(self, *, worker: Worker, sid: str, release: Callable[[], None]) -> None:
        self.worker = worker
        self._sid = sid
        self._release = release

    def listen(self, on_event: OnEvent) -> None:
        """Hear the account's events; also `gone` when the process ended, and `move` when it should go elsewhere."""
        self.worker.listen(self._sid, on_event)

    def release(self) -> None:
        """The account is closed, or the worker is gone. Safe to call twice."""
        self.worker.forget(self._sid)
        self._release()


class _Home:
    """A worker and who is in it."""

    def __init__(self, *, worker: Worker, places: int) -> None:
        self.worker = worker
        self.places = places
        self.sids: dict[str, Lease] = {}
        self.started: asyncio.Task[None] | None = None
        self.idle_since = time.monotonic()
        self.retiring = False

    def takes_more(self) -> bool:
        """Whether another account may move in."""
        closed = self.retiring or self.worker.pairing or self.worker.ending
        return not closed and len(self.sids) < self.places


class WorkerPool:
    """A Service. `directory` is where the accounts' files are; `memory_limit` in bytes, times in seconds.

    What was set aside there is deleted after `keep_for`.
    """

    name = "web_workers"

    def __init__(
        self,
        *,
        directory: Path,
        metrics: WorkerMetrics,
        command: Sequence[str] = COMMAND,
        sessions_per_worker: int = 12,
        memory_limit: int = 512 * 1024**2,
        hang_after: float = 30.0,
        keep_for: float = KEEP_FOR,
        idle_for: float = IDLE_FOR,
        look_every: float = LOOK_EVERY,
    ) -> None:
        self.directory = directory
        self._metrics = metrics
        self._command = command
        self._places = sessions_per_worker
        self._memory_limit = memory_limit
        self._hang_after = hang_after
        self._keep_for = keep_for
        self._idle_for = idle_for
        self._look_every = look_every
        self._homes: list[_Home] = []
        self._crashes: dict[str, deque[float]] = {}
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Watch the workers until `stop`."""
        clean_at = 0.0
        while not self._stopping.is_set():
            await self._look()
            if time.monotonic() >= clean_at:
                clean_at = time.monotonic() + CLEAN_EVERY
                await asyncio.to_thread(drop_old, self.directory, before=time.time() - self._keep_for)
            try:
                async with asyncio.timeout(self._look_every):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    async def stop(self) -> None:
        """End every worker."""
        self._stopping.set()
        homes, self._homes = self._homes, []
        await asyncio.gather(*(home.worker.stop() for home in homes), return_exceptions=True)
        await asyncio.gather(*(home.started for home in homes if home.started), return_exceptions=True)
        self._metrics.homes({})

    async def lease(self, sid: str, *, pairing: bool) -> Lease:
        """A place for an account; a new pairing gets a worker of its own, which ends with it.

        Raises WorkerGone when no worker can start, Crashes when this account is the reason that they end.
        """
        home = self._place(sid, pairing=pairing)
        lease = Lease(worker=home.worker, sid=sid, release=lambda: self._leave(home, sid))
        home.sids[sid] = lease
        try:
            assert home.started is not None
            await asyncio.shield(home.started)
        except BaseException:
            lease.release()
            raise
        return lease

    def _place(self, sid: str, *, pairing: bool) -> _Home:
        if self._stopping.is_set():
            raise WorkerGone("zapd is stopping")
        crashes = self._recent(sid)
        places = max(1, self._places >> crashes)
        if places == 1 and crashes >= TOO_MANY:
            raise Crashes
        if not pairing:
            for home in self._homes:
                if home.places == places and home.takes_more():
                    return home
        home = self._new_home(1 if pairing else places, pairing=pairing)
        self._homes.append(home)
        return home

    def _new_home(self, places: int, *, pairing: bool) -> _Home:
        worker = Worker(command=self._command, directory=self.directory, capacity=places, pairing=pairing)
        home = _Home(worker=worker, places=places)
        worker.gone.add_done_callback(lambda _: self._gone(home))
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o700)
        home.started = asyncio.create_task(self._start(home), name="web-worker:start")
        home.started.add_done_callback(lambda task: task.cancelled() or task.exception())  # told to who leased it
        self._metrics.started += 1
        return home

    async def _start(self, home: _Home) -> None:
        try:
            await home.worker.start()
        except BaseException:
            if home in self._homes:
                self._homes.remove(home)
            raise

    def _leave(self, home: _Home, sid: str) -> None:
        if home.sids.pop(sid, None) is None:
            return
        home.idle_since = time.monotonic()
        if home.worker.pairing:
            home.worker.kill(STOPPED)  # the library cannot end a pairing by itself

    def _gone(self, home: _Home) -> None:
        """A worker ended. If nobody wanted that, those in it are under suspicion."""
        if home in self._homes:
            self._homes.remove(home)
        how = home.worker.gone.result()
        if how == STOPPED:
            return
        self._metrics.ended("unable" if how.startswith(UNABLE) else how if how in (HUNG, GREW) else "crashed")
        for sid in () if how.startswith(UNABLE) else home.sids:
            self._crashes.setdefault(sid, deque(maxlen=TOO_MANY)).append(time.monotonic())

    def _recent(self, sid: str) -> int:
        crashes = self._crashes.get(sid)
        while crashes and crashes[0] < time.monotonic() - FORGIVEN_AFTER:
            crashes.popleft()
        if not crashes:
            self._crashes.pop(sid, None)
        return len(crashes or ())

    # --- what the watch does ---

    async def _look(self) -> None:
        now = time.monotonic()
        for home in list(self._homes):
            if home.started is None or not home.started.done() or home.worker.gone.done():
                continue
            silent = asyncio.get_running_loop().time() - home.worker.heard_at
            if silent > self._hang_after:
                home.worker.kill(HUNG)
            elif home.worker.rss > KILLED_AT * self._memory_limit:
                home.worker.kill(GREW)
            elif not home.sids and (home.retiring or now - home.idle_since > self._idle_for):
                self._homes.remove(home)
                await home.worker.stop()
            elif (home.worker.rss > self._memory_limit or home.worker.worn) and not home.retiring:
                self._retire(home)
        self._metrics.homes({home.worker.pid or 0: (home.worker.rss, len(home.sids)) for home in self._homes})

    def _retire(self, home: _Home) -> None:
        """It grew too much, or is short of files: nobody moves in, and all move out when their sends are answered."""
        log.warning("worker.retired", pid=home.worker.pid, rss=home.worker.rss, accounts=len(home.sids))
        home.retiring = True
        self._metrics.ended("retired")
        for sid in list(home.sids):
            home.worker.hear(sid, "move")
