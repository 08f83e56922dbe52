"""The event hub through the API of a real daemon: own events, inbound webhooks, rules, actions, quarantine, replay.

Of the pains of webhooks.md section D that are to be solved from day one, those of the hub have a test here that is
named after them. Not here: 1, 15 and 25 are the engine's (tests/integration/jobs); 2, 3, 4, 6, 8, 11, 13, 22 and 23
those of webhooks that leave (tests/integration/webhooks); 9 is tests/contract/store/test_hub.py;
10 goes with the tenant's data key (tests of privacy); 12: nothing is gated, so there is nothing to test.
"""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.support import eventually
from tests.support.daemon import Daemon
from tests.support.receiver import Receiver, Reply

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOML = """
[webhooks]
failure_budget = 4
[events]
hook_deadline = "1s"
quarantine_rows = 3
max_depth = 3
[queues."billing:check"]
action = "noop"
[listeners]
"appointment.*" = ["tests.support.event_listeners:remember", "tests.support.event_listeners:Failing"]
[targets."inside"]
base_url = "http://169.254.169.254/latest"
[sources."fromfile"]
verify = "api-key"
header = "X-Key"
secret = "env:HOOK_KEY"
rate = ""
ip_rate = ""
"""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def daemon(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Daemon]:
    async with Daemon(tmp_path_factory.mktemp("state"), TOML, environ={"HOOK_KEY": "k-file"}) as running:
        yield running


async def made(daemon: Daemon, collection: str, **body: Any) -> dict[str, Any]:
    status, answer = await daemon.call("POST", collection, body)
    assert status == 201, answer
    result: dict[str, Any] = answer
    return result


async def posted(daemon: Daemon, type_: str, data: Any, **more: Any) -> str:
    status, answer = await daemon.call("POST", "/events", {"type": type_, "data": data, **more})
    assert status in (200, 202), answer
    return str(answer["id"])


async def whole(daemon: Daemon, event_id: str) -> dict[str, Any]:
    status, answer = await daemon.call("GET", f"/events/{event_id}")
    assert status == 200, answer
    result: dict[str, Any] = answer
    return result


async def settled(daemon: Daemon, event_id: str) -> dict[str, Any]:
    """The event when nothing is to be done about it any more."""

    async def over() -> Any:
        event = await whole(daemon, event_id)
        open_actions = [a for a in event["actions"] if a["state"] in ("pending", "retrying")]
        return event if event["progress"] in ("done", "failed") and not open_actions else None

    found: dict[str, Any] = await eventually(over, within=30)
    return found


def github(raw: bytes, *, secret: str = "gh", delivery: str | None = None) -> dict[str, str]:
    signature = "sha256=" + hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
    more = {"X-GitHub-Delivery": delivery} if delivery else {}
    return {"X-Hub-Signature-256": signature, "X-GitHub-Event": "issues", **more}


# --- zapd's own events


async def test_pain_13_a_route_tells_of_a_failing_endpoint_where_no_endpoint_is_left_to_hear_it(daemon: Daemon) -> None:
    """At each step by Slack, e-mail or WhatsApp: here a notification."""
    async with Receiver() as broken, Receiver() as slack:
        broken.reply = Reply(500)
        text = "{{ type }} {{ data.percent }} %, {{ data.failures }} in a row, {{ data|tojson|length > 9 }}"
        await made(
            daemon,
            "/routes",
            name="alarm",
            types=["endpoint.*"],
            actions=[{"kind": "notify", "url": slack.url, "text": text}],
        )
        await made(daemon, "/endpoints", url=broken.url, types=["fragile.*"])
        for number in range(4):
            await posted(daemon, "fragile.thing", {"n": number})

        await eventually(lambda: len(slack.received) == 3, within=60)

        assert sorted(call.json["text"] for call in slack.received) == [
            "endpoint.disabled 100 %, 4 in a row, True",
            "endpoint.failing 50 %, 2 in a row, True",
            "endpoint.failing 70 %, 3 in a row, True",
        ]
        await daemon.call("DELETE", "/routes/alarm")


# --- own events


