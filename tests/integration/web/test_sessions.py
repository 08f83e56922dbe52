"""The life of a session over HTTP: pair, log out, pair again; a degraded line; what a restart does not start."""

import pytest

from tests.support import eventually
from tests.support.daemon import Daemon

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOML = """
[sandbox]
pair_after = "50ms"
latency = "1ms"
"""


async def state(daemon: Daemon, connection: str) -> str:
    return str((await daemon.call("GET", f"/connections/{connection}"))[1]["state"])


async def reaches(daemon: Daemon, connection: str, wanted: str) -> None:
    async def there() -> bool:
        return await state(daemon, connection) == wanted

    await eventually(there, within=20)


async def test_the_same_connection_is_logged_out_and_paired_again(daemon: Daemon, connection: str) -> None:
    status, out = await daemon.call("POST", f"/connections/{connection}/logout")
    assert (status, out["state"], out["reason"], out["desired"]) == (200, "logged_out", "asked", "logged_out")
    status, accepted = await daemon.call(
        "POST", f"/connections/{connection}/send", {"to": "5511999998888", "type": "text", "payload": {"text": "Oi"}}
    )
    assert status == 202

    status, pairing = await daemon.call("POST", f"/connections/{connection}/pair", {"phone": "+55 11 99999-8888"})
    assert status == 202
    assert len(pairing["pairing_code"]["code"]) == 9

    await reaches(daemon, connection, "connected")

    async def left() -> bool:
        return (await daemon.call("GET", f"/messages/{accepted['id']}"))[1]["status"] in ("sent", "delivered", "read")

    await eventually(left, within=20)


async def test_what_cannot_be_paired_is_told_why(daemon: Daemon, connection: str) -> None:
    assert (await daemon.call("POST", f"/connections/{connection}/pair", {}))[0] == 409
    status, problem = await daemon.call("POST", f"/connections/{connection}/pair", {"phone": "12"})
    assert (status, problem["errors"][0]["field"]) == (422, "phone")
    assert (await daemon.call("POST", "/connections/nowhere/logout"))[0] == 404


async def test_an_account_that_was_unlinked_stops_and_is_not_started_by_a_restart(daemon: Daemon) -> None:
    created = await daemon.connect(id="stopped")
    await daemon.call("POST", f"/sandbox/{created['id']}/faults", [{"kind": "logout"}])
    await reaches(daemon, "stopped", "logged_out")
    assert await daemon.stop() == 0
    await daemon.start()
    await reaches(daemon, "main", "connected")
    assert await state(daemon, "stopped") == "logged_out"
