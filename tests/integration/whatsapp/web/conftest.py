"""One WhatsApp and one daemon's workers for each test. Accounts are paired once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.whatsapp_web.parts import fakeserver
from tests.support.whatsapp_web.world import OTHER, USER, Phone, Templates, World, world


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    fakeserver()
    templates = Templates(tmp_path_factory.mktemp("paired"))
    asyncio.run(templates.make(USER, OTHER))
    return templates


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[World]:
    fakeserver()
    async with world(tmp_path / "web") as here:
        yield here


@pytest.fixture
async def phone(web: World, templates: Templates) -> Phone:
    return await web.phone().linked(templates)
