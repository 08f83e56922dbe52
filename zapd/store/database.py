"""The database: its address, its schema version, and the plain reads that are not on a hot path."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from zapd.errors import ConfigError, Unavailable
from zapd.store.commands import Row
from zapd.store.engine import Engine, PostgresEngine, SqliteEngine
from zapd.store.link import Link, PostgresLink, SqliteLink, problem_of
from zapd.store.metrics import StoreMetrics
from zapd.store.sealing import Sealing
from zapd.store.tables import events, metadata

HEAD = "0019"  #: the newest migration; a test compares it with the files
MIGRATIONS = Path(__file__).parent / "migrations"


class Database:
    """One SQLite file or one PostgreSQL database.

    `url` is `sqlite+aiosqlite:///path` or `postgresql+asyncpg://…`. Nothing is opened before the first use.
    """

    def __init__(self, *, url: str, metrics: StoreMetrics | None = None) -> None:
        self._metrics = metrics
        self.sealing: Sealing | None = None  #: seals bodies; set before the writer and the reader are made
        self._url = sa.make_url(url)
        self._path: str | None = None
        self._engine: Engine
        self.dialect: sa.Dialect
        if self._url.get_backend_name() == "postgresql":
            self._engine = PostgresEngine(url=self._url)
            self.dialect = self._engine.dialect
        else:
            self._path = _file_of(self._url)
            self._engine = SqliteEngine(path=self._path)
            self.dialect = sqlite.dialect(paramstyle="qmark")

    @property
    def shared(self) -> bool:
        """Whether other daemons may write to it at the same time."""
        return self._path is None

    def link(self, name: str) -> Link:
        """A connection of its own for hot work. The taker closes it; `name` names its thread."""
        if self._path is not None:
            return SqliteLink(path=self._path, name=name)
        assert isinstance(self._engine, PostgresEngine)
        return PostgresLink(engine=self._engine.pool)

    async def fetch(self, query: sa.Select[*tuple[Any, ...]]) -> list[Row]:
        """The rows of a query. Raises Unavailable when the database is away, InvalidInput for an impossible value."""
        rows = await self.fetch_sealed(query)
        return rows if self.sealing is None else list(await self.sealing.opened(query.selected_columns, rows))

    async def fetch_sealed(self, query: sa.Select[*tuple[Any, ...]]) -> list[Row]:
        """The rows of a query as they are stored, bodies sealed. Raises as `fetch`."""
        with _in_our_words():
            return await self._engine.fetch(query)

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
            return await self._engine.run(_version)

    async def check_version(self) -> None:
        """Raises ConfigError when the schema is not the one that this program needs."""
        if (found := await self.version()) != HEAD:
            _refuse_newer(found)
            there = f"the schema is at {found}" if found else "there is no schema yet"
            raise ConfigError(f"database.url = {there}, this zapd needs {HEAD}: run `zapd migrate`")

    async def damage(self) -> str | None:
        """What is damaged in a SQLite file; reads all of it. PostgreSQL looks after itself. Raises Unavailable."""
        if self._path is None:
            return None
        with _in_our_words():
            found = await self._engine.run(
                lambda connection: connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
            )
        return None if found == "ok" else str(found)

    async def newest_event_at(self) -> int | None:
        """When the newest event was kept (ms). Raises Unavailable."""
        rows = await self.fetch(sa.select(events.c.created_at).order_by(events.c.seq.desc()).limit(1))
        return rows[0][0] if rows else None

    async def migrate(self) -> None:
        """Bring the schema to HEAD. Raises Unavailable, or ConfigError when it belongs to a newer zapd."""
        found = await self.version()
        if found == HEAD:
            return
        _refuse_newer(found)
        if found is None and self._path is not None:
            # An empty file gets the tables as they are today. A test proves that the migrations end at the same ones.
            with _in_our_words():
                await self._engine.run(_create)
            return
        # Imported here: only a start that migrates pays its 10 MiB, until the next start.
        from alembic import command  # noqa: PLC0415
        from alembic.config import Config  # noqa: PLC0415
        from alembic.util import CommandError  # noqa: PLC0415

        def upgrade(connection: sa.Connection) -> None:
            config = Config(attributes={"connection": connection})
            config.set_main_option("script_location", str(MIGRATIONS))
            command.upgrade(config, "head")

        try:
            with _in_our_words():
                await self._engine.run(upgrade)
        except CommandError as error:
            raise ConfigError(f"database.url = {error}") from error

    async def close(self) -> None:
        """Close the connections of plain reads."""
        await self._engine.close()


def _file_of(url: sa.URL) -> str:
    if not url.database or url.database == ":memory:":
        raise ConfigError("database.url = SQLite must be a file: the writer and the readers have their own connections")
    return url.database


def _refuse_newer(found: str | None) -> None:
    if found is not None and found > HEAD:  # they are numbered
        raise ConfigError(
            f"database.url = the schema is at {found}, which a newer zapd made; this one knows {HEAD}: "
            "install the newer one again, or restore the backup from before the update"
        )


def _create(connection: sa.Connection) -> None:
    metadata.create_all(connection, checkfirst=False)
    # Alembic's own table: the next release's migrations go on from here.
    version = sa.Table("alembic_version", sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True))
    version.create(connection, checkfirst=False)
    connection.execute(version.insert().values(version_num=HEAD))


def _version(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    return found


@contextmanager
def _in_our_words() -> Iterator[None]:
    try:
        yield
    except sa.exc.TimeoutError as error:
        raise Unavailable("no SQL connection came free") from error
    except sa.exc.DBAPIError as error:
        driver = getattr(error.orig, "__cause__", None) or error.orig  # SQLAlchemy wraps asyncpg's errors twice
        raise problem_of(driver if isinstance(driver, Exception) else error) from error
    except (sqlite3.Error, OSError, UnicodeEncodeError, OverflowError) as error:
        raise problem_of(error) from error


def _file_size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
