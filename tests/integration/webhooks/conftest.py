"""zapd runs on uvloop where it is built, else on asyncio's own loop; their transports differ, so test on both."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import uvloop

from tests.integration.webhooks.world import World, world_on
from tests.support.receiver import Receiver


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture
async def world(sqlite_url: str) -> AsyncIterator[World]:
    async with world_on(sqlite_url) as built:
        yield built


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as started:
        yield started
