"""The engine of plain reads on SQLite: each connection has a thread, and the process ends only when all have ended."""

import asyncio
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support import eventually
from zapd.store.engine import SqliteEngine

COUNTED = "(with recursive c(x) as (select 1 union all select x + 1 from c where x < 300000) select max(x) from c)"
SLOW: sa.Select[tuple[int]] = sa.select(sa.literal_column(COUNTED))


def readers() -> int:
    return sum("_connection_worker_thread" in thread.name for thread in threading.enumerate())


async def test_a_query_that_outlives_the_engine_leaves_no_thread(tmp_path: Path) -> None:
    engine = SqliteEngine(path=str(tmp_path / "zapd.db"))
    query = asyncio.create_task(engine.fetch(SLOW))
    await eventually(readers)

    await engine.close()

    assert await query == [(300000,)]
    await eventually(lambda: readers() == 0)


async def test_a_query_that_is_canceled_while_it_connects_leaves_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zapd.store.engine.SQLITE_PRAGMAS", ["pragma busy_timeout = 1", f"select {COUNTED}"])
    engine = SqliteEngine(path=str(tmp_path / "zapd.db"))
    query = asyncio.create_task(engine.fetch(sa.select(sa.literal(1))))
    await eventually(readers)

    query.cancel()
    [end] = await asyncio.gather(query, return_exceptions=True)
    await engine.close()

    assert isinstance(end, asyncio.CancelledError)  # it keeps its frames, and so the connection, alive
    await eventually(lambda: readers() == 0)
