"""Tenants, the life of their keys, the trail of access; and that a tenant reaches nothing of another's."""

import re
from typing import Any

import orjson
import pytest

from tests.support import eventually
from tests.support.daemon import Daemon
from zapd.web.route import Route
from zapd.web.routes import ROUTES

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: Bodies that are right, so that a refusal is about whose thing it is.
BODIES: dict[str, Any] = {
    "/connections/{connection}/send": {"to": "5511999998888", "type": "text", "payload": {"text": "x"}},
    "/keys/{id}/rotate": {},
    "/endpoints/{id}": {"enabled": False},
    "/endpoints/{id}/rotate": {},
}


async def tenant(daemon: Daemon, name: str) -> tuple[str, dict[str, str]]:
    """Its id, and headers with its first key."""
    status, made = await daemon.call("POST", "/tenants", {"name": name})
    assert status == 201, made
    return made["id"], {"Authorization": f"Bearer {made['key']}"}


async def things(daemon: Daemon) -> dict[str, str]:
    """One thing of the default tenant of each kind: path → id."""
    await daemon.connect(id="private", webhook_url="http://127.0.0.1:9/nobody")
    sent = await daemon.send("private", "a secret word")
    await eventually(lambda: _told(daemon))
    key = (await daemon.call("POST", "/keys", {"label": "private key", "scopes": ["read"]}))[1]
    return {
        "connections": "private",
        "sandbox": "private",
        "hooks": "private",
        "messages": sent["id"],
        "endpoints": (await daemon.call("GET", "/endpoints"))[1]["data"][0]["id"],
        "deliveries": (await daemon.call("GET", "/deliveries"))[1]["data"][0]["id"],
        "events": (await daemon.call("GET", "/events"))[1]["data"][0]["id"],
        "keys": key["id"],
        "jobs": sent["job_id"],
    }


async def _told(daemon: Daemon) -> bool:
    return bool((await daemon.call("GET", "/deliveries"))[1]["data"])


async def state_of(daemon: Daemon, mine: dict[str, str]) -> list[Any]:
    """What a stranger must not have changed."""
    private = (await daemon.call("GET", "/connections/private"))[1]
    endpoint = (await daemon.call("GET", f"/endpoints/{mine['endpoints']}"))[1]
    key = (await daemon.call("GET", f"/keys/{mine['keys']}"))[1]
    messages = [m["id"] for m in await daemon.messages("private")]
    return [private["state"], private["desired"], endpoint["enabled"], key["revoked_at"], key["expires_at"], messages]


def path_of(route: Route, mine: dict[str, str]) -> str:
    first = route.path.split("/")[1]
    return re.sub(r"\{(\w+)\}", lambda _: mine.get(first, "nothing"), route.path)


async def test_a_tenant_sees_and_does_nothing_of_anothers(daemon: Daemon) -> None:
    mine = await things(daemon)
    before = await state_of(daemon, mine)
    _, stranger = await tenant(daemon, "Stranger")
    secrets = [*mine.values(), "a secret word", "private key", "5511999998888"]
    for route in ROUTES:
        if route.scope is None or route.path == "/stream":
            continue
        body = BODIES.get(route.path, {}) if route.method in ("POST", "PATCH", "PUT") else None
        status, answer = await daemon.call(route.method, path_of(route, mine), body, headers=stranger)
        if route.method == "GET" and route.path in ("/events", "/audit"):  # its own trail holds what it asked for
            answer = [row for row in answer["data"] if row["category"] != "access"]
        said = answer.decode(errors="replace") if isinstance(answer, bytes) else orjson.dumps(answer).decode()
        if status < 300:  # a list, or a thing of its own
            assert not [secret for secret in secrets if secret in said], (route.method, route.path, said)
        else:
            assert status in (403, 404, 409, 422, 400), (route.method, route.path, status, said)
    assert await state_of(daemon, mine) == before


async def test_what_belongs_to_all_is_the_operators(daemon: Daemon) -> None:
    _, stranger = await tenant(daemon, "Curious")
    for method, path in (("GET", "/status"), ("GET", "/tenants"), ("POST", "/queues/pause"), ("POST", "/tenants")):
        body = {"name": "x"} if path == "/tenants" and method == "POST" else None
        assert (await daemon.call(method, path, body, headers=stranger))[0] == 403
    assert (await daemon.call("GET", "/queues/message:send"))[1]["paused"] is False


