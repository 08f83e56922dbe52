"""An account linked by a QR code, through the real daemon: HTTP in front, the stock neonize wheel behind."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import eventually
from tests.support.daemon import COMMAND, Daemon
from tests.support.whatsapp_web import Content
from tests.support.whatsapp_web.parts import fakeserver
from tests.support.whatsapp_web.server import WhatsApp
from tests.support.whatsapp_web.world import CONTACT, USER, WITHIN, text_of, wrapper

pytestmark = pytest.mark.e2e


@pytest.fixture
async def whatsapp() -> AsyncIterator[WhatsApp]:
    fakeserver()
    async with WhatsApp() as server:
        yield server
        assert server.mistakes == []


@pytest.fixture
async def daemon(tmp_path: Path, whatsapp: WhatsApp) -> AsyncIterator[Daemon]:
    words = ", ".join(f'"{word}"' for word in wrapper(whatsapp))
    async with Daemon(tmp_path / "state", f"[web]\nwrapper = [{words}]\n") as running:
        yield running


async def state_of(daemon: Daemon, connection: str = "shop") -> dict[str, Any]:
    answer: dict[str, Any] = (await daemon.call("GET", f"/connections/{connection}"))[1]
    return answer


async def reaches(daemon: Daemon, state: str) -> dict[str, Any]:
    async def there() -> dict[str, Any]:
        now = await state_of(daemon)
        return now if now["state"] == state else {}

    return await eventually(there, within=WITHIN)


async def becomes(daemon: Daemon, message: str, *states: str) -> None:
    async def there() -> bool:
        return await daemon.status_of(message) in states

    await eventually(there, within=WITHIN)


async def link(daemon: Daemon, whatsapp: WhatsApp) -> None:
    status, _ = await daemon.call("POST", "/connections", {"id": "shop", "transport": "web", "label": "Shop"})
    assert status == 202
    await reaches(daemon, "qr_pending")

    async def code() -> bytes | None:
        headers = {"Accept": "application/json"}
        status, answer = await daemon.call("GET", "/connections/shop/qr", headers=headers)
        return answer["qr"] if status == 200 else None

    shown = await eventually(code, within=WITHIN)
    await whatsapp.scan(str(shown), USER)
    await reaches(daemon, "connected")


async def test_a_number_is_linked_over_http_and_its_messages_are_not_lost_by_a_kill(
    daemon: Daemon, whatsapp: WhatsApp
) -> None:
    await link(daemon, whatsapp)
    assert (await state_of(daemon))["qr"] is None
    first = await daemon.send("shop", "Olá", to=CONTACT)
    await becomes(daemon, first["id"], "sent")
    [arrived] = whatsapp.arrived
    assert text_of(arrived) == "Olá"
    await whatsapp.receipt(USER, arrived, "read")
    await becomes(daemon, first["id"], "read")
    await whatsapp.write(USER, CONTACT, Content(conversation="oi"), id="IN1")

    async def heard() -> bool:
        messages = await daemon.pages("/connections/shop/messages")
        return any(m["direction"] == "inbound" and m["payload"] == {"text": "oi"} for m in messages)

    await eventually(heard, within=WITHIN)

    # The answer does not come, and both the daemon and its workers are killed in the middle of the send.
    whatsapp.troubles.append("hush")
    second = await daemon.send("shop", "second", to=CONTACT)
    await eventually(lambda: len(whatsapp.arrived) == 2, within=WITHIN)
    await daemon.kill()
    await daemon.start()
    await reaches(daemon, "connected")
    await becomes(daemon, second["id"], "held")
    assert len(whatsapp.arrived) == 2  # it was not sent a second time
    await whatsapp.receipt(USER, whatsapp.arrived[-1])
    await becomes(daemon, second["id"], "delivered")

    assert "Olá" not in daemon.log_text()
    assert CONTACT not in daemon.log_text()
    assert (await daemon.call("POST", "/connections/shop/logout"))[0] == 200
    assert (await state_of(daemon))["state"] == "logged_out"
    assert not (daemon.state / "web" / "shop" / "store.db").exists()


async def test_the_command_line_shows_the_code(daemon: Daemon, whatsapp: WhatsApp) -> None:
    await daemon.call("POST", "/connections", {"id": "shop", "transport": "web", "label": "Shop"})
    await reaches(daemon, "qr_pending")
    environ = {**os.environ, "ZAPD_URL": daemon.url, "ZAPD_API_KEY": daemon.key}

    async def shown() -> str | None:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "connections", "qr", "shop", stdout=asyncio.subprocess.PIPE, env=environ
        )
        out, _ = await process.communicate()
        return out.decode() if process.returncode == 0 else None

    picture = await eventually(shown, within=WITHIN)
    assert "▄" in str(picture)
    assert await daemon.stop() == 0
