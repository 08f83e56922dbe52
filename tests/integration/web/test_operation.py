"""Queues, jobs, dead letters, the event stream, the simulated network: what an operator sees and does."""

import asyncio
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support import eventually
from tests.support.daemon import Daemon

pytestmark = pytest.mark.asyncio(loop_scope="module")

CLOUD = {
    "phone_number_id": "1065",
    "waba_id": "77",
    "access_token": "token",
    "app_secret": "app-secret",
    "verify_token": "verify-me",
}


async def test_a_message_has_a_timeline(daemon: Daemon, connection: str) -> None:
    message = await daemon.send(connection, "hello")

    async def life() -> list[str]:
        return [m["what"] for m in (await daemon.call("GET", f"/messages/{message['id']}/timeline"))[1]["data"]]

    async def read() -> bool:
        return "message.read" in await life()

    await eventually(read)
    told = [what for what in await life() if what.startswith("message.")]
    assert told == ["message.sending", "message.sent", "message.delivered", "message.read"]

    async def ended() -> bool:  # the commit that made it `read` may be told before the job's own end
        return "ended" in await life()

    await eventually(ended)


async def test_history_goes_page_by_page(daemon: Daemon) -> None:
    await daemon.connect(id="pages")
    sent = [(await daemon.send("pages", f"n{n}"))["id"] for n in range(5)]
    found: list[str] = []
    after = ""
    while True:
        _, page = await daemon.call("GET", f"/connections/pages/messages?direction=outbound&limit=2&after={after}")
        found += [message["id"] for message in page["data"]]
        after = page["next"] or ""
        if not after:
            break
    assert found == sent


async def test_the_ledger_shows_what_arrived(daemon: Daemon) -> None:
    await daemon.connect(id="ledger")
    message = await daemon.send("ledger", "it arrived")

    async def arrived() -> Any:
        return (await daemon.call("GET", "/sandbox/ledger/ledger?limit=10000"))[1]["data"]

    (entry,) = await eventually(arrived)
    assert (entry["message_id"], entry["payload"], entry["to"]) == (
        message["id"],
        {"text": "it arrived"},
        "5511999998888",
    )


async def test_a_contact_writes(daemon: Daemon) -> None:
    await daemon.connect(id="inbound")
    body = {"from": "+55 11 99999-7777", "type": "text", "payload": {"text": "oi"}}
    assert (await daemon.call("POST", "/sandbox/inbound/inbound", body))[0] == 202

    async def received() -> Any:
        return await daemon.messages("inbound", "inbound")

    (message,) = await eventually(received)
    assert (message["status"], message["peer"], message["payload"]) == ("received", "5511999997777", {"text": "oi"})


async def test_a_message_that_was_given_up_is_a_dead_letter_and_can_be_retried(daemon: Daemon) -> None:
    await daemon.connect(id="trouble")
    assert (await daemon.call("POST", "/sandbox/trouble/faults", {"faults": [{"kind": "permanent"}]}))[0] == 202
    message = await daemon.send("trouble", "again, please")

    async def status(wanted: str) -> bool:
        return await daemon.status_of(message["id"]) == wanted

    async def dead() -> Any:
        letters = await daemon.pages("/dead-letters")
        return [letter for letter in letters if letter["id"] == message["job_id"]]

    await eventually(lambda: status("dlq"))
    (letter,) = await eventually(dead)
    assert letter["state"] == "dead"
    code, answer = await daemon.call("POST", "/dead-letters/retry", {"ids": [message["job_id"]]})
    assert (code, answer["retried"], answer["passed"]) == (202, 1, 0)
    await eventually(lambda: status("read"))
    assert not await dead()


async def test_the_dead_letter_goes_when_its_message_is_retried(daemon: Daemon) -> None:
    await daemon.connect(id="mended")
    assert (await daemon.call("POST", "/sandbox/mended/faults", {"faults": [{"kind": "permanent"}]}))[0] == 202
    message = await daemon.send("mended", "again, please")

    async def dead() -> bool:
        return (await daemon.call("GET", f"/dead-letters/{message['job_id']}"))[0] == 200

    await eventually(dead)
    assert (await daemon.call("POST", f"/messages/{message['id']}/retry"))[0] == 202
    assert not await dead()


