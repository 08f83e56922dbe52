"""What is held in memory is looked at again, and a database that is away changes nothing."""

import asyncio

from tests.support import eventually
from zapd.errors import Unavailable
from zapd.refresher import Refresher


async def test_it_goes_on_after_the_database_was_away_until_it_is_stopped() -> None:
    looks = 0

    async def refresh() -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            raise Unavailable

    refresher = Refresher(what="things", refresh=refresh, every=0.001)
    running = asyncio.create_task(refresher.run(), name="refresher")
    await eventually(lambda: looks >= 4)
    refresher.stop()
    await running


async def test_a_stop_does_not_wait_for_the_next_look() -> None:
    looked = asyncio.Event()

    async def refresh() -> None:
        looked.set()

    refresher = Refresher(what="things", refresh=refresh, every=3_600)
    running = asyncio.create_task(refresher.run(), name="refresher")
    await looked.wait()
    refresher.stop()
    await asyncio.wait_for(running, 5)


async def test_a_stop_that_comes_before_the_start_holds() -> None:
    async def refresh() -> None:
        raise AssertionError

    refresher = Refresher(what="things", refresh=refresh)
    refresher.stop()
    await refresher.run()