async def test_an_own_event_is_kept_once_for_its_key_and_once_for_its_id(daemon: Daemon) -> None:
    body = {"type": "order.paid", "data": {"n": 1}}
    key = {"Idempotency-Key": "order-1"}
    first = await daemon.call("POST", "/events", body, headers=key)
    again = await daemon.call("POST", "/events", body, headers=key)
    other = await daemon.call("POST", "/events", {**body, "data": {"n": 2}}, headers=key)
    assert (first[0], again[1]["id"], other[0]) == (202, first[1]["id"], 409)

    named = {**body, "id": "order-77"}
    assert (await daemon.call("POST", "/events", named))[1]["id"] == "order-77"
    assert (await daemon.call("POST", "/events", named))[0] == 202
    assert (await daemon.call("POST", "/events", {**named, "data": {"n": 9}}))[0] == 409
    assert (await daemon.call("POST", "/events", named, headers={"Idempotency-Key": "k2"}))[0] == 202
    listed = (await daemon.call("GET", "/events?type=order.*&category=own&limit=100"))[1]["data"]
    assert len([event for event in listed if event["id"] == "order-77"]) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"type": "a b", "data": 1}, "type"),
        ({"type": "x"}, "data"),
        ({"type": "x", "data": 1, "delay": -1}, "delay"),
        ({"type": "x", "data": 1, "delay": "soon"}, "delay"),
        ({"type": "x", "data": 1, "delay": "91d"}, "delay"),
        ({"type": "x", "data": 1, "sync": True, "delay": 5}, "delay"),
        ({"type": "x", "data": 1, "occurred_at": "yesterday"}, "occurred_at"),
        ({"type": "message.sent", "data": 1}, "type"),
        ({"type": "x", "data": 1, "id": "../etc"}, "id"),
    ],
)
async def test_a_wrong_own_event_is_refused_by_field(daemon: Daemon, body: Any, field: str) -> None:
    status, answer = await daemon.call("POST", "/events", body)
    assert status == 422
    assert [error["field"] for error in answer["errors"]] == [field]


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
async def test_a_number_that_is_none_in_json_is_refused_and_not_kept_as_null(daemon: Daemon, number: str) -> None:
    status, _ = await daemon.call("POST", "/events", b'{"type": "x.y", "data": {"n": %s}}' % number.encode())
    assert status == 400
    text = {"type": "x.y", "data": {"n": "NaN, Infinity and 1e999 are words here"}}
    assert (await daemon.call("POST", "/events", text))[0] == 202


async def test_sync_runs_the_listeners_before_it_answers_and_a_failed_one_is_tried_again(daemon: Daemon) -> None:
    status, answer = await daemon.call("POST", "/events", {"type": "appointment.x", "data": {"a": 1}, "sync": True})
    assert status == 200
    ended = {line["listener"].rsplit(":")[-1]: line for line in answer["listeners"]}
    assert ended["remember"]["state"] == "done"
    assert ended["Failing"]["state"] == "retrying"
    assert "ValueError: not today" in ended["Failing"]["error"]


@pytest.mark.parametrize("delay", [60, "1m"])
async def test_a_delayed_event_waits_and_occurred_at_is_kept(daemon: Daemon, delay: float | str) -> None:
    at = "2020-05-01T10:00:00Z"
    event = await whole(daemon, await posted(daemon, "slow.thing", 1, delay=delay, occurred_at=at))
    assert event["progress"] == "pending"
    assert event["occurred_at"] == "2020-05-01T10:00:00.000Z"


# --- inbound


async def test_pain_5_an_inbound_webhook_is_kept_as_the_bytes_it_came_in(
    daemon: Daemon,
) -> None:
    await made(daemon, "/sources", name="gh", verify="github", secret="gh")
    raw = b'{ "action" : "opened",\n "n":1.0 }'
    status, first = await daemon.call("POST", "/hooks/gh", raw, headers=github(raw, delivery="d-1"))
    assert (status, first["duplicate"]) == (202, False)
    event = await settled(daemon, first["id"])
    assert event["raw"].encode() == raw
    assert (event["type"], event["category"], event["source"]) == ("github.issues.opened", "inbound", "gh")
    assert event["headers"]["x-hub-signature-256"] == "***"
    again = [daemon.call("POST", "/hooks/gh", raw, headers=github(raw, delivery="d-1")) for _ in range(10)]
    assert {(s, a["id"], a["duplicate"]) for s, a in await asyncio.gather(*again)} == {(202, first["id"], True)}


async def test_pain_18_concurrent_duplicates_are_one_event(daemon: Daemon) -> None:
    raw = b'{"action":"closed"}'
    calls = [daemon.call("POST", "/hooks/gh", raw, headers=github(raw, delivery="race")) for _ in range(20)]
    answers = await asyncio.gather(*calls)
    assert {status for status, _ in answers} == {202}
    assert sum(not answer["duplicate"] for _, answer in answers) == 1
    assert len({answer["id"] for _, answer in answers}) == 1


async def test_pain_19_a_refused_call_burns_no_key_so_the_senders_next_try_is_taken(daemon: Daemon) -> None:
    raw = b'{"action":"x"}'
    assert (await daemon.call("POST", "/hooks/gh", raw, headers=github(raw, secret="no", delivery="n1")))[0] == 401
    status, answer = await daemon.call("POST", "/hooks/gh", raw, headers=github(raw, delivery="n1"))
    assert (status, answer["duplicate"]) == (202, False)


async def test_a_source_of_the_file_reads_its_secret_from_the_environment_and_cannot_be_changed(daemon: Daemon) -> None:
    assert (await daemon.call("POST", "/hooks/fromfile", {"a": 1}, headers={"X-Key": "k-file"}))[0] == 202
    assert (await daemon.call("POST", "/hooks/fromfile", {"a": 1}, headers={"X-Key": "other"}))[0] == 401
    assert (await daemon.call("PATCH", "/sources/fromfile", {"secret": "x"}))[0] == 409
    shown = (await daemon.call("GET", "/sources/fromfile"))[1]
    assert (shown["secret"], shown["from_file"]) == ("***", True)


