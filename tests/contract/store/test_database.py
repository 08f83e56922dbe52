"""The schema that the migrations make, and what happens when it is not the one the program needs."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from tests.support.store import message
from zapd.errors import ConfigError, Unavailable
from zapd.store.database import HEAD, MIGRATIONS, Database
from zapd.store.engine import Engine, PostgresEngine, SqliteEngine
from zapd.store.messages import MessageStore
from zapd.store.reader import Reader
from zapd.store.tables import metadata
from zapd.store.writer import Writer


async def inspected(url: str, look: Callable[[sa.Connection], object]) -> object:
    address = sa.make_url(url)
    engine: Engine = PostgresEngine(url=address)
    if address.get_backend_name() == "sqlite":
        engine = SqliteEngine(path=address.database or "")
    found = await engine.run(look)
    await engine.close()
    return found


async def test_the_migrations_make_the_tables(database: Database, database_url: str) -> None:
    def differences(connection: sa.Connection) -> object:
        return compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata)

    assert await inspected(database_url, differences) == []


async def test_the_migrations_make_the_same_partial_indexes(database: Database, database_url: str) -> None:
    def partial(connection: sa.Connection) -> object:
        where = f"{connection.dialect.name}_where"
        inspector = sa.inspect(connection)
        return {
            index["name"]
            for table in metadata.tables
            for index in inspector.get_indexes(table)
            if index.get("dialect_options", {}).get(where) is not None
        }

    wanted = {
        index.name
        for table in metadata.tables.values()
        for index in table.indexes
        if index.dialect_options["sqlite"]["where"] is not None
    }
    assert await inspected(database_url, partial) == wanted


def test_the_program_needs_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))

    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


async def test_an_empty_database_must_be_migrated(database_url: str) -> None:
    database = Database(url=database_url)
    assert await database.version() is None
    with pytest.raises(ConfigError, match=r"there is no schema yet.*zapd migrate"):
        await database.check_version()

    await database.migrate()
    await database.migrate()

    await database.check_version()
    assert await database.version() == HEAD
    await database.close()


async def test_a_database_of_a_newer_program_is_left_alone(database: Database, database_url: str) -> None:
    def from_the_future(connection: sa.Connection) -> None:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))

    await inspected(database_url, from_the_future)

    with pytest.raises(ConfigError, match="9999, which a newer zapd made"):
        await database.migrate()
    with pytest.raises(ConfigError, match="9999, which a newer zapd made"):
        await database.check_version()


async def test_it_answers_and_knows_its_size(database: Database) -> None:
    await database.ping()

    assert await database.size_bytes() > 10_000


async def test_a_database_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    for url in (f"sqlite+aiosqlite:///{tmp_path}/none/zapd.db", f"postgresql+asyncpg://u@/d?host={tmp_path}"):
        database = Database(url=url)
        writer, reader = Writer(database=database), Reader(database=database)
        tasks = [asyncio.create_task(service.run(), name=service.name) for service in (writer, reader)]

        for call in (database.ping, database.version, database.migrate):
            with pytest.raises(Unavailable):
                await call()
        with pytest.raises(Unavailable):
            await writer.commit(MessageStore.added(message()))
        with pytest.raises(Unavailable):
            await MessageStore(database=database, reader=reader).get("default", "msg_1")

        await writer.stop()
        await reader.stop()
        await asyncio.gather(*tasks)
        await database.close()


async def test_a_file_that_is_not_a_database_or_was_damaged_is_unavailable(tmp_path: Path) -> None:
    other, damaged = tmp_path / "other.db", tmp_path / "damaged.db"
    other.write_bytes(b"not a database" * 1000)
    sound = Database(url=f"sqlite+aiosqlite:///{damaged}")
    await sound.migrate()
    await sound.close()
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:200] + b"\xff" * (len(whole) - 200))

    for path, said in ((other, "not a database"), (damaged, "malformed")):
        database = Database(url=f"sqlite+aiosqlite:///{path}")
        for call in (database.version, database.migrate):
            with pytest.raises(Unavailable, match=said):
                await call()
        await database.close()


def test_sqlite_in_memory_is_refused() -> None:
    with pytest.raises(ConfigError):
        Database(url="sqlite+aiosqlite:///:memory:")


def schema(path: Path) -> dict[str, object]:
    """What SQLite itself knows of a file's tables: columns, indexes and their columns, what is partial."""
    with closing(sqlite3.connect(path)) as connection:

        def pragma(name: str, of: str) -> list[tuple[object, ...]]:
            return connection.execute(f"PRAGMA {name}('{of}')").fetchall()

        return {
            table: {
                "columns": pragma("table_info", table),
                "autoincrement": "AUTOINCREMENT" in sql,
                "indexes": {
                    str(index): (rest, [row[2] for row in pragma("index_info", str(index))])
                    for _, index, *rest in sorted(pragma("index_list", table), key=lambda row: str(row[1]))
                },
            }
            for table, sql in connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
        }


async def test_an_empty_sqlite_file_gets_what_the_migrations_make(tmp_path: Path) -> None:
    database = Database(url=f"sqlite:///{tmp_path}/new.db")
    await database.migrate()
    await database.check_version()
    await database.close()

    engine = sa.create_engine(f"sqlite:///{tmp_path}/migrated.db")
    with engine.begin() as connection:
        config = Config(attributes={"connection": connection})
        config.set_main_option("script_location", str(MIGRATIONS))
        command.upgrade(config, "head")
    engine.dispose()

    assert schema(tmp_path / "new.db") == schema(tmp_path / "migrated.db")


async def test_sqlite_makes_all_of_a_schema_or_nothing(tmp_path: Path) -> None:
    def half(connection: sa.Connection) -> None:
        connection.execute(sa.text("CREATE TABLE half (id TEXT)"))
        raise RuntimeError

    engine = SqliteEngine(path=str(tmp_path / "zapd.db"))
    with pytest.raises(RuntimeError):
        await engine.run(half)
    await engine.close()

    assert schema(tmp_path / "zapd.db") == {}