async def test_dead_letters_of_all_queues_go_page_by_page(daemon: Daemon) -> None:
    for name in ("page-a", "page-b"):
        await daemon.connect(id=name)
        await daemon.call("POST", f"/sandbox/{name}/faults", [{"kind": "permanent"}])
    jobs = {(await daemon.send(name, "x"))["job_id"] for name in ("page-a", "page-b")}

    async def both_dead() -> bool:
        return jobs <= {letter["id"] for letter in await daemon.pages("/dead-letters")}

    await eventually(both_dead)
    found: list[str] = []
    after = ""
    while True:
        _, page = await daemon.call("GET", f"/dead-letters?limit=1&after={after}")
        found += [letter["id"] for letter in page["data"]]
        after = page["next"] or ""
        if not after:
            break
    assert len(found) == len(set(found))
    assert jobs <= set(found)


async def test_deleting_every_dead_letter_must_be_said(daemon: Daemon) -> None:
    assert (await daemon.call("DELETE", "/dead-letters"))[0] == 422
    assert (await daemon.call("DELETE", "/dead-letters?all=true"))[0] == 200


async def test_a_paused_queue_gives_nothing_until_it_is_resumed(daemon: Daemon, connection: str) -> None:
    paused = (await daemon.call("POST", "/queues/message:send/pause"))[1]
    assert paused == {"paused": ["message:send"], "kinds": {}, "lanes": {}}
    message = await daemon.send(connection, "waits")
    _, queue = await daemon.call("GET", "/queues/message:send")
    assert queue["paused"]
    assert await daemon.status_of(message["id"]) == "queued"
    assert (await daemon.call("POST", "/queues/message:send/resume"))[1] == {"paused": [], "kinds": {}, "lanes": {}}

    async def sent() -> bool:
        return await daemon.status_of(message["id"]) in ("sent", "delivered", "read")

    await eventually(sent)


async def test_a_message_that_waits_can_be_canceled_also_by_its_job(daemon: Daemon, connection: str) -> None:
    await daemon.call("POST", "/queues/pause")
    first, second = await daemon.send(connection, "1"), await daemon.send(connection, "2")
    assert (await daemon.call("DELETE", f"/messages/{first['id']}"))[1]["status"] == "canceled"

    async def seen() -> bool:
        return (await daemon.call("GET", f"/jobs/{second['job_id']}"))[0] == 200

    await eventually(seen)
    assert (await daemon.call("DELETE", f"/jobs/{second['job_id']}"))[0] == 204
    assert await daemon.status_of(second["id"]) == "canceled"
    await daemon.call("POST", "/queues/resume")


async def test_jobs_of_an_own_queue_get_a_result_each(daemon: Daemon) -> None:
    await daemon.call("POST", "/queues/billing:slow/pause")
    jobs = [
        {"id": "a", "payload": {"n": 1}},
        {"payload": None, "lane": "x"},
        {"priority": 1},
        {"id": "a/b", "payload": 1},
    ]
    status, answer = await daemon.call("POST", "/queues/billing:slow/jobs", {"jobs": jobs})
    assert status == 202
    assert [item["status"] for item in answer["data"]] == ["queued", "queued", "invalid", "invalid"]
    assert [error["field"] for error in answer["data"][2]["errors"]] == ["payload"]

    async def waiting() -> bool:
        return (await daemon.call("GET", "/jobs/a"))[0] == 200

    await eventually(waiting)
    _, again = await daemon.call("POST", "/queues/billing:slow/jobs", {"jobs": [{"id": "a", "payload": {"n": 2}}]})
    assert [item["status"] for item in again["data"]] == ["exists"]
    _, job = await daemon.call("GET", "/jobs/a")
    assert (job["queue"], job["payload"]) == ("billing:slow", {"n": 1})
    assert (await daemon.call("DELETE", "/jobs/a"))[0] == 204
    assert (await daemon.call("GET", "/jobs/a"))[0] == 404
    await daemon.call("POST", "/queues/billing:slow/resume")


async def test_many_jobs_are_taken_in_one_request(daemon: Daemon) -> None:
    many = [{"payload": n} for n in range(2_000)]
    _, answer = await daemon.call("POST", "/queues/billing:check/jobs", {"jobs": many})
    assert {item["status"] for item in answer["data"]} == {"queued"}

    async def completed() -> bool:
        return bool((await daemon.call("GET", "/queues/billing:check"))[1]["completed"] == 2_000)

    await eventually(completed, within=20)


