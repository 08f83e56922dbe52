"""Z-API over the real daemon: connect, send, callbacks with the path's secret, a line that goes down."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support import eventually
from tests.support.daemon import Daemon
from tests.support.fake_zapi import CONFIG, INSTANCE, SECRET, TOKEN, FakeZapi, received

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Line:
    """A daemon, and Z-API on the other side of one connection."""

    def __init__(self, daemon: Daemon, zapi: FakeZapi) -> None:
        self.daemon = daemon
        self.zapi = zapi

    async def state(self) -> str:
        return str((await self.daemon.call("GET", "/connections/z"))[1]["state"])

    async def is_(self, state: str) -> None:
        async def there() -> bool:
            return await self.state() == state

        await eventually(there, within=20)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def line(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Line]:
    async with FakeZapi(receipts=True) as zapi:
        zapi.numbers["5511999998888"] = "5511999998888"
        toml = f'[zapi]\nbase_url = "{zapi.url}"\n[sessions]\nreconnect_cap = "1s"\n'
        async with Daemon(tmp_path_factory.mktemp("state"), toml) as daemon:
            zapi.hook_url = f"{daemon.url}/hooks/zapi/z/{SECRET}"
            body = {"id": "z", "transport": "zapi", "label": "shop", "config": CONFIG}
            status, created = await daemon.call("POST", "/connections", body)
            assert (status, created["hook_path"]) == (202, f"/hooks/zapi/z/{SECRET}")
            yield Line(daemon, zapi)


async def test_it_connects_with_its_own_pace(line: Line) -> None:
    await line.is_("connected")
    _, shown = await line.daemon.call("GET", "/connections/z")
    assert shown["limits"]["per_minute"] == 25
    assert shown["on_ambiguous"] == "hold"
    assert line.zapi.settings == {"disableEnqueueWhenDisconnected": True}


async def test_a_message_leaves_and_its_callbacks_come_back(line: Line) -> None:
    await line.is_("connected")
    sent = await line.daemon.send("z", "Oi")

    async def read() -> bool:
        return await line.daemon.status_of(sent["id"]) == "read"

    await eventually(read, within=20)
    assert line.zapi.sent[-1] == ("send-text", {"phone": "5511999998888", "message": "Oi"})


async def test_what_a_contact_writes_is_kept_once(line: Line) -> None:
    for _ in range(2):
        assert await line.zapi.call_back(received("IN1")) == 200

    async def kept() -> bool:
        return len(await line.daemon.messages("z", "inbound")) == 1

    await eventually(kept, within=20)


async def test_a_forged_callback_is_refused(line: Line) -> None:
    url = line.zapi.hook_url
    assert url
    try:
        for wrong, status in (("x" * 24, 401), ("", 404)):
            line.zapi.hook_url = f"{line.daemon.url}/hooks/zapi/z/{wrong}"
            assert await line.zapi.call_back(received("IN2")) == status
        line.zapi.hook_url = f"{line.daemon.url}/hooks/zapi/nobody/{SECRET}"
        assert await line.zapi.call_back(received("IN2")) == 404
        line.zapi.hook_url = url
        assert await line.zapi.call_back(received("IN2"), instance="OTHER") == 403
    finally:
        line.zapi.hook_url = url
    assert len(await line.daemon.messages("z", "inbound")) == 1


async def test_a_line_that_goes_down_is_seen_and_comes_back_by_itself(line: Line) -> None:
    line.zapi.connected = False
    await line.zapi.call_back({"type": "DisconnectedCallback", "disconnected": True, "error": "gone"})
    await line.is_("qr_pending")
    waiting = await line.daemon.send("z", "later")
    line.zapi.connected = True
    await line.is_("connected")

    async def left() -> bool:
        return await line.daemon.status_of(waiting["id"]) in ("sent", "delivered", "read")

    await eventually(left, within=20)


async def test_no_secret_is_logged_or_shown(line: Line) -> None:
    _, shown = await line.daemon.call("GET", "/connections/z", raw=True)
    for text in (line.daemon.log_text(), shown.decode()):
        assert TOKEN not in text
        assert SECRET not in text
    assert INSTANCE not in line.daemon.log_text()