async def test_a_fixed_secret_lets_quarantined_calls_in(daemon: Daemon) -> None:
    await made(daemon, "/sources", name="late", verify="github", secret="wrong")
    raw = b'{"action":"kept","phone":"5511999998888"}'
    refused = await daemon.call("POST", "/hooks/late", raw, headers=github(raw, delivery="q1"))
    assert (refused[0], refused[1]["detail"]) == (401, "signature: the signature does not fit")
    (row,) = (await daemon.call("GET", "/quarantine?source=late"))[1]["data"]
    shown = (await daemon.call("GET", f"/quarantine/{row['id']}"))[1]
    assert "5511999998888" not in json.dumps(shown)
    assert shown["headers"]["x-hub-signature-256"] == "***"
    assert (await daemon.call("POST", f"/quarantine/{row['id']}/retry"))[0] == 409
    assert (await daemon.call("PATCH", "/sources/late", {"secret": "gh"}))[0] == 200
    status, answer = await daemon.call("POST", f"/quarantine/{row['id']}/retry")
    assert status == 202
    assert (await settled(daemon, answer["id"]))["raw"].encode() == raw
    assert (await daemon.call("GET", "/quarantine?source=late"))[1]["data"] == []


async def test_the_quarantine_keeps_a_bounded_number_and_can_be_emptied(daemon: Daemon) -> None:
    for n in range(6):
        await daemon.call("POST", "/hooks/late", {"n": n}, headers={"X-Hub-Signature-256": "sha256=0"})
    assert len((await daemon.call("GET", "/quarantine?source=late"))[1]["data"]) == 3
    status, answer = await daemon.call("POST", "/quarantine/retry", {"source": "late"})
    assert (status, answer) == (202, {"accepted": 0, "refused": 3})
    assert (await daemon.call("DELETE", "/quarantine?source=late"))[1] == {"deleted": 3}


async def test_the_schema_the_type_and_the_dedup_path_refuse_by_name(daemon: Daemon) -> None:
    await made(
        daemon,
        "/sources",
        name="strict",
        verify="api-key",
        header="X-Key",
        secret="s",
        type="shop.{body.kind}",
        dedup="body.id",
        schema={"type": "object", "required": ["kind"], "properties": {"kind": {"type": ["string", "null"]}}},
    )
    for body, check, status in (
        ({}, "schema: body: required", 422),
        ({"kind": "x"}, "dedup: ", 422),
        ({"kind": None, "id": 1}, None, 202),
        ({"kind": "a/b c", "id": 2}, None, 202),
    ):
        answered, answer = await daemon.call("POST", "/hooks/strict", body, headers={"X-Key": "s"})
        assert answered == status
        if check:
            assert answer["detail"].startswith(check)
        else:
            assert (await whole(daemon, answer["id"]))["type"] in ("shop", "shop.a.b_c")


async def test_a_source_is_paced_and_the_refusal_says_when_to_come_back(daemon: Daemon) -> None:
    await made(daemon, "/sources", name="paced", verify="api-key", header="X-Key", secret="s", rate="3/min")
    statuses = [(await daemon.call("POST", "/hooks/paced", {}, headers={"X-Key": "s"}))[0] for _ in range(5)]
    assert statuses == [202, 202, 202, 429, 429]


async def test_hostile_bodies_are_refused_within_limits_and_the_listener_stays_responsive(daemon: Daemon) -> None:
    await made(daemon, "/sources", name="open", verify="api-key", header="X-Key", secret="s", ip_rate="", rate="")
    key = {"X-Key": "s"}
    for body, headers, status in (
        (b"[" * 300_000, {}, 400),
        (b"[" * 400 + b"]" * 400, {}, 400),
        (b'{"a":"\xff\xfe"}', {}, 400),
        (b'{"a":"\x00"}', {}, 400),
        (b"not json", {}, 400),
        (b"", {}, 400),
        (b"{}", {"Content-Type": "image/png"}, 415),
        (b"\x1f\x8b", {"Content-Encoding": "gzip"}, 415),
    ):
        assert (await daemon.call("POST", "/hooks/open", body, headers={**key, **headers}))[0] == status, body[:20]
    big = asyncio.create_task(_flood(daemon, 100 * 1024 * 1024))
    slow = [asyncio.create_task(_slow(daemon)) for _ in range(20)]
    began = time.monotonic()
    assert (await daemon.call("GET", "/health"))[0] == 200
    assert time.monotonic() - began < 5
    assert await big in (413, 0)
    assert set(await asyncio.gather(*slow)) <= {408, 0}


