"""The one task of a transport."""

import asyncio

from tests.support import eventually
from tests.support.whatsapp import Upside
from zapd.model.session import SessionState
from zapd.whatsapp.life import Life


async def forever() -> None:
    await asyncio.Event().wait()


async def fail() -> None:
    raise OSError("reset by peer")


async def nothing() -> None:
    return None


async def test_work_that_raises_is_told_as_a_lost_connection() -> None:
    upside = Upside()
    life = Life(name="wire")
    life.begin(fail, on_state=upside.on_state)
    await eventually(lambda: upside.changes)
    assert [(c.state, c.reason) for c in upside.changes] == [(SessionState.RECONNECTING, "OSError")]
    await life.end()


async def test_work_that_returns_tells_nothing() -> None:
    upside = Upside()
    life = Life(name="wire")
    life.begin(nothing, on_state=upside.on_state)
    await life.end()
    assert not upside.changes


async def test_it_runs_once_at_a_time_under_its_name() -> None:
    life = Life(name="wire")
    for _ in range(3):
        life.begin(forever, on_state=Upside().on_state)
    assert [task.get_name() for task in asyncio.all_tasks()].count("wire") == 1
    await life.end()
    await life.end()
    assert "wire" not in [task.get_name() for task in asyncio.all_tasks()]
