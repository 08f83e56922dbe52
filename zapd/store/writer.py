"""The group commit: many callers' changes in one transaction, because a commit costs a disk flush whatever is in it.

While one transaction runs, callers collect for the next. A lone caller waits for nobody: it commits at once.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog

from zapd.errors import Unavailable
from zapd.store.batch import Commit, Result, write
from zapd.store.commands import Change, Row, Statements, Update
from zapd.store.database import Database
from zapd.store.link import Link, Work
from zapd.store.metrics import StoreMetrics
from zapd.store.sealing import NoKey, Sealing

log = structlog.get_logger("zapd.store")

MAX_WAITING = 4_096  #: callers in the queue; more wait outside it
MAX_BATCH = 1_024  #: changes in one transaction, unless one caller alone brings more
FEW = 3  #: callers in one transaction; after more, SQLite's thread pauses for as long as the transaction took
COLLECT = 0.004  #: seconds that it pauses at most: larger transactions write the same pages less often


class _Caller(NamedTuple):
    """A commit, and the future that its caller awaits."""

    commit: Commit
    done: asyncio.Future[Row | None]


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
        row = await (await self._put(guard, then))
        command = guard.command
        if row is None or self._sealing is None or not isinstance(command, Update) or not command.returning:
            return row
        return (await self._sealing.opened(command.returning, [row], command))[0]

    async def commit_each(self, guards: Sequence[Change]) -> list[Row | BaseException | None]:
        """Each as a commit of its own, of which many share a transaction: its row, None, or the error it met.

        For thousands at once: no task is made for each.
        """
        answers: list[Row | BaseException | None] = []
        for start in range(0, len(guards), MAX_BATCH):
            asked = [await self._put(guard, ()) for guard in guards[start : start + MAX_BATCH]]
            answers += await asyncio.gather(*asked, return_exceptions=True)
        return answers

    async def commit_all(self, changes: Sequence[Change]) -> None:
        """Do all the changes, or none. Raises as `commit`."""
        if changes:
            await (await self._put(None, changes))

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

    async def _put(self, guard: Change | None, then: Sequence[Change]) -> asyncio.Future[Row | None]:
        if self._sealing is not None:
            try:
                guard, then = _sealed(guard, then, self._sealing)
            except NoKey as missing:
                await self._sealing.first_key(missing.tenant, lambda key: self.commit_all([key]))
                return await self._put(guard, then)
        while len(self._queue) >= MAX_WAITING and not self._stopping:
            self._room.clear()
            await self._room.wait()
        if self._stopping:
            raise Unavailable("the writer has stopped")
        done: asyncio.Future[Row | None] = asyncio.get_running_loop().create_future()
        self._queue.append(_Caller(Commit(guard, then), done))
        self._wake.set()
        return done

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
            killed = Unavailable("the writer was killed; the change may have been committed")
            batch, self._under_way = self._under_way, []
            self._settle(batch, [killed] * len(batch), 0.0)
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
        changes = 0
        for (commit, done), result in zip(batch, results, strict=True):
            changes += len(commit.then) + 1
            if isinstance(result, Exception):
                if self._metrics:
                    self._metrics.failed(result)
                if not done.done():  # else the caller was cancelled; its change stands
                    done.set_exception(result)
            elif not done.done():
                done.set_result(result)
        self._room.set()
        if self._metrics:
            self._metrics.commit_duration.observe(seconds)
            self._metrics.commit_statements.observe(changes)


def _sealed(guard: Change | None, then: Sequence[Change], sealing: Sealing) -> tuple[Change | None, Sequence[Change]]:
    if guard is None:
        return None, sealing.sealed(then)
    first, *others = sealing.sealed((guard, *then))
    return first, others
