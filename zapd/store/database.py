"""The database: its address, its schema version, and the plain reads that are not on a hot path."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from zapd.errors import ConfigError, Unavailable
from zapd.store.commands import Row
from zapd.store.link import SQLITE_PRAGMAS, Link, PostgresLink, SqliteLink, problem_of
from zapd.store.metrics import StoreMetrics

HEAD = "0001"  #: the newest migration; a test compares it with the files
MIGRATIONS = Path(__file__).parent / "migrations"

#: asyncpg by default forgets statements of more than 15 KB, which the statements of a full batch are.
_ASYNCPG = {"statement_cache_size": 1024, "max_cacheable_statement_size": 0, "max_cached_statement_lifetime": 0}


class Database:
    """One SQLite file or one PostgreSQL database.

    `url` is `sqlite+aiosqlite:///path` or `postgresql+asyncpg://…`. Nothing is opened before the first use.
    """

    def __init__(self, *, url: str, metrics: StoreMetrics | None = None) -> None:
        self._metrics = metrics
        self._engine, self._path = _engine(url)
        self.dialect: sa.Dialect = self._engine.dialect
        if self._path is not None:
            self.dialect = sqlite.dialect(paramstyle="qmark")

    def link(self, name: str) -> Link:
        """A connection of its own for hot work. The taker closes it; `name` names its thread."""
        if self._path is not None:
            return SqliteLink(path=self._path, name=name)
        return PostgresLink(engine=self._engine)

    async def fetch(self, query: sa.Select[*tuple[Any, ...]]) -> list[Row]:
        """The rows of a query. Raises Unavailable when the database is away, InvalidInput for an impossible value."""
        with _in_our_words():
            async with self._engine.connect() as connection:
                return [tuple(row) for row in await connection.execute(query)]

    async def ping(self) -> None:
        """Raises Unavailable when the database does not answer."""
        await self.fetch(sa.select(1))

    async def size_bytes(self) -> int:
        """What the database takes on its disk, the write-ahead log too."""
        if self._path is None:
            size = int((await self.fetch(sa.select(sa.func.pg_database_size(sa.func.current_database()))))[0][0])
        else:
            size = sum(_file_size(self._path + suffix) for suffix in ("", "-wal", "-shm"))
        if self._metrics:
            self._metrics.size_bytes.set(size)
        return size

    async def version(self) -> str | None:
        """The migration that the schema is at; None: an empty database. Raises Unavailable."""
        with _in_our_words():
            async with self._engine.connect() as connection:
                if not await connection.run_sync(lambda sync: sa.inspect(sync).has_table("alembic_version")):
                    return None
                found: str | None = await connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
                return found

    async def check_version(self) -> None:
        """Raises ConfigError when the schema is not the one that this program needs."""
        if (found := await self.version()) != HEAD:
            raise ConfigError(f"database.url = the schema is at {found}, this zapd needs {HEAD}: run `zapd migrate`")

    async def migrate(self) -> None:
        """Bring the schema to HEAD. Raises Unavailable, or ConfigError when it belongs to a newer zapd."""
        if await self.version() == HEAD:
            return
        # Imported here: only a start that migrates pays its 15 MB.
        from alembic import command  # noqa: PLC0415
        from alembic.config import Config  # noqa: PLC0415
        from alembic.util import CommandError  # noqa: PLC0415

        def upgrade(connection: sa.Connection) -> None:
            config = Config(attributes={"connection": connection})
            config.set_main_option("script_location", str(MIGRATIONS))
            command.upgrade(config, "head")

        try:
            with _in_our_words():
                async with self._engine.begin() as connection:
                    await connection.run_sync(upgrade)
        except CommandError as error:
            raise ConfigError(f"database.url = {error}") from error

    async def close(self) -> None:
        """Close the connections of plain reads."""
        await self._engine.dispose()


def _engine(url: str) -> tuple[AsyncEngine, str | None]:
    """The engine, and the path of the file if it is SQLite."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "postgresql":
        return create_async_engine(parsed, connect_args=dict(_ASYNCPG), pool_pre_ping=True), None
    if not parsed.database or parsed.database == ":memory:":
        raise ConfigError("database.url = SQLite must be a file: the writer and the readers have their own connections")
    engine = create_async_engine(parsed)
    sa.event.listen(engine.sync_engine, "connect", _set_pragmas)
    return engine, parsed.database


@contextmanager
def _in_our_words() -> Iterator[None]:
    try:
        yield
    except sa.exc.TimeoutError as error:
        raise Unavailable("no SQL connection came free") from error
    except sa.exc.DBAPIError as error:
        driver = getattr(error.orig, "__cause__", None) or error.orig  # SQLAlchemy wraps asyncpg's errors twice
        raise problem_of(driver if isinstance(driver, Exception) else error) from error
    except (OSError, UnicodeEncodeError, OverflowError) as error:
        raise problem_of(error) from error


def _set_pragmas(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for pragma in SQLITE_PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _file_size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
