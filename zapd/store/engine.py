"""Runs plain reads and migrations, each in a transaction of its own. Hot work goes through `link.py` instead."""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import aiosqlite
import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from zapd.store.commands import Row
from zapd.store.link import SQLITE_PRAGMAS

T = TypeVar("T")

READERS = 4  #: connections, and so threads, that read a SQLite file side by side; made when they are needed
#: asyncpg by default forgets statements of more than 15 KB, which the statements of a full batch are.
_ASYNCPG = {"statement_cache_size": 1024, "max_cacheable_statement_size": 0, "max_cached_statement_lifetime": 0}


class Engine(Protocol):
    """Plain reads, and migrations. Nothing is opened before the first use; all raise what the driver raises."""

    async def fetch(self, query: sa.Select[*tuple[Any, ...]]) -> list[Row]:
        """The rows of a query."""

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        """What `work` returns, in a transaction that is committed at its end."""

    async def close(self) -> None:
        """Close the connections."""


class SqliteEngine:
    """A SQLite file. Queries go through aiosqlite, each in one hop to its thread.

    Not through SQLAlchemy's asyncio extension above it: that one hops for each step of a query, and brings the whole
    ORM, 7 MiB of an idle daemon. SQLAlchemy Core writes the SQL all the same.
    """

    def __init__(self, *, path: str) -> None:
        self._path = path
        self._dialect = sqlite.dialect(paramstyle="qmark")
        self._places = asyncio.Semaphore(READERS)
        self._idle: list[aiosqlite.Connection] = []
        self._closed = False

    async def fetch(self, query: sa.Select[*tuple[Any, ...]]) -> list[Row]:
        """See `Engine`."""
        compiled = query.compile(dialect=self._dialect, compile_kwargs={"render_postcompile": True})
        values = [compiled.params[name] for name in compiled.positiontup or ()]
        async with self._places:
            connection = self._idle.pop() if self._idle else await self._connect()
            try:
                return [tuple(row) for row in await connection.execute_fetchall(str(compiled), values)]
            finally:
                self._put_back(connection)

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        """See `Engine`."""
        return await asyncio.to_thread(self._transact, work)

    async def close(self) -> None:
        """See `Engine`."""
        self._closed = True
        while self._idle:
            await self._idle.pop().close()

    async def _connect(self) -> aiosqlite.Connection:
        connection = await aiosqlite.connect(self._path, isolation_level=None)
        try:
            for pragma in SQLITE_PRAGMAS:
                await connection.execute(pragma)
        except BaseException:  # also when it is canceled
            connection.stop()  # the process cannot end while its thread waits
            raise
        return connection

    def _put_back(self, connection: aiosqlite.Connection) -> None:
        """For the next query; one that comes back after `close` ends, for the reason above."""
        if self._closed:
            connection.stop()
        else:
            self._idle.append(connection)

    def _transact(self, work: Callable[[sa.Connection], T]) -> T:
        engine = sa.create_engine(sa.URL.create("sqlite", database=self._path), poolclass=sa.NullPool)
        sa.event.listen(engine, "connect", _set_up)
        sa.event.listen(engine, "begin", _begin)
        with engine.begin() as connection:
            return work(connection)


class PostgresEngine:
    """A PostgreSQL database, through asyncpg. `pool` also gives the writer and the reader their connections."""

    def __init__(self, *, url: sa.URL) -> None:
        from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415  # brings the ORM, see SqliteEngine

        self.pool = create_async_engine(url, connect_args=dict(_ASYNCPG), pool_pre_ping=True)
        self.dialect: sa.Dialect = self.pool.dialect

    async def fetch(self, query: sa.Select[*tuple[Any, ...]]) -> list[Row]:
        """See `Engine`."""
        async with self.pool.connect() as connection:
            return [tuple(row) for row in (await connection.execute(query)).all()]

    async def run(self, work: Callable[[sa.Connection], T]) -> T:
        """See `Engine`."""
        async with self.pool.begin() as connection:
            return await connection.run_sync(work)

    async def close(self) -> None:
        """See `Engine`."""
        await self.pool.dispose()


def _set_up(connection: Any, _record: object) -> None:
    # By itself sqlite3 opens no transaction before DDL: a kill in the middle would leave half a schema.
    connection.isolation_level = None
    for pragma in SQLITE_PRAGMAS:
        connection.execute(pragma)


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN")
