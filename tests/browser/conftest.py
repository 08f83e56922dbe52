"""A real daemon, a real browser. One of each for a file; a context, and with it a login, for each test."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

from tests.support.chromium import ARGUMENTS, chromium
from tests.support.daemon import Daemon

TOML = """
[limits]
session_per_minute = 60000
session_burst = 1000
[sandbox]
pair_after = "4s"
latency = "20ms"
"""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def daemon(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Daemon]:
    async with Daemon(tmp_path_factory.mktemp("state"), TOML) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        yield running
        await running.close()


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser, daemon: Daemon) -> AsyncIterator[Page]:
    """A page that is logged in. Whatever a script complains about, the content policy too, fails the test."""
    context = await browser.new_context(base_url=daemon.url, locale="en-GB", viewport={"width": 1280, "height": 800})
    opened = await context.new_page()
    complaints: list[str] = []

    def listen(said: ConsoleMessage) -> None:
        if said.type == "error":
            complaints.append(f"{said.text} {said.location}")

    opened.on("console", listen)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    await opened.goto("/dashboard")
    await opened.get_by_label("API key").fill(daemon.key)
    await opened.get_by_role("button", name="Log in").click()
    await opened.wait_for_url("**/dashboard")
    yield opened
    await context.close()
    assert complaints == []
