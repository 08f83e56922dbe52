"""One WhatsApp and one daemon's workers for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.whatsapp_web.world import World, world


@pytest.fixture
async def web(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path / "web") as here:
        yield here