async def _flood(daemon: Daemon, size: int) -> int:
    """The status of a body that goes on and on; 0: the connection was closed."""

    async def body() -> AsyncIterator[bytes]:
        for _ in range(size // 65_536):
            yield b" " * 65_536

    try:
        async with (
            aiohttp.ClientSession() as http,
            http.post(daemon.url + "/hooks/open", data=body(), headers={"X-Key": "s"}) as answer,
        ):
            return answer.status
    except (aiohttp.ClientError, OSError):
        return 0


async def _slow(daemon: Daemon) -> int:
    """The status of a body that never comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
    writer.write(b"POST /hooks/open HTTP/1.1\r\nHost: x\r\nX-Key: s\r\nContent-Length: 10\r\n\r\n{")
    line = await asyncio.wait_for(reader.readline(), 30)
    writer.close()
    return int(line.split()[1]) if line else 0


async def test_a_doubled_signature_header_is_refused(daemon: Daemon) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
    head = "POST /hooks/open HTTP/1.1\r\nHost: x\r\nX-Key: s\r\nX-Key: t\r\nContent-Length: 2\r\n\r\n{}"
    writer.write(head.encode())
    assert b" 400 " in await asyncio.wait_for(reader.readline(), 30)
    writer.close()


async def test_meta_asks_whether_the_url_is_ours(daemon: Daemon) -> None:
    await made(daemon, "/sources", name="meta", verify="meta", secret="app", verify_token="vt")
    ask = "/hooks/meta?hub.mode=subscribe&hub.challenge=123&hub.verify_token="
    assert await daemon.call("GET", ask + "vt", raw=True) == (200, b"123")
    assert (await daemon.call("GET", ask + "no"))[0] == 403


# --- through


async def test_a_route_maps_and_delivers_and_why_tells_of_every_rule(daemon: Daemon) -> None:
    async with Receiver() as crm:
        await made(daemon, "/targets", name="crm", base_url=crm.url, auth={"type": "bearer", "token": "t0k"})
        await made(daemon, "/mappings", name="lead", jmespath="{full_name: data.name, tag: 'web'}")
        action = {"kind": "deliver", "target": "crm", "path": "/leads/{{ data.id }}", "mapping": "lead"}
        await made(daemon, "/routes", name="r-lead", types=["lead.*"], condition="data.score > `5`", actions=[action])
        await made(daemon, "/routes", name="r-other", types=["ticket.opened"], actions=[action])
        skipped = {**action, "condition": "data.vip"}
        await made(daemon, "/routes", name="r-vip", types=["lead.created"], actions=[skipped])
        event = await settled(daemon, await posted(daemon, "lead.created", {"id": 7, "name": "Ana", "score": 9}))

        (call,) = crm.received
        assert (call.path, call.json) == ("/hook/leads/7", {"full_name": "Ana", "tag": "web"})
        assert call.headers["authorization"] == "Bearer t0k"
        assert call.headers["idempotency-key"] == event["actions"][0]["id"]
        why = (await daemon.call("GET", f"/events/{event['id']}/why"))[1]
        told = {line["route"].split("@")[0]: (line["matched"], line["because"]) for line in why["routes"]}
        assert told["r-lead"] == (True, "it fits")
        assert told["r-other"] == (False, "its types (ticket.opened) do not take lead.created")
        (vip,) = [line for line in why["routes"] if line["route"].startswith("r-vip")]
        assert vip["actions"][0]["because"] == "its condition does not hold: data.vip"

        cold = await settled(daemon, await posted(daemon, "lead.created", {"id": 8, "name": "Bia", "score": 1}))
        assert cold["actions"] == []
        assert len(crm.received) == 1


async def test_pain_17_an_action_that_cannot_be_rendered_is_visible_and_can_be_done_after_the_fix(
    daemon: Daemon,
) -> None:
    async with Receiver() as crm, Receiver() as watcher:
        await made(daemon, "/endpoints", url=watcher.url, types=["action.failed"])
        await made(daemon, "/targets", name="crm2", base_url=crm.url)
        action = {"kind": "deliver", "target": "crm2", "path": "/{{ data.missing }}"}
        await made(daemon, "/routes", name="bad", types=["broken.one"], actions=[action])
        event = await settled(daemon, await posted(daemon, "broken.one", {}))
        (dead,) = event["actions"]
        assert dead["state"] == "dead"
        assert "route bad@1, action 0 (deliver): path: " in dead["error"]
        assert event["id"] in dead["error"]
        failed = (await daemon.call("GET", "/events?type=action.failed"))[1]["data"]
        assert [e["data"]["action_id"] for e in failed] == [dead["id"]]
        await eventually(lambda: [got.json["data"]["action_id"] for got in watcher.received] == [dead["id"]])

        await daemon.call("PATCH", "/routes/bad", {"actions": [{**action, "path": "/fixed"}]})
        assert (await daemon.call("POST", f"/actions/{dead['id']}/retry"))[0] == 202
        assert (await settled(daemon, event["id"]))["actions"][0]["state"] == "done"
        assert crm.received[0].path == "/hook/fixed"


async def test_errors_show_no_number_and_no_address_of_a_person(daemon: Daemon) -> None:
    await made(daemon, "/mappings", name="wrong-kind", jmespath="length(data.phone)")
    action = {"kind": "emit", "type": "private.done", "mapping": "wrong-kind"}
    await made(daemon, "/routes", name="private", types=["private.x"], actions=[action])
    event = await settled(daemon, await posted(daemon, "private.x", {"phone": 5511999990077}))
    assert "invalid type for value: ***" in event["actions"][0]["error"]
    why = (await daemon.call("GET", f"/events/{event['id']}/why"))[1]
    failed = (await daemon.call("GET", "/events?type=action.failed&limit=1000"))[1]
    assert "5511999990077" not in json.dumps([event["actions"], why, failed])


async def test_pain_14_a_failing_target_is_tried_again_given_up_and_tried_by_hand(daemon: Daemon) -> None:
    async with Receiver() as flaky:
        flaky.script.append(Reply(503))
        await made(daemon, "/targets", name="flaky", base_url=flaky.url, breaker_failures=100)
        action = {"kind": "deliver", "target": "flaky", "backoff": "50ms", "attempts": 3}
        await made(daemon, "/routes", name="flaky", types=["flaky.*"], actions=[action])
        event = await settled(daemon, await posted(daemon, "flaky.once", {}))
        assert (event["actions"][0]["state"], event["actions"][0]["attempts"]) == ("done", 2)
        flaky.reply = Reply(500, b"boom")
        event = await settled(daemon, await posted(daemon, "flaky.always", {}))
        assert (event["actions"][0]["state"], event["actions"][0]["attempts"]) == ("dead", 3)
        assert event["actions"][0]["error"] == "attempts: answered 500"
        assert event["actions"][0]["answer"] == "boom"
        flaky.reply = Reply(422)
        event = await settled(daemon, await posted(daemon, "flaky.refused", {}))
        assert (event["actions"][0]["state"], event["actions"][0]["attempts"]) == ("dead", 1)
        flaky.reply = Reply(204)
        status, counts = await daemon.call("POST", "/events/retry-failed", {"limit": 50})
        assert status == 202
        assert counts["actions"] >= 2
        assert (await settled(daemon, event["id"]))["actions"][0]["state"] == "done"


async def test_an_open_breaker_holds_calls_back_without_burning_tries(daemon: Daemon) -> None:
    async with Receiver() as down:
        down.script.append(Reply(500))
        await made(daemon, "/targets", name="down", base_url=down.url, breaker_failures=1, breaker_wait="1s")
        action = {"kind": "deliver", "target": "down", "backoff": "10ms", "attempts": 2}
        await made(daemon, "/routes", name="down", types=["down.*"], actions=[action])
        event = await settled(daemon, await posted(daemon, "down.x", {}))
        assert (event["actions"][0]["state"], event["actions"][0]["attempts"]) == ("done", 2)
        assert len(down.received) == 2
        health = (await daemon.call("GET", "/targets/down"))[1]["health"]
        assert (health["calls"], health["failures"], health["open"]) == (2, 1, False)


async def test_pain_21_a_target_cannot_be_a_private_address_and_its_path_cannot_leave_it(daemon: Daemon) -> None:
    private = {"base_url": "http://169.254.169.254/latest"}
    status, problem = await daemon.call("POST", "/targets", {"name": "inside-too", **private})
    assert (status, problem["errors"][0]["field"]) == (422, "base_url")
    # One that the file names is judged when it is called, as every one is again.
    status, checked = await daemon.call("POST", "/targets/inside/check")
    assert (status, checked["ok"]) == (200, False)
    assert checked["last_error"] == "the address is refused: the host's address is refused: link-local"
    async with Receiver() as receiver:
        receiver.reply = Reply(302, headers={"Location": "http://169.254.169.254/"})
        await made(daemon, "/targets", name="walker", base_url=receiver.url)
        action = {"kind": "deliver", "target": "walker", "path": "/{{ data.p }}", "attempts": 1}
        await made(daemon, "/routes", name="walker", types=["walk.*"], actions=[action])
        event = await settled(daemon, await posted(daemon, "walk.up", {"p": "../../admin"}))
        assert event["actions"][0]["state"] == "dead"
        assert receiver.received == []
        assert "leads out of the target" in event["actions"][0]["error"]
        event = await settled(daemon, await posted(daemon, "walk.redirect", {"p": "x"}))
        assert "redirects are not followed" in event["actions"][0]["error"]
        assert len(receiver.received) == 1
        # What an event says stays one part of the path.
        await settled(daemon, await posted(daemon, "walk.value", {"p": "a b/c?d=e&f"}))
        assert receiver.received[-1].path.endswith("/a%20b%2Fc%3Fd=e&f")


async def test_pain_7_a_targets_rate_holds_and_burns_no_try(daemon: Daemon) -> None:
    async with Receiver() as slow:
        await made(daemon, "/targets", name="rated", base_url=slow.url, rate="1/min")
        action = {"kind": "deliver", "target": "rated", "attempts": 1}
        await made(daemon, "/routes", name="rated", types=["rated.*"], actions=[action])
        ids = [await posted(daemon, "rated.x", {"n": n}) for n in range(3)]
        await eventually(lambda: slow.received, within=20)

        async def all_looked_at() -> bool:
            waiting = (await daemon.call("GET", "/queues/webhook:delivery"))[1]
            return bool(waiting["delayed"] >= 2)

        async def first_is_done() -> bool:  # its answer is written down after the receiver has it
            return "done" in [(await whole(daemon, event_id))["actions"][0]["state"] for event_id in ids]

        await eventually(all_looked_at, within=20)
        await eventually(first_is_done, within=20)
        states = [(await whole(daemon, event_id))["actions"][0] for event_id in ids]
        assert sorted((a["state"], a["attempts"]) for a in states) == [("done", 1), ("pending", 0), ("pending", 0)]
        assert len(slow.received) == 1
        for waiting in states:
            if waiting["state"] == "pending":
                assert (await daemon.call("DELETE", f"/actions/{waiting['id']}"))[1]["state"] == "canceled"


async def test_pain_16_what_is_for_a_target_that_is_gone_ends_and_is_no_error_for_ever(daemon: Daemon) -> None:
    async with Receiver() as gone:
        await made(daemon, "/targets", name="gone", base_url=gone.url)
        await made(daemon, "/routes", name="gone", types=["gone.*"], actions=[{"kind": "deliver", "target": "gone"}])
        await daemon.call("POST", "/queues/webhook:delivery/pause")
        event_id = await posted(daemon, "gone.x", {})

        async def planned() -> Any:
            return (await whole(daemon, event_id))["actions"]

        await eventually(planned, within=20)
        for path in ("/routes/gone", "/targets/gone"):
            assert (await daemon.call("DELETE", path))[0] == 204
        await daemon.call("POST", "/queues/webhook:delivery/resume")
        (action,) = (await settled(daemon, event_id))["actions"]
        assert (action["state"], action["error"]) == ("dead", "refused: there is no target gone")
        assert gone.received == []


async def test_pain_24_two_tenants_may_have_a_source_of_one_name_and_the_secret_tells_whose_a_call_is(
    daemon: Daemon,
) -> None:
    status, other = await daemon.call("POST", "/tenants", {"id": "other", "name": "Other"})
    assert status == 201
    theirs = {"Authorization": f"Bearer {other['key']}"}
    spec = {"name": "both", "verify": "api-key", "header": "X-Key", "dedup": "body.id", "type": "both.{body.kind}"}
    await made(daemon, "/sources", **spec, secret="ours")
    assert (await daemon.call("POST", "/sources", {**spec, "secret": "theirs"}, headers=theirs))[0] == 201
    body = {"id": "same", "kind": "x"}
    ids = [
        (await daemon.call("POST", "/hooks/both", body, headers={"X-Key": key}))[1]["id"] for key in ("ours", "theirs")
    ]
    assert ids[0] != ids[1]  # the same id in another tenant is no repeat
    assert (await daemon.call("GET", f"/events/{ids[1]}"))[0] == 404
    assert (await daemon.call("GET", f"/events/{ids[0]}", headers=theirs))[0] == 404
    assert (await daemon.call("GET", f"/events/{ids[1]}", headers=theirs))[0] == 200
    assert (await daemon.call("GET", "/sources/crm", headers=theirs))[0] == 404
    # Nobody's secret: nobody's quarantine. One's secret and a wrong body: that one's.
    assert (await daemon.call("POST", "/hooks/both", body, headers={"X-Key": "none"}))[0] == 401
    assert (await daemon.call("POST", "/hooks/both", {"kind": "y"}, headers={"X-Key": "theirs"}))[0] == 422
    assert (await daemon.call("GET", "/quarantine?source=both"))[1]["data"] == []
    (refused,) = (await daemon.call("GET", "/quarantine?source=both", headers=theirs))[1]["data"]
    assert refused["check"] == "dedup"


async def test_oauth2_tokens_are_fetched_once_and_renewed_when_refused(daemon: Daemon) -> None:
    async with Receiver() as api:
        tokens = 0

        async def respond(request: Any) -> Any:
            nonlocal tokens
            from aiohttp import web

            if request.path.endswith("/token"):
                tokens += 1
                return web.json_response({"access_token": f"t{tokens}", "expires_in": 3600})
            good = request.headers["Authorization"] == f"Bearer t{max(tokens, 2) if request.path.endswith('/b') else 1}"
            return web.Response(status=204 if good else 401)

        api.respond = respond
        auth = {"type": "oauth2", "token_url": api.url + "/token", "client_id": "id", "client_secret": "cs"}
        await made(daemon, "/targets", name="oauth", base_url=api.url, auth=auth)
        action = {"kind": "deliver", "target": "oauth", "path": "/{{ data.p }}"}
        await made(daemon, "/routes", name="oauth", types=["oauth.*"], actions=[action])
        for path in ("a", "a", "b"):
            event = await settled(daemon, await posted(daemon, "oauth.x", {"p": path}))
            assert event["actions"][0]["state"] == "done"
        assert tokens == 2
        assert (await daemon.call("GET", "/targets/oauth"))[1]["auth"]["client_secret"] == "***"


async def test_emit_enqueue_and_an_endpoint_are_done_once(daemon: Daemon) -> None:
    await daemon.call("POST", "/queues/billing:check/pause")
    async with Receiver() as hook:
        endpoint = (await daemon.call("POST", "/endpoints", {"url": hook.url, "types": ["never.this"]}))[1]["id"]
        actions = [
            {"kind": "emit", "type": "chain.second", "mapping": "wrap"},
            {"kind": "enqueue", "queue": "billing:check", "job_kind": "k"},
            {"kind": "deliver", "endpoint": endpoint},
        ]
        await made(daemon, "/mappings", name="wrap", jmespath="{first: id}")
        await made(daemon, "/routes", name="chain", types=["chain.first"], actions=actions)
        event = await settled(daemon, await posted(daemon, "chain.first", {"a": 1}))
        assert [a["state"] for a in event["actions"]] == ["done"] * 3
        child = await settled(daemon, event["actions"][0]["result"])
        assert (child["type"], child["data"]) == ("chain.second", {"first": event["id"]})

        async def waiting() -> list[Any]:
            return list((await daemon.call("GET", "/queues/billing:check/jobs?state=waiting"))[1]["data"])

        (job,) = await eventually(waiting, within=20)
        assert (job["id"], job["kind"], job["payload"]["id"]) == (event["actions"][1]["result"], "k", event["id"])
        await daemon.call("POST", "/queues/billing:check/resume")
        await eventually(lambda: hook.received, within=20)
        assert hook.received[0].json["id"] == event["id"]


async def test_a_loop_of_emits_is_stopped(daemon: Daemon) -> None:
    await made(daemon, "/routes", name="loop", types=["loop.*"], actions=[{"kind": "emit", "type": "loop.again"}])
    await posted(daemon, "loop.start", {})

    async def stopped() -> list[Any]:
        page = (await daemon.call("GET", "/events?type=event.failed"))[1]["data"]
        return [e for e in page if e["data"]["event_type"] == "loop.again"]

    (failed,) = await eventually(stopped, within=30)
    assert "looks like a loop" in failed["data"]["error"]
    assert len((await daemon.call("GET", "/events?type=loop.*"))[1]["data"]) == 5  # the first, three deep, the refused
    await daemon.call("DELETE", "/routes/loop")


async def test_own_events_reach_endpoints_that_want_them(daemon: Daemon) -> None:
    async with Receiver() as hook:
        await daemon.call("POST", "/endpoints", {"url": hook.url, "types": ["invoice.*"]})
        event_id = await posted(daemon, "invoice.sent", {"n": 1})
        (body,) = await eventually(lambda: hook.events("invoice.sent"), within=20)
        assert (body["id"], body["data"]) == (event_id, {"n": 1})


# --- definitions


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/sources", {"name": "x", "verify": "github"}, "secret"),
        ("/sources", {"name": "x", "verify": "nope", "secret": "s"}, "verify"),
        ("/sources", {"name": "a b", "verify": "github", "secret": "s"}, "name"),
        ("/sources", {"name": "x", "verify": "github", "secret": "s", "rate": "fast"}, "rate"),
        ("/sources", {"name": "x", "verify": "github", "secret": "s", "type": "{bad["}, "type"),
        ("/sources", {"name": "x", "verify": "github", "secret": "s", "schema": {"type": "nope"}}, "schema"),
        ("/sources", {"name": "x", "verify": "standard-webhooks", "secret": "short"}, "secret"),
        ("/mappings", {"name": "x", "jmespath": "a["}, "jmespath"),
        ("/mappings", {"name": "x", "jinja2": "{% if %}"}, "jinja2"),
        ("/mappings", {"name": "x"}, "jmespath"),
        ("/routes", {"types": ["a b"], "actions": []}, "types.0"),
        ("/routes", {"types": ["a"], "actions": [{"kind": "flow", "flow": "x"}]}, "actions.0.kind"),
        ("/routes", {"types": ["a"], "actions": [{"kind": "enqueue", "queue": "message:send"}]}, "actions.0.queue"),
        ("/routes", {"types": ["a"], "actions": [{"kind": "deliver", "target": "none"}]}, "actions.0.target"),
        ("/routes", {"types": ["a"], "actions": [{"kind": "listener", "name": ""}], "condition": "a["}, "condition"),
        ("/routes", {"types": ["a"], "actions": [{"kind": "send", "connection": "c", "to": "{{", "text": "x"}]}, ".to"),
        ("/routes", {"types": ["a"], "actions": [{"kind": "listener", "name": "os:getcwd"}]}, "actions.0.name"),
        ("/routes", {"types": ["a"], "actions": [{"kind": "emit", "type": "message.sent"}]}, "actions.0.type"),
        (
            "/routes",
            {"types": ["a"], "actions": [{"kind": "notify", "url": "http://10.0.0.1/", "text": "x"}]},
            "actions.0.url",
        ),
        ("/targets", {"name": "x", "base_url": "ftp://x"}, "base_url"),
        (
            "/targets",
            {
                "name": "x",
                "base_url": "https://127.0.0.1",
                "auth": {
                    "type": "oauth2",
                    "token_url": "http://[::5efe:7f00:1]/",
                    "client_id": "a",
                    "client_secret": "b",
                },
            },
            "auth.token_url",
        ),
        ("/targets", {"name": "x", "base_url": "https://u:p@x.y/"}, "base_url"),
        ("/syncs", {"name": "x", "target": "no", "path": "/", "items": "@", "type": "t.x", "id": "id"}, "target"),
    ],
)
async def test_a_wrong_definition_is_refused_by_field(daemon: Daemon, path: str, body: Any, field: str) -> None:
    status, answer = await daemon.call("POST", path, body)
    assert status == 422, answer
    assert any(error["field"].endswith(field) for error in answer["errors"])


async def test_a_definition_in_use_cannot_be_deleted_and_a_name_is_taken_once(daemon: Daemon) -> None:
    await made(daemon, "/mappings", name="used", jmespath="data")
    assert (await daemon.call("POST", "/mappings", {"name": "used", "jmespath": "data"}))[0] == 409
    action = {"kind": "emit", "type": "x.y", "mapping": "used"}
    route = await made(daemon, "/routes", types=["uses.it"], actions=[action])
    assert (await daemon.call("DELETE", "/mappings/used"))[0] == 409
    assert (await daemon.call("DELETE", f"/routes/{route['name']}"))[0] == 204
    assert (await daemon.call("DELETE", "/mappings/used"))[0] == 204
    assert (await daemon.call("GET", "/mappings/used"))[0] == 404


async def test_a_mappings_new_version_is_tried_on_stored_events_before_it_is_in_force(daemon: Daemon) -> None:
    await made(daemon, "/mappings", name="price", jmespath="{total: data.total}")
    for total in (1, 2, "x"):
        await posted(daemon, "priced.item", {"total": total})
    drafted = await daemon.call("POST", "/mappings/price/versions", {"jmespath": "{total: abs(data.total)}"})
    assert (drafted[0], drafted[1]["version"], drafted[1]["active"]) == (200, 2, 1)
    tried = {"version": 2, "types": ["priced.*"]}
    status, report = await daemon.call("POST", "/mappings/price/backtest", tried)
    assert (status, report["same"], report["changed"], report["failed"]) == (200, 2, 0, 1)
    assert "abs" in report["data"][0]["error"]
    other = {"jmespath": "{total: data.total, currency: 'BRL'}", "types": ["priced.*"], "last": 1}
    report = (await daemon.call("POST", "/mappings/price/backtest", other))[1]
    assert report["data"][0]["diff"] == [{"path": "currency", "after": "BRL"}]
    assert (await daemon.call("POST", "/mappings/price/activate", {"version": 2}))[1]["version"] == 2
    versions = (await daemon.call("GET", "/mappings/price/versions"))[1]["data"]
    assert [(v["version"], v["active"]) for v in versions] == [(1, 2), (2, 2)]


# --- replay


async def test_pain_20_a_replay_reaches_new_endpoints_and_new_rules(daemon: Daemon) -> None:
    ids = [await posted(daemon, "replayed.thing", {"n": n}) for n in range(3)]
    for event_id in ids:
        await settled(daemon, event_id)
    async with Receiver() as hook, Receiver() as target:
        await made(daemon, "/targets", name="rep", base_url=target.url)
        await made(daemon, "/routes", name="rep", types=["replayed.*"], actions=[{"kind": "deliver", "target": "rep"}])
        which = {"types": ["replayed.*"]}
        status, dry = await daemon.call("POST", "/events/replay", {**which, "dry_run": True})
        assert (status, dry["events"]) == (202, 3)
        assert {line["routes"][0] for line in dry["data"]} == {"rep@1"}
        assert target.received == []

        status, answer = await daemon.call("POST", "/events/replay", {**which, "rate": 60_000})
        assert status == 202
        await eventually(lambda: len(target.received) == 3, within=30)
        assert {call.json["id"] for call in target.received} == set(ids)

        await daemon.call("POST", "/endpoints", {"url": hook.url, "types": ["replayed.*"]})
        await daemon.call("POST", "/events/replay", {**which, "mode": "deliver", "rate": 60_000, "ids": ids[:2]})
        await eventually(lambda: len(hook.received) == 2, within=30)
        async with Receiver() as newer:  # it gets them, though the other endpoint has them already
            await daemon.call("POST", "/endpoints", {"url": newer.url, "types": ["replayed.*"]})
            await daemon.call("POST", "/events/replay", {**which, "mode": "deliver", "rate": 60_000, "ids": ids[:2]})
            await eventually(lambda: len(newer.received) == 2, within=30)
        await daemon.call("POST", "/events/replay", {**which, "mode": "deliver", "rate": 60_000})
        await eventually(lambda: len(hook.received) == 3, within=30)  # those that had it get it no second time
        assert len(target.received) == 3
        ended = (await daemon.call("GET", "/events?type=replay.finished"))[1]["data"]
        assert answer["replay"] in [e["data"]["replay"] for e in ended]


async def test_events_that_wait_can_be_processed_by_hand(daemon: Daemon) -> None:
    await daemon.call("POST", "/queues/event:process/pause")
    try:
        event_id = await posted(daemon, "by.hand", {})
        status, counts = await daemon.call("POST", "/events/process", {"limit": 100})
        assert status == 200
        assert counts["processed"] >= 1
        assert (await whole(daemon, event_id))["progress"] == "done"
    finally:
        await daemon.call("POST", "/queues/event:process/resume")


# --- sync


async def test_a_sync_pages_through_a_target_and_tells_each_item_once(daemon: Daemon) -> None:
    async with Receiver() as api:

        async def respond(request: Any) -> Any:
            from aiohttp import web

            number = int(request.query["page"])
            items = [{"id": 10 * number + i} for i in range(2)] if number <= 3 else []
            return web.json_response({"items": items})

        api.respond = respond
        await made(daemon, "/targets", name="shop-api", base_url=api.url)
        sync = {"target": "shop-api", "path": "/contacts", "items": "items", "type": "contact.synced", "id": "id"}
        await made(daemon, "/syncs", name="contacts", **sync)
        for expected in (6, 0):
            status, started = await daemon.call("POST", "/syncs/contacts/start")
            assert status == 202

            async def done() -> Any:
                run = (await daemon.call("GET", "/syncs/contacts/run"))[1]
                return run if run["state"] == "done" else None

            run = await eventually(done, within=30)
            assert (run["run"], run["items"], run["new"]) == (started["run"], 6, expected)
        told = (await daemon.call("GET", "/events?type=contact.synced&source=sync:contacts"))[1]["data"]
        assert sorted(e["data"]["id"] for e in told) == [10, 11, 20, 21, 30, 31]
