"""A world of zapd's own parts around a message, for each test that asks for it."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.messaging.world import World, world_on
from zapd.store.database import Database


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with all tables; migrating one for each test would take longer than the tests."""
    path = tmp_path_factory.mktemp("migrated") / "zapd.db"

    async def migrate() -> None:
        database = Database(url=f"sqlite+aiosqlite:///{path}")
        await database.migrate()
        await database.close()

    asyncio.run(migrate())
    return path


@pytest.fixture
def ready_url(sqlite_url: str, migrated: Path) -> str:
    """`sqlite_url` with all tables."""
    shutil.copy(migrated, sqlite_url.removeprefix("sqlite+aiosqlite:///"))
    return sqlite_url


@pytest.fixture
async def world(ready_url: str, redis_url: str) -> AsyncIterator[World]:
    async with world_on(ready_url, redis_url) as built:
        yield built
