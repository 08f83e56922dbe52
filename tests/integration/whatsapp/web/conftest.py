"""One WhatsApp and one daemon's workers for each test. Accounts are paired once."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.whatsapp_web.parts import fakeserver
from tests.support.whatsapp_web.world import Phone, Templates, World, world
from tests.support.whatsapp_web.world import templates as shared_templates


@pytest.fixture
async def templates() -> Templates:
    fakeserver()
    return await shared_templates()


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[World]:
    fakeserver()
    async with world(tmp_path / "web") as here:
        yield here


@pytest.fixture
async def phone(web: World, templates: Templates) -> Phone:
    return await web.phone().linked(templates)
