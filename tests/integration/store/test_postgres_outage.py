"""A PostgreSQL that drops its connections: callers hear it, and the next commit works."""

import asyncio

import pytest
import sqlalchemy as sa

from tests.support.store import NOW, outbox_row
from zapd.errors import Unavailable
from zapd.store.database import Database
from zapd.store.outbox import OutboxStore
from zapd.store.reader import Reader
from zapd.store.writer import Writer


async def test_a_dropped_connection_fails_one_commit_and_is_opened_again(postgres_url: str) -> None:
    database = Database(url=postgres_url)
    await database.migrate()
    writer, outbox = Writer(database=database), OutboxStore(database=database, reader=Reader(database=database))
    running = asyncio.create_task(writer.run(), name="writer")
    await writer.commit(outbox.added(outbox_row("job_1")))
    others = sa.text("pid <> pg_backend_pid() AND datname = current_database()")
    activity = sa.table("pg_stat_activity", sa.column("pid"))

    await database.fetch(sa.select(sa.func.pg_terminate_backend(activity.c.pid)).where(others))

    with pytest.raises(Unavailable):
        await writer.commit(outbox.added(outbox_row("job_2")))
    await writer.commit(outbox.added(outbox_row("job_3")))
    rows = await outbox.scan(after=None, created_before=NOW + 1, limit=10)
    assert [row.id for row in rows] == ["job_1", "job_3"]
    await writer.stop()
    await running
    await database.close()
