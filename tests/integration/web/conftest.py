"""One real daemon for each file of tests: SQLite, embedded Redis, the sandbox network."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.daemon import Daemon

TOML = """
[limits]
session_per_minute = 60000
session_burst = 1000
[sandbox]
pair_after = "50ms"
latency = "1ms"
[http]
body_limit = "64KiB"
[cloud]
base_url = "http://127.0.0.1:9"
[queues."billing:check"]
action = "noop"
[queues."billing:slow"]
action = "noop"
"""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def daemon(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Daemon]:
    """With the file's own `TOML`, if it has one."""
    toml = getattr(request.module, "TOML", TOML)
    async with Daemon(tmp_path_factory.mktemp("state"), toml) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def connection(daemon: Daemon) -> str:
    """The id of a connected sandbox connection."""
    created = await daemon.connect(id="main")
    return str(created["id"])
