"""The dashboard as a person uses it. The picture in README comes from here: ZAPD_PICTURE=FILE makes it."""

import base64
import os
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests.support import eventually
from tests.support.daemon import Daemon

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.e2e]

PATIENCE = 30_000.0  #: ms, only against a hang
PICTURE = base64.b64decode(  # one pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)

#: Notes each time the page says how its line is.
WATCH = """() => {
  window.seen = [];
  window.tries = () => seen.filter((said) => said === "line offline").length;
  const line = document.getElementById("line");
  new MutationObserver(() => seen.push(line.className)).observe(line, { attributes: true, childList: true });
}"""


async def test_a_number_is_paired_by_its_code_and_a_conversation_shows_ticks_and_the_reply(
    page: Page, daemon: Daemon
) -> None:
    await page.get_by_role("link", name="Try the sandbox").click()
    await page.get_by_label("Label").fill("Loja Centro")
    await page.get_by_role("button", name="Create").click()

    code = page.get_by_role("img", name="Scan this code")
    await expect(code).to_be_visible(timeout=PATIENCE)
    assert await code.evaluate("picture => picture.decode().then(() => picture.naturalWidth)") > 0
    await expect(page.get_by_text("connected", exact=True)).to_be_visible(timeout=PATIENCE)
    await expect(code).to_have_count(0)
    await expect(page.get_by_text("Pair with a code to type")).to_have_count(0)

    await page.get_by_label("To").fill("5511999998888")
    await page.get_by_label("Message").fill("Olá, tudo bem?")
    await page.get_by_role("button", name="Send").click()
    await page.get_by_role("link", name="+55 11 99999-8888").click(timeout=PATIENCE)

    sent = page.locator("li.out", has_text="Olá, tudo bem?")
    await expect(sent.locator(".ticks.read")).to_be_visible(timeout=PATIENCE)
    await expect(page.locator("li.in")).to_have_count(1, timeout=PATIENCE)

    box = page.get_by_label("Message")
    await box.fill("Até amanhã <b>às 9h</b>")
    await box.press("Enter")
    await expect(page.locator("li.out", has_text="Até amanhã <b>às 9h</b>")).to_be_visible(timeout=PATIENCE)
    await _picture(page, daemon)


async def _picture(page: Page, daemon: Daemon) -> None:
    """README's picture, when asked for."""
    if file := os.environ.get("ZAPD_PICTURE"):
        await page.goto("/dashboard")
        await expect(page.locator(".line.live")).to_be_visible(timeout=PATIENCE)
        await page.screenshot(path=file)


async def test_a_queue_is_paused_and_resumed_and_the_page_follows_what_others_do(page: Page, daemon: Daemon) -> None:
    await page.goto("/dashboard/queues")
    row = page.get_by_role("row", name="message:send")
    await row.get_by_role("button", name="Pause").click()
    await expect(row.get_by_text("paused")).to_be_visible(timeout=PATIENCE)

    await daemon.call("POST", "/queues/message:send/resume")

    await expect(row.get_by_text("running")).to_be_visible(timeout=PATIENCE)


async def test_what_is_typed_survives_the_patches(page: Page, daemon: Daemon) -> None:
    await daemon.connect(id="typing")
    await page.goto("/dashboard/connections/typing")
    await expect(page.locator(".line.live")).to_be_visible(timeout=PATIENCE)
    await page.get_by_label("Message").fill("half a sen")

    written = {"from": "5511988887777", "type": "text", "payload": {"text": "oi"}}
    await daemon.call("POST", "/sandbox/typing/inbound", written)

    await expect(page.get_by_role("link", name="+55 11 98888-7777")).to_be_visible(timeout=PATIENCE)
    await expect(page.get_by_label("Message")).to_have_value("half a sen")
    await expect(page.get_by_label("Message")).to_be_focused()


async def test_a_conversation_shows_its_pictures_and_when_a_message_leaves(page: Page, daemon: Daemon) -> None:
    await daemon.connect(id="files")
    _, picture = await daemon.call("POST", "/media", PICTURE, headers={"Content-Type": "image/png"})
    sent = {"to": "5511988887777", "type": "image", "payload": {"media_id": picture["id"], "caption": "a dot"}}
    await daemon.call("POST", "/connections/files/send", sent)
    await daemon.send("files", "later", to="5511988887777", send_at="2099-12-24T10:00:00Z")
    await page.goto("/dashboard/connections/files/conversations/5511988887777")

    shown = page.get_by_role("img", name="[image] a dot")
    assert await shown.evaluate("picture => picture.decode().then(() => picture.naturalWidth)") == 1
    await expect(page.locator("li.out", has_text="later")).to_contain_text("leaves at 12/24/99")


async def test_more_conversations_than_fit_are_shown_on_demand(page: Page, daemon: Daemon) -> None:
    await daemon.connect(id="busy")
    for number in range(5511980000000, 5511980000060):
        written = {"from": str(number), "type": "text", "payload": {"text": "oi"}}
        await daemon.call("POST", "/sandbox/busy/inbound", written)
    await page.goto("/dashboard/connections/busy")
    rows = page.locator(".conversations li")
    await expect(rows).to_have_count(50, timeout=PATIENCE)
    await page.get_by_role("link", name="Show more").click()
    await expect(page.locator(".line.live")).to_be_visible(timeout=PATIENCE)
    await expect(rows).to_have_count(60, timeout=PATIENCE)
    await expect(page.get_by_role("link", name="Show more")).to_have_count(0)


async def test_a_closed_connection_offers_nothing_to_send(page: Page, daemon: Daemon) -> None:
    await daemon.connect(id="gone")
    await daemon.call("DELETE", "/connections/gone")
    await page.goto("/dashboard/connections/gone")
    await expect(page.get_by_text("closed", exact=True)).to_be_visible(timeout=PATIENCE)
    await page.reload()
    await expect(page.get_by_role("heading", name="Conversations")).to_be_visible()
    await expect(page.get_by_role("button", name="Send")).to_have_count(0)


async def test_it_speaks_portuguese(page: Page) -> None:
    await page.get_by_role("link", name="Português").click()
    await expect(page.get_by_role("heading", name="Visão geral")).to_be_visible()
    await expect(page.locator("html")).to_have_attribute("lang", "pt-BR")


async def test_it_works_without_scripts(browser: Browser, daemon: Daemon) -> None:
    context = await browser.new_context(base_url=daemon.url, java_script_enabled=False)
    page = await context.new_page()
    await page.goto("/dashboard/queues")
    await page.get_by_label("API key").fill(daemon.key)
    await page.get_by_role("button", name="Log in").click()
    await page.get_by_role("row", name="event:process").get_by_role("button", name="Pause").click()
    await expect(page.get_by_role("row", name="event:process").get_by_role("button", name="Resume")).to_be_visible()
    await page.get_by_role("row", name="event:process").get_by_role("button", name="Resume").click()
    await context.close()


async def test_an_open_page_says_that_the_daemon_is_away_and_comes_back_by_itself(
    browser: Browser, tmp_path: Path
) -> None:
    async with Daemon(tmp_path, "") as daemon:
        context = await browser.new_context(base_url=daemon.url)
        page = await context.new_page()
        await page.goto("/dashboard/queues")
        await page.get_by_label("API key").fill(daemon.key)
        await page.get_by_role("button", name="Log in").click()
        await expect(page.locator(".line.live")).to_be_visible(timeout=PATIENCE)
        await page.evaluate(WATCH)
        await daemon.kill()
        await eventually(lambda: page.evaluate("tries() > 2"), within=PATIENCE / 1000)
        assert await page.evaluate("seen.slice(seen.indexOf('line offline')).every(said => said === 'line offline')")
        await daemon.start()
        await expect(page.locator(".line.live")).to_be_visible(timeout=PATIENCE)
        await context.close()


@pytest.mark.parametrize("width", [360, 1280])
async def test_no_page_scrolls_sideways(page: Page, daemon: Daemon, width: int) -> None:
    await page.set_viewport_size({"width": width, "height": 800})
    for name in ("", "/connections", "/queues", "/new-connection?transport=cloud"):
        path = "/dashboard" + name
        await page.goto(path)
        sizes: Any = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert sizes[0] <= sizes[1], path
