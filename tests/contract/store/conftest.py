"""A migrated database, on SQLite and on PostgreSQL, with its writer and reader running."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from zapd.store.database import Database
from zapd.store.reader import Reader
from zapd.store.vault import KEY_BYTES, Vault
from zapd.store.writer import Writer


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(url=database_url)
    await database.migrate()
    yield database
    await database.close()


@pytest.fixture
async def writer(database: Database) -> AsyncIterator[Writer]:
    writer = Writer(database=database)
    running = asyncio.create_task(writer.run(), name="writer")
    yield writer
    await writer.stop()
    await running


@pytest.fixture
async def reader(database: Database) -> AsyncIterator[Reader]:
    reader = Reader(database=database)
    running = asyncio.create_task(reader.run(), name="reader")
    yield reader
    await reader.stop()
    await running


@pytest.fixture
def vault() -> Vault:
    return Vault(keys=[bytes(KEY_BYTES)], random_bytes=lambda n: bytes(range(n)))