async def test_a_completed_job_says_when_and_how_it_ended(daemon: Daemon) -> None:
    await daemon.call("POST", "/queues/billing:check/jobs", {"jobs": [{"id": "looked-up", "payload": 1}]})

    async def completed() -> Any:
        status, job = await daemon.call("GET", "/jobs/looked-up")
        return job if status == 200 and job["state"] == "completed" else None

    job = await eventually(completed, within=20)
    assert (job["queue"], job["attempt"], job["payload"]) == ("billing:check", 1, None)
    assert job["at"]
    assert job["took_ms"] >= 0
    for verb, path in (("DELETE", "/jobs/looked-up"), ("POST", "/jobs/looked-up/retry")):
        assert (await daemon.call(verb, path))[0] == 409


async def test_existing_clients_read_the_numbers_of_the_queues(daemon: Daemon) -> None:
    _, answer = await daemon.call("GET", "/api/queue/stats")
    assert answer["status"] == "success"
    assert set(answer["data"]["summary"]) == {"totalWaiting", "totalActive", "totalCompleted", "totalFailed"}
    for numbers in answer["data"]["queues"].values():
        assert set(numbers) == {"waiting", "active", "completed", "failed", "delayed", "activeJobs"}
    assert (await daemon.call("POST", "/api/queue/clean"))[1]["status"] == "success"


@pytest.mark.parametrize("place", ["seq", "id"])
async def test_the_stream_goes_on_after_the_last_event_id(daemon: Daemon, connection: str, place: str) -> None:
    message = await daemon.send(connection, "streamed")
    _, events = await daemon.call("GET", "/events?limit=1000")
    start = events["data"][0]["seq"]
    headers = {"Authorization": f"Bearer {daemon.key}", "Last-Event-ID": str(events["data"][0][place])}
    seen: list[int] = []
    async with (
        aiohttp.ClientSession() as http,
        http.get(daemon.url + "/stream?types=message.*,connection.*", headers=headers) as stream,
        asyncio.timeout(10),
    ):
        assert stream.content_type == "text/event-stream"
        async for line in stream.content:
            if line.startswith(b"id: "):
                seen.append(int(line[4:]))
            if line.startswith(b"data: ") and json.loads(line[6:])["data"].get("message_id") == message["id"]:
                break
    assert seen == sorted(seen)
    assert seen[0] > start


async def test_a_stream_of_a_restored_database_goes_on_from_now_and_says_so(daemon: Daemon, connection: str) -> None:
    """Browsers send the last id again and again, and give up for good at an error."""
    headers = {"Authorization": f"Bearer {daemon.key}", "Last-Event-ID": "9" * 18}
    async with (
        aiohttp.ClientSession() as http,
        http.get(daemon.url + "/stream", headers=headers) as stream,
        asyncio.timeout(10),
    ):
        first = [await stream.content.readline() for _ in range(4)]
        newest = int(first[0].removeprefix(b"id: "))
        assert first[1] == b"event: stream.reset\n"
        assert json.loads(first[2].removeprefix(b"data: ")) == {"last_event_id": int("9" * 18), "newest": newest}
        message = await daemon.send(connection, "after the restore")
        async for line in stream.content:
            if line.startswith(b"id: "):
                assert int(line[4:]) > newest
            if line.startswith(b"data: ") and json.loads(line[6:])["data"].get("message_id") == message["id"]:
                break


async def test_a_drain_ends_the_streams_and_is_not_held_up_by_them(tmp_path: Path) -> None:
    async with Daemon(tmp_path) as draining, aiohttp.ClientSession() as http:
        headers = {"Authorization": f"Bearer {draining.key}"}
        async with http.get(draining.url + "/stream", headers=headers) as stream:
            assert await draining.stop(within=5) == 0
            assert await stream.content.read() == b""


async def test_while_redis_is_away_messages_are_taken_and_what_sql_knows_is_shown(tmp_path: Path) -> None:
    environ = {"ZAPD_REDIS__URL": f"unix://{tmp_path}/nobody.sock"}
    async with Daemon(tmp_path, environ=environ) as lonely:
        body = {"label": "x", "transport": "sandbox", "id": "early"}
        assert (await lonely.call("POST", "/connections", body))[0] == 202
        message = await lonely.send("early", "kept")
        assert (await lonely.call("GET", "/connections/early"))[1]["state"] == "created"
        assert (await lonely.call("GET", f"/messages/{message['id']}/timeline"))[0] == 200
        assert (await lonely.call("GET", "/queues"))[0] == 503