async def test_two_tenants_may_use_the_same_names(daemon: Daemon) -> None:
    _, one = await tenant(daemon, "One")
    _, two = await tenant(daemon, "Two")
    for headers in (one, two):
        body = {"id": "main-line", "transport": "sandbox", "label": "Main"}
        assert (await daemon.call("POST", "/connections", body, headers=headers))[0] == 202
        assert len((await daemon.call("GET", "/connections", headers=headers))[1]["data"]) == 1


async def test_a_tenants_name_is_taken_once(daemon: Daemon) -> None:
    assert (await daemon.call("POST", "/tenants", {"name": "Acme", "id": "acme"}))[0] == 201
    assert (await daemon.call("POST", "/tenants", {"name": "Other", "id": "acme"}))[0] == 409
    assert (await daemon.call("GET", "/tenants/acme"))[1]["name"] == "Acme"
    assert (await daemon.call("GET", "/tenants/nobody"))[0] == 404


async def test_only_the_operator_makes_keys_for_others(daemon: Daemon) -> None:
    tenant_id, stranger = await tenant(daemon, "Wishful")
    body = {"label": "x", "scopes": ["read"], "tenant": "default"}
    assert (await daemon.call("POST", "/keys", body, headers=stranger))[0] == 403
    assert (await daemon.call("POST", "/keys", body | {"tenant": tenant_id}))[0] == 201
    status, problem = await daemon.call("POST", "/keys", body | {"tenant": "nobody"})
    assert (status, problem["errors"][0]["field"]) == (422, "tenant")


async def test_a_rotated_key_overlaps_with_the_new_one_and_ends_at_once_without_overlap(daemon: Daemon) -> None:
    old = (await daemon.call("POST", "/keys", {"label": "client", "scopes": ["read"]}))[1]
    status, new = await daemon.call("POST", f"/keys/{old['id']}/rotate", {"overlap": 3600})
    assert (status, new["scopes"], new["label"]) == (201, ["read"], "client")
    assert (await daemon.call("GET", f"/keys/{old['id']}"))[1]["expires_at"] is not None
    for key in (old, new):
        bearer = {"Authorization": f"Bearer {key['key']}"}
        assert (await daemon.call("GET", "/connections", headers=bearer))[0] == 200

    newest = (await daemon.call("POST", f"/keys/{new['id']}/rotate", {"overlap": 0}))[1]

    assert (await daemon.call("GET", "/connections", headers={"Authorization": f"Bearer {new['key']}"}))[0] == 401
    assert (await daemon.call("GET", "/connections", headers={"Authorization": f"Bearer {newest['key']}"}))[0] == 200
    assert (await daemon.call("POST", f"/keys/{new['id']}/rotate", {}))[0] == 409


async def test_a_key_has_a_pace_of_its_own(daemon: Daemon) -> None:
    body = {"label": "slow", "scopes": ["read"], "rate_per_minute": 3}
    bearer = {"Authorization": f"Bearer {(await daemon.call('POST', '/keys', body))[1]['key']}"}
    answers = [(await daemon.call("GET", "/connections", headers=bearer))[0] for _ in range(4)]
    assert answers == [200, 200, 200, 429]


async def test_the_trail_says_who_was_turned_away_and_who_changed_what(daemon: Daemon) -> None:
    await daemon.call("GET", "/connections", headers={"Authorization": "Bearer wrong"})
    made = (await daemon.call("POST", "/keys", {"label": "traced", "scopes": ["read"]}))[1]
    await daemon.call("DELETE", f"/keys/{made['id']}")
    await daemon.call("POST", "/keys", {"label": "x", "scopes": ["read"]}, headers=_bearer(made["key"]))

    rows = await daemon.pages("/audit")

    told = [(row["type"], row["data"].get("route"), row["data"].get("status")) for row in rows]
    assert ("access.denied", "/connections", None) in told
    assert ("access.call", "/keys", 201) in told
    revoked = next(row for row in rows if row["data"].get("things") == {"id": made["id"]})
    assert (revoked["data"]["method"], revoked["data"]["key_label"]) == ("DELETE", "admin.key")
    assert revoked["data"]["address"] == "127.0.0.1"
    assert made["key"] not in orjson.dumps(rows).decode()


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
