"""The group commit: many callers' changes in one transaction, because a commit costs a disk flush whatever is in it.

While one transaction runs, callers collect for the next. A lone caller waits for nobody: it commits at once.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence

import structlog

from zapd.errors import Unavailable
from zapd.store.batch import Commit, Result, write
from zapd.store.commands import Change, Row, Statements, Update
from zapd.store.database import Database
from zapd.store.link import Link, Work
from zapd.store.metrics import StoreMetrics
from zapd.store.sealing import Sealing

log = structlog.get_logger("zapd.store")

MAX_WAITING = 4_096  #: callers in the queue; more wait outside it
MAX_BATCH = 1_024  #: changes in one transaction, unless one caller alone brings more
FEW = 3  #: callers in one transaction; after more, SQLite's thread pauses for as long as the transaction took
COLLECT = 0.004  #: seconds that it pauses at most: larger transactions write the same pages less often


class _Caller:
    """A commit, and the future that its caller awaits."""

    __slots__ = ("commit", "done")

    def __init__(self, commit: Commit, done: asyncio.Future[Row | None]) -> None:
        self.commit = commit
        self.done = done

    def settle(self, result: Result) -> None:
        if self.done.done():  # the caller was cancelled; its change stands
            return
        if isinstance(result, Exception):
            self.done.set_exception(result)
        else:
            self.done.set_result(result)


class Writer:
    """The only writer of the database. A Service; commits wait until it runs."""

    name = "writer"

    def __init__(self, *, database: Database, metrics: StoreMetrics | None = None) -> None:
        self._link: Link = database.link("writer")
        self._sealing = database.sealing
        self._statements = Statements(dialect=database.dialect)
        self._metrics = metrics
        self._queue: deque[_Caller] = deque()
        self._under_way: list[_Caller] = []  # the callers of the transaction that runs
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._writing = asyncio.Lock()
        self._stopping = False
        if metrics:
            metrics.writer_waiting.set_function(lambda: self.waiting)

    @property
    def waiting(self) -> int:
        """How many callers wait for the next transaction."""
        return len(self._queue)

    async def commit(self, guard: Change, *then: Change) -> Row | None:
        """Do the guard and, only if it took effect, the rest; all of it or nothing. Returns after COMMIT.

        The guard took effect when its row was inserted, updated or deleted. Returns its row (`returning` of the
        command, else its key), or None when it matched nothing. Changes of one row happen in the given order.
        Cancelling the caller does not undo the change.
        Raises Conflict when a unique index refuses it, Unavailable when the database is away; both mean that
        nothing happened, except that a PostgreSQL lost during COMMIT may have kept the change.
        """
        row = await (await self._put(Commit(guard, then)))
        if row is None or self._sealing is None or not isinstance(guard.command, Update):
            return row
        return (await self._sealing.opened(guard.command.returning, [row], guard.command))[0]

    async def commit_each(self, guards: Sequence[Change]) -> list[Row | BaseException | None]:
        """Each as a commit of its own, of which many share a transaction: its row, None, or the error it met.

        For thousands at once: no task is made for each.
        """
        answers: list[Row | BaseException | None] = []
        for start in range(0, len(guards), MAX_BATCH):
            asked = [await self._put(Commit(guard, ())) for guard in guards[start : start + MAX_BATCH]]
            answers += await asyncio.gather(*asked, return_exceptions=True)
        return answers

    async def commit_all(self, changes: Sequence[Change]) -> None:
        """Do all the changes, or none. Raises as `commit`."""
        if changes:
            await (await self._put(Commit(None, changes)))

    async def run(self) -> None:
        """Commit what callers bring, until `stop`."""
        while not self._stopping:
            await self._wake.wait()
            self._wake.clear()
            await self._flush()

    async def stop(self) -> None:
        """Commit what waits, then refuse."""
        self._stopping = True
        self._wake.set()
        await self._flush()
        await self._link.close()

    async def _put(self, commit: Commit) -> asyncio.Future[Row | None]:
        if self._sealing is not None:
            commit = await self._sealed(commit, self._sealing)
        while len(self._queue) >= MAX_WAITING and not self._stopping:
            self._room.clear()
            await self._room.wait()
        if self._stopping:
            raise Unavailable("the writer has stopped")
        done: asyncio.Future[Row | None] = asyncio.get_running_loop().create_future()
        self._queue.append(_Caller(commit, done))
        self._wake.set()
        return done

    async def _sealed(self, commit: Commit, sealing: Sealing) -> Commit:
        guard = [commit.guard] if commit.guard is not None else []
        changes = await sealing.sealed([*guard, *commit.then], lambda key: self.commit_all([key]))
        return Commit(changes[0] if guard else None, changes[len(guard) :])

    async def _flush(self) -> None:
        async with self._writing:
            while self._queue:
                await self._write()

    async def _write(self) -> None:
        """Commit batch after batch, until nobody waits or one could not be written."""
        tell = asyncio.get_running_loop().call_soon_threadsafe
        try:
            await self._link.run(self._batches(tell))
        except Exception as error:  # whatever it is, every caller must hear of it
            # A connection that failed before a transaction began: those hear of it who would have been in it.
            batch, self._under_way = self._under_way or (self._take() if self._queue else []), []
            log.error("commit.failed", callers=len(batch), error=repr(error))
            self._settle(batch, [error] * len(batch), 0.0)
        except BaseException:
            for caller in self._under_way:
                caller.settle(Unavailable("the writer was killed; the change may have been committed"))
            self._under_way = []
            raise

    def _batches(self, tell: Callable[..., object]) -> Work[None]:
        """One transaction after another, without a look at the event loop in between.

        On SQLite this runs in the connection's thread: a busy loop takes milliseconds to hear that a commit is done,
        in which the next would not have begun.
        """
        while self._queue:
            batch = self._under_way = self._take()
            started = time.perf_counter()
            results = yield from write([caller.commit for caller in batch], self._statements)
            self._under_way = []
            took = time.perf_counter() - started
            tell(self._settle, batch, results, took)
            if self._link.own_thread and len(batch) > FEW:
                time.sleep(min(took, COLLECT))

    def _take(self) -> list[_Caller]:
        batch = [self._queue.popleft()]
        size = batch[0].commit.size
        while self._queue and size < MAX_BATCH:
            batch.append(self._queue.popleft())
            size += batch[-1].commit.size
        return batch

    def _settle(self, batch: list[_Caller], results: Sequence[Result], seconds: float) -> None:
        for caller, result in zip(batch, results, strict=True):
            caller.settle(result)
        self._room.set()
        if self._metrics:
            self._measure(self._metrics, batch, results, seconds)

    @staticmethod
    def _measure(metrics: StoreMetrics, batch: list[_Caller], results: Sequence[Result], seconds: float) -> None:
        metrics.commit_duration.observe(seconds)
        metrics.commit_statements.observe(sum(caller.commit.size for caller in batch))
        for result in results:
            if isinstance(result, Exception):
                metrics.failed(result)