async def test_an_endpoint_lives_from_create_to_delete(daemon: Daemon) -> None:
    _, made = await daemon.call("POST", "/endpoints", {"url": "http://127.0.0.1:9/hook", "types": ["message.*"]})
    path = f"/endpoints/{made['id']}"
    assert made["secret"].startswith("whsec_")
    assert "secret" not in (await daemon.call("GET", path))[1]
    _, changed = await daemon.call("PATCH", path, {"enabled": False, "headers": {"X-Secret": "s3cret"}})
    assert (changed["enabled"], changed["types"], changed["headers"]) == (False, ["message.*"], ["X-Secret"])
    _, rotated = await daemon.call("POST", f"{path}/rotate")
    assert rotated["secret"] not in ("", made["secret"])
    assert (await daemon.call("DELETE", path))[0] == 204
    assert (await daemon.call("GET", path))[0] == 404


async def test_a_delivery_shows_its_attempts(daemon: Daemon) -> None:
    await daemon.connect(id="hooked", webhook_url="http://127.0.0.1:9/hook")

    async def tried() -> Any:
        rows = (await daemon.call("GET", "/deliveries?limit=1000"))[1]["data"]
        return [row for row in rows if row["connection_id"] == "hooked" and row["attempts"] > 0]

    (row, *_) = await eventually(tried)
    _, delivery = await daemon.call("GET", f"/deliveries/{row['id']}")
    assert delivery["tries"][0]["failure"] == "connect"


async def test_the_cloud_webhook_is_verified_and_kept(daemon: Daemon) -> None:
    body = {"id": "meta", "label": "x", "transport": "cloud", "config": CLOUD}
    assert (await daemon.call("POST", "/connections", body))[0] == 202
    query = "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token="
    assert await daemon.call("GET", f"/hooks/cloud/meta?{query}verify-me", raw=True) == (200, b"1158201444")
    assert (await daemon.call("GET", f"/hooks/cloud/meta?{query}wrong"))[0] == 403

    raw = inbound("wamid.1", "olá")
    good = "sha256=" + hmac.new(b"app-secret", raw, hashlib.sha256).hexdigest()
    for signature in ("", "sha256=00", good[:-1] + "0" + good[-1], good.upper()):
        headers = {"X-Hub-Signature-256": signature}
        assert (await daemon.call("POST", "/hooks/cloud/meta", raw, headers=headers))[0] == 401
    for _ in range(2):  # Meta may send it twice
        headers = {"X-Hub-Signature-256": good}
        assert (await daemon.call("POST", "/hooks/cloud/meta", raw, headers=headers))[0] == 200

    async def received() -> Any:
        return await daemon.messages("meta", "inbound")

    (message,) = await eventually(received)
    assert (message["peer"], message["provider_id"]) == ("5511987654321", "wamid.1")


async def test_a_cloud_webhook_may_be_larger_than_other_bodies(daemon: Daemon) -> None:
    raw = inbound("wamid.2", "x" * 100_000)
    signature = "sha256=" + hmac.new(b"app-secret", raw, hashlib.sha256).hexdigest()
    assert (await daemon.call("POST", "/hooks/cloud/meta", raw, headers={"X-Hub-Signature-256": signature}))[0] == 200


async def test_the_daemon_says_how_it_is(daemon: Daemon) -> None:
    open_to_all = {"Authorization": ""}
    assert (await daemon.call("GET", "/health", headers=open_to_all))[1]["status"] == "ok"
    assert (await daemon.call("GET", "/ready", headers=open_to_all))[1] == {"ready": True, "reason": None}
    assert (await daemon.call("GET", "/status", headers=open_to_all))[0] == 401
    assert (await daemon.call("GET", "/status"))[1]["phase"] == "running"
    status, metrics = await daemon.call("GET", "/metrics", headers=open_to_all, raw=True)
    assert status == 200
    assert b'zapd_http_requests_total{code="200",method="GET",route="/ready"}' in metrics
    assert b"hooked" not in metrics  # ids never become labels


def inbound(provider_id: str, text: str) -> bytes:
    """A webhook body as Meta sends it (wire facts §1.7)."""
    message = {
        "from": "5511987654321",
        "id": provider_id,
        "timestamp": "1749416383",
        "type": "text",
        "text": {"body": text},
    }
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "5511400000000", "phone_number_id": "1065"},
        "contacts": [{"profile": {"name": "Ana"}, "wa_id": "5511987654321"}],
        "messages": [message],
    }
    entry = [{"id": "77", "changes": [{"field": "messages", "value": value}]}]
    return json.dumps({"object": "whatsapp_business_account", "entry": entry}).encode()
