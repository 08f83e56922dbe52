"""One SQL connection that runs a whole piece of work at once.

Work is a generator: it yields statements, gets their rows back, and an error of a statement is raised at its yield.
So the group commit is written once, without input or output, and runs on both databases.

Why not SQLAlchemy's connection: on SQLite every statement would hop to the driver's thread and back, which costs more
than the statement. Here the generator itself runs in the connection's thread, so a batch is two hops. The language
is still SQLAlchemy Core: statements come compiled from `zapd.store.commands`.
"""

import asyncio
import sqlite3
import sys
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from zapd.errors import Conflict, InvalidInput, Unavailable
from zapd.store.commands import Row, Statement

if TYPE_CHECKING:  # it brings SQLAlchemy's whole ORM, 6 MiB that a daemon on SQLite does not need
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

T = TypeVar("T")
Work = Generator[Statement, list[Row], T]

#: For every SQLite connection. FULL: a commit has reached the disk when it returns, also at a power cut.
SQLITE_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA busy_timeout=5000",
    "PRAGMA foreign_keys=OFF",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA cache_size=-4000",  # KiB
    "PRAGMA journal_size_limit=67108864",  # bytes: what the log is cut to after one long transaction
)
_CACHED_STATEMENTS = 512  # preparing a statement of 64 rows costs more than running it
AWAY = "the database does not answer at the moment"  #: what callers hear; the drivers' words may hold its address
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})  # a disk that failed, or another file
_SQLITE_ERROR = 1  # SQLite's code for SQL that is wrong, against SQL that could not run now


class Link(Protocol):
    """A connection that runs one work at a time. After a work that raised, the next one gets a fresh connection."""

    @property
    def own_thread(self) -> bool:
        """Whether works run in a thread, which may sleep, and not on the event loop."""

    async def run(self, work: Work[T]) -> T:
        """Run the work to its end. Raises Unavailable when the database is away, else what the work raises."""

    async def close(self) -> None:
        """Close the connection. Safe to call twice; a later work opens it again."""


class SqliteLink:
    """A SQLite connection with a thread of its own."""

    own_thread = True

    def __init__(self, *, path: str, name: str) -> None:
        self._path = path
        self._name = name
        self._thread: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection | None = None

    async def run(self, work: Work[T]) -> T:
        """See `Link`."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"sql-{self._name}")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._drive, work)

    async def close(self) -> None:
        """See `Link`."""
        thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.get_running_loop().run_in_executor(thread, self._drop)
            thread.shutdown(wait=False)

    def _drive(self, work: Work[T]) -> T:
        try:
            execute = self._open().execute
        except sqlite3.Error as error:
            self._drop()
            raise Unavailable(f"SQLite: {error}", told=AWAY) from error
        try:
            statement = next(work)
            while True:
                try:
                    rows = execute(*statement).fetchall()
                except Exception as error:
                    statement = work.throw(problem_of(error))
                else:
                    statement = work.send(rows)
        except StopIteration as end:
            result: T = end.value
            return result
        except Exception:
            self._drop()
            raise

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = sqlite3.connect(
                self._path, isolation_level=None, check_same_thread=False, cached_statements=_CACHED_STATEMENTS
            )
            for pragma in SQLITE_PRAGMAS:
                self._connection.execute(pragma)
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class PostgresLink:
    """An asyncpg connection, taken out of SQLAlchemy's engine for good."""

    own_thread = False

    def __init__(self, *, engine: "AsyncEngine") -> None:
        self._engine = engine
        self._connection: AsyncConnection | None = None
        self._driver: Any = None

    async def run(self, work: Work[T]) -> T:
        """See `Link`."""
        try:
            fetch = (await self._open()).fetch
        except Exception as error:
            await self.close()
            raise Unavailable(f"PostgreSQL: {error}", told=AWAY) from error
        try:
            statement = next(work)
            while True:
                try:
                    rows = [tuple(row) for row in await fetch(statement.sql, *statement.values)]
                except Exception as error:
                    statement = work.throw(problem_of(error))
                else:
                    statement = work.send(rows)
        except StopIteration as end:
            result: T = end.value
            return result
        except BaseException:  # also cancelled: the connection may be inside a transaction
            await self.close()
            raise

    async def close(self) -> None:
        """See `Link`."""
        connection, self._connection, self._driver = self._connection, None, None
        if connection is not None:
            await connection.invalidate()
            await connection.close()

    async def _open(self) -> Any:
        if self._connection is None:
            self._connection = await self._engine.connect()
            self._driver = (await self._connection.get_raw_connection()).driver_connection
        return self._driver


# The drivers' own words may quote values, so callers do not get them; they stay as the context of what is raised.
_UNFIT = "the database cannot hold this value"


def problem_of(error: Exception) -> Exception:
    """A driver's error in our words: Conflict, InvalidInput or Unavailable; any other error is ours and stays."""
    if isinstance(error, sqlite3.Error):
        return _from_sqlite(error)
    if isinstance(error, UnicodeEncodeError | OverflowError):
        return InvalidInput(message=_UNFIT)
    if isinstance(error, OSError):
        return Unavailable(f"SQL: {error}", told=AWAY)
    return _from_asyncpg(error) if "asyncpg" in sys.modules else error


def _from_sqlite(error: sqlite3.Error) -> Exception:
    if isinstance(error, sqlite3.IntegrityError):
        return Conflict()
    if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode != _SQLITE_ERROR:
        return Unavailable(f"SQLite: {error}", told=AWAY)
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
        return Unavailable(f"SQLite: {error}; put a backup in its place", told=AWAY)
    return error


def _from_asyncpg(error: Exception) -> Exception:
    import asyncpg  # noqa: PLC0415  # an optional dependency

    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        return Conflict()
    if isinstance(error, asyncpg.DataError | ValueError):  # some of the latter are InterfaceErrors too
        return InvalidInput(message=_UNFIT)
    away = (
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,  # what a connection says that was ended while it was idle
        asyncpg.PostgresConnectionError,
        asyncpg.InsufficientResourcesError,
        asyncpg.OperatorInterventionError,
        asyncpg.ReadOnlySQLTransactionError,
        asyncpg.InvalidCatalogNameError,
        asyncpg.InvalidAuthorizationSpecificationError,
    )
    return Unavailable(f"PostgreSQL: {error}", told=AWAY) if isinstance(error, away) else error
