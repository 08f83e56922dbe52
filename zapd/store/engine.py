"""The plain reads and the migrations: one transaction at a time, off the event loop. Hot work goes through `link.py`."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa

from zapd.store.link import SQLITE_PRAGMAS

T = TypeVar("T")

READERS = 4  #: threads, and so connections, that read a SQLite file side by side; made when they are needed
#: asyncpg by default forgets statements of more than 15 KB, which the statements of a full batch are.
_ASYNCPG = {"statement_cache_size": 1024, "max_cacheable_statement_size": 0, "max_cached_statement_lifetime": 0}


class Engine(Protocol):
    """Runs work in a transaction that is committed at its end. Nothing is opened before the first use."""

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        """What `work` returns. Raises what the driver raises."""

    async def close(self) -> None:
        """Close the connections."""


class SqliteEngine:
    """A SQLite file, read in threads.

    Not SQLAlchemy's asyncio extension with aiosqlite: that one hops to a thread and back for each step of a query,
    where this hops once, and it brings the whole ORM, 7 MiB of an idle daemon.
    """

    def __init__(self, *, path: str) -> None:
        self._engine = sa.create_engine(sa.URL.create("sqlite", database=path), pool_size=READERS)
        sa.event.listen(self._engine, "connect", _set_pragmas)
        self._threads = ThreadPoolExecutor(max_workers=READERS, thread_name_prefix="sql-read")

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        """See `Engine`."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._transact, work)

    async def close(self) -> None:
        """See `Engine`."""
        self._threads.shutdown(wait=False)
        self._engine.dispose()

    def _transact(self, work: Callable[[sa.Connection], T]) -> T:
        with self._engine.begin() as connection:
            return work(connection)


class PostgresEngine:
    """A PostgreSQL database, through asyncpg. `pool` also gives the writer and the reader their connections."""

    def __init__(self, *, url: sa.URL) -> None:
        from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415  # brings the ORM, see SqliteEngine

        self.pool = create_async_engine(url, connect_args=dict(_ASYNCPG), pool_pre_ping=True)
        self.dialect: sa.Dialect = self.pool.dialect

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        """See `Engine`."""
        async with self.pool.begin() as connection:
            return await connection.run_sync(work)

    async def close(self) -> None:
        """See `Engine`."""
        await self.pool.dispose()


def _set_pragmas(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in SQLITE_PRAGMAS:
        cursor.execute(pragma)
    cursor.close()
