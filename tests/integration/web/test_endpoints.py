"""Endpoints over HTTP: options, pings, numbers, recovery, public keys, curl."""

from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from tests.support import eventually
from tests.support.daemon import Daemon
from tests.support.receiver import Receiver

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def made(daemon: Daemon, url: str, **given: Any) -> dict[str, Any]:
    status, answer = await daemon.call("POST", "/endpoints", {"url": url, **given})
    assert status == 201, answer
    return dict(answer)


async def test_options_are_kept_shown_changed_and_taken_back(daemon: Daemon) -> None:
    endpoint = await made(daemon, "http://127.0.0.1:9/x", types=["x.y"], filter="data.a", batch_size=10)
    assert (endpoint["filter"], endpoint["batch_size"], endpoint["batch_wait"]) == ("data.a", 10, 5.0)
    path = f"/endpoints/{endpoint['id']}"
    _, changed = await daemon.call("PATCH", path, {"filter": None, "concurrency": 2, "headers": {"X-A": "b"}})
    assert (changed["filter"], changed["batch_size"], changed["concurrency"]) == (None, 10, 2)
    _, shown = await daemon.call("GET", path)
    assert (shown["filter"], shown["concurrency"], shown["headers"]) == (None, 2, ["X-A"])


async def test_each_wrong_option_is_named(daemon: Daemon) -> None:
    bad = {"url": "http://127.0.0.1:9/x", "filter": "data.", "batch_size": 0, "signing": ["v1", "v1"]}
    status, problem = await daemon.call("POST", "/endpoints", bad)
    assert status == 422
    assert {error["field"] for error in problem["errors"]} == {"filter", "batch_size", "signing"}


async def test_an_endpoint_of_a_connection_needs_that_connection(daemon: Daemon) -> None:
    status, problem = await daemon.call("POST", "/endpoints", {"url": "http://127.0.0.1:9/x", "connection_id": "nope"})
    assert (status, [error["field"] for error in problem["errors"]]) == (422, ["connection_id"])


async def test_a_receiver_finds_what_it_missed_by_number(daemon: Daemon, connection: str) -> None:
    async with Receiver() as receiver:
        endpoint = await made(daemon, receiver.url, types=["message.*"], headers={"X-Token": "s3cret"})
        await daemon.call(
            "POST", f"/connections/{connection}/send", {"to": "5511999998888", "type": "text", "payload": {"text": "x"}}
        )
        await eventually(lambda: len(receiver.received) >= 3)
        path = f"/endpoints/{endpoint['id']}/events"
        _, page = await daemon.call("GET", path + "?limit=2")
        assert [event["seq"] for event in page["data"]] == [1, 2]
        _, rest = await daemon.call("GET", f"{path}?after={page['next']}")
        assert rest["data"][0]["seq"] == 3

        delivery = page["data"][0]["delivery_id"]
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {daemon.key}"}) as http:
            text = await (await http.get(f"{daemon.url}/deliveries/{delivery}/curl")).text()
        assert "webhook-signature: v1," in text
        assert "s3cret" not in text
        assert endpoint["secret"] not in text

        since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        status, found = await daemon.call(
            "POST", f"/endpoints/{endpoint['id']}/recover", {"since": since, "dry_run": True, "only_failed": False}
        )
        assert (status, found["failed"], found["dry_run"]) == (202, 0, True)


async def test_the_public_keys_need_no_key(daemon: Daemon) -> None:
    endpoint = await made(daemon, "http://127.0.0.1:9/x", types=["x.y"], signing=["v1a"])
    assert endpoint["secret"] is None
    (public,) = endpoint["public_keys"]
    async with aiohttp.ClientSession() as http:
        answer = await http.get(daemon.url + "/.well-known/webhook-keys.json")
        keys = (await answer.json())["keys"]
    assert public in [key["key"] for key in keys]
    assert {key["alg"] for key in keys} == {"ed25519"}
    assert "whsk_" not in str(keys)


async def test_old_secrets_go_only_with_evidence(daemon: Daemon) -> None:
    async with Receiver() as receiver:
        endpoint = await made(daemon, receiver.url, types=["x.y"])
        path = f"/endpoints/{endpoint['id']}"
        await daemon.call("POST", f"{path}/rotate", {})
        _, pinged = await daemon.call("POST", f"{path}/ping")
        assert (pinged["proven"], pinged["right"]["taken"]) == (False, True)  # it checks nothing
        assert (await daemon.call("POST", f"{path}/drop-old-secrets"))[0] == 409
        assert (await daemon.call("POST", f"{path}/drop-old-secrets", {"force": True}))[0] == 200


async def test_who_makes_a_second_endpoint_for_a_url_hears_of_the_first(daemon: Daemon) -> None:
    url = "http://127.0.0.1:9/twins"
    first, second, other = [
        (await daemon.call("POST", "/endpoints", {"url": where, "types": ["twin.x"]}))[1]
        for where in (url, url, url + "/other")
    ]
    assert (first["same_url"], second["same_url"], other["same_url"]) == ([], [first["id"]], [])
    for endpoint in (first, second, other):
        await daemon.call("DELETE", f"/endpoints/{endpoint['id']}")
