"""Who gets in: keys, scopes, keys bound to one connection, paces."""

from typing import Any

import pytest

from tests.support.daemon import Daemon

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = {"to": "5511999998888", "type": "text", "payload": {"text": "x"}}


async def key_with(daemon: Daemon, *scopes: str, **more: Any) -> dict[str, str]:
    """Headers with a new key."""
    status, created = await daemon.call("POST", "/keys", {"label": "test", "scopes": list(scopes), **more})
    assert status == 201, created
    return {"Authorization": f"Bearer {created['key']}", "X-Key-Id": created["id"]}


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic d3Jvbmc6d3Jvbmc="},
        {"Authorization": ""},
        {"Authorization": "Bearer "},
    ],
)
async def test_without_a_right_key_it_is_401(daemon: Daemon, headers: dict[str, str]) -> None:
    status, problem = await daemon.call("GET", "/connections", headers=headers)
    assert (status, problem["title"]) == (401, "Unauthorized")


async def test_a_key_may_come_as_x_api_key(daemon: Daemon) -> None:
    import aiohttp

    async with (
        aiohttp.ClientSession() as http,
        http.get(daemon.url + "/connections", headers={"X-Api-Key": daemon.key}) as answer,
    ):
        assert answer.status == 200


@pytest.mark.parametrize(
    ("scope", "method", "path", "body"),
    [
        ("read", "POST", "/connections/main/send", TEXT),
        ("read", "POST", "/connections/main/pause", None),
        ("read", "POST", "/connections", {"label": "x", "transport": "sandbox"}),
        ("read", "GET", "/keys", None),
        ("send", "GET", "/connections", None),
        ("control", "POST", "/endpoints", {"url": "https://example.com"}),
        ("settings", "POST", "/queues/pause", None),
    ],
)
async def test_a_scope_that_is_missing_is_403(
    daemon: Daemon, connection: str, scope: str, method: str, path: str, body: Any
) -> None:
    headers = await key_with(daemon, scope)
    assert (await daemon.call(method, path, body, headers=headers))[0] == 403


async def test_a_key_does_what_its_scope_says(daemon: Daemon, connection: str) -> None:
    headers = await key_with(daemon, "send")
    assert (await daemon.call("POST", f"/connections/{connection}/send", TEXT, headers=headers))[0] == 202


async def test_a_revoked_key_is_refused_at_once(daemon: Daemon) -> None:
    headers = await key_with(daemon, "read")
    assert (await daemon.call("GET", "/connections", headers=headers))[0] == 200
    assert (await daemon.call("DELETE", f"/keys/{headers['X-Key-Id']}"))[0] == 200
    assert (await daemon.call("GET", "/connections", headers=headers))[0] == 401


async def test_an_expired_key_is_refused(daemon: Daemon) -> None:
    headers = await key_with(daemon, "read", expires_at="2020-01-01T00:00:00Z")
    assert (await daemon.call("GET", "/connections", headers=headers))[0] == 401


async def test_a_key_is_listed_without_its_secret(daemon: Daemon) -> None:
    headers = await key_with(daemon, "read")
    keys = await daemon.pages("/keys")
    assert headers["X-Key-Id"] in {key["id"] for key in keys}
    assert headers["Authorization"].removeprefix("Bearer ") not in str(keys)


async def test_a_bound_key_reaches_its_own_connection_only(daemon: Daemon, connection: str) -> None:
    await daemon.connect(id="other")
    mine, theirs = await daemon.send(connection, "mine"), await daemon.send("other", "theirs")
    headers = await key_with(daemon, "read", "send", "control", "settings", connection_id=connection)

    async def status(method: str, path: str, body: Any = None) -> int:
        return (await daemon.call(method, path, body, headers=headers))[0]

    assert await status("POST", f"/connections/{connection}/send", TEXT) == 202
    assert await status("POST", "/connections/other/send", TEXT) == 404
    assert await status("GET", "/connections/other") == 404
    assert await status("GET", f"/messages/{mine['id']}") == 200
    assert await status("GET", f"/messages/{theirs['id']}") == 404
    assert await status("POST", f"/messages/{theirs['id']}/retry") == 404
    assert await status("GET", "/sandbox/other/ledger") == 404
    assert await status("GET", "/events?connection_id=other") == 403
    assert await status("GET", "/queues") == 403
    assert await status("GET", "/stream?connection_id=other") == 403
    _, listed = await daemon.call("GET", "/connections", headers=headers)
    assert [row["id"] for row in listed["data"]] == [connection]
    _, events = await daemon.call("GET", "/events?limit=1000", headers=headers)
    assert {event["connection_id"] for event in events["data"]} == {connection}


async def test_a_key_for_a_connection_that_is_not_there_is_422(daemon: Daemon) -> None:
    body = {"label": "x", "scopes": ["read"], "connection_id": "nope"}
    status, problem = await daemon.call("POST", "/keys", body)
    assert (status, problem["errors"][0]["field"]) == (422, "connection_id")


async def test_nobody_else_on_the_machine_can_read_what_is_kept(daemon: Daemon) -> None:
    """Also in a directory that was there before, with whatever mode."""
    kept = [path for path in daemon.state.rglob("*") if path not in (daemon.config, daemon.log)]
    assert {"zapd.db", "admin.key", "data.key"} <= {path.name for path in kept}
    assert [path for path in kept if path.stat().st_mode & 0o077] == []
