"""A user's first hour: connect, send, watch it arrive, get webhooks, look things up. Only HTTP and the command line."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from tests.support import eventually
from tests.support.daemon import COMMAND, Daemon
from tests.support.receiver import Receiver

FAST = '[sandbox]\npair_after = "0.1s"\nlatency = "5ms"\n[limits]\nsession_per_minute = 60000\nsession_burst = 1000\n'


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with Daemon(tmp_path / "state", FAST) as running:
        yield running


def event_of(headers: Any) -> str:
    return str({k.lower(): v for k, v in headers.items()}["x-zaphub-event"])


async def test_a_message_goes_all_the_way_and_every_step_reaches_the_webhook_signed(
    daemon: Daemon, receiver: Receiver
) -> None:
    connection = await daemon.connect(webhook_url=receiver.url)
    sent = await daemon.send(connection["id"], "Olá")
    assert sent["status"] == "queued"
    assert sent["id"].startswith("msg_")
    assert sent["job_id"].startswith("job_")

    wanted = {"message.sent", "message.delivered", "message.read", "message.received"}
    await eventually(lambda: wanted <= {event_of(r.headers) for r in receiver.received}, within=20)

    for request in receiver.received:
        headers = {k.lower(): v for k, v in request.headers.items()}
        body = Webhook(connection["webhook_secret"]).verify(request.body, headers)
        assert body["id"] == headers["webhook-id"]
        assert headers["x-zaphub-session"] == connection["id"]
        assert body["connection_id"] == connection["id"]

    async def read() -> bool:
        return await daemon.status_of(sent["id"]) == "read"

    await eventually(read)
    replies = await daemon.messages(connection["id"], "inbound")
    assert len(replies) == 1
    assert replies[0]["status"] == "received"
    status, timeline = await daemon.call("GET", f"/messages/{sent['id']}/timeline")
    assert status == 200
    assert len(timeline) > 0
    assert [row["payload"]["text"] for row in await daemon.ledger(connection["id"])] == ["Olá"]


async def test_the_qr_code_is_there_until_the_session_pairs(tmp_path: Path) -> None:
    async with Daemon(tmp_path / "state", '[sandbox]\npair_after = "1.5s"\n') as daemon:
        _, created = await daemon.call("POST", "/connections", {"transport": "sandbox", "label": "demo"})
        path = f"/connections/{created['id']}/qr"

        async def image() -> Any:
            status, content = await daemon.call("GET", path, headers={"Accept": "image/png"}, raw=True)
            return status == 200 and content

        assert (await eventually(image)).startswith(b"\x89PNG")
        _, svg = await daemon.call("GET", path, headers={"Accept": "image/svg+xml"}, raw=True)
        assert b"<svg" in svg

        async def connected() -> bool:
            return bool((await daemon.call("GET", f"/connections/{created['id']}"))[1]["state"] == "connected")

        await eventually(connected)
        status, problem = await daemon.call("GET", path)
        assert status == 409, problem


async def test_closing_a_connection_stops_it_and_gives_up_what_waits(daemon: Daemon) -> None:
    connection = await daemon.connect()
    await daemon.call("POST", f"/connections/{connection['id']}/pause")
    waiting = await daemon.send(connection["id"], "too late")
    status, _ = await daemon.call("DELETE", f"/connections/{connection['id']}")
    assert status == 202

    async def closed() -> bool:
        return bool((await daemon.call("GET", f"/connections/{connection['id']}"))[1]["state"] == "closed")

    await eventually(closed)

    async def given_up() -> bool:
        return await daemon.status_of(waiting["id"]) == "dlq"

    await eventually(given_up, within=15)
    body = {"to": "5511999998888", "type": "text", "payload": {"text": "late"}}
    assert (await daemon.call("POST", f"/connections/{connection['id']}/send", body))[0] == 409


async def test_a_message_for_a_paused_connection_waits_and_leaves_in_order_on_resume(daemon: Daemon) -> None:
    connection = await daemon.connect()
    assert (await daemon.call("POST", f"/connections/{connection['id']}/pause"))[0] in (200, 202)
    waiting = [await daemon.send(connection["id"], f"n{n}") for n in range(5)]
    required = f"/connections/{connection['id']}/send?require=connected"
    body = {"to": "5511999998888", "type": "text", "payload": {"text": "now"}}
    assert (await daemon.call("POST", required, body))[0] == 409
    assert [await daemon.status_of(m["id"]) for m in waiting] == ["queued"] * 5
    assert (await daemon.call("POST", f"/connections/{connection['id']}/resume"))[0] in (200, 202)

    async def arrived() -> list[str]:
        texts = [row["payload"]["text"] for row in await daemon.ledger(connection["id"])]
        return texts if len(texts) == 5 else []

    assert await eventually(arrived, within=15) == [f"n{n}" for n in range(5)]


async def test_a_permanently_refused_message_goes_to_dlq_and_a_retry_sends_it(daemon: Daemon) -> None:
    connection = await daemon.connect()
    faults = {"faults": [{"kind": "permanent", "times": 1}]}
    assert (await daemon.call("POST", f"/sandbox/{connection['id']}/faults", faults))[0] in (200, 202, 204)
    message = await daemon.send(connection["id"], "first refused")

    async def state(wanted: tuple[str, ...]) -> bool:
        return await daemon.status_of(message["id"]) in wanted

    await eventually(lambda: state(("dlq",)))
    assert (await daemon.call("POST", f"/messages/{message['id']}/retry"))[0] in (200, 202)
    await eventually(lambda: state(("sent", "delivered", "read")))
    assert (await daemon.call("POST", f"/messages/{message['id']}/retry"))[0] == 409


async def test_bad_input_is_refused_and_names_the_field(daemon: Daemon) -> None:
    connection = await daemon.connect(id="con-bad")
    path = "/connections/con-bad/send"
    good = {"to": "5511999998888", "type": "text", "payload": {"text": "x"}}
    cases: list[tuple[int, str, Any, str]] = [
        (404, "/connections/nope/send", good, ""),
        (422, path, {**good, "to": "abc"}, "to"),
        (422, path, {**good, "payload": {}}, "payload"),
        (422, path, {**good, "type": "hologram"}, "type"),
        (422, path, {**good, "surprise": 1}, "surprise"),
        (422, "/connections", {"transport": "pigeon", "label": "x"}, "transport"),
        (409, "/connections", {"transport": "sandbox", "label": "x", "id": "con-bad"}, ""),
        (400, path, b"{not json", ""),
        (413, path, b'{"to": "' + b"5" * 2_000_000 + b'"}', ""),
    ]
    for wanted, where, body, field in cases:
        status, problem = await daemon.call("POST", where, body)
        assert status == wanted, (where, body if len(str(body)) < 200 else "big", problem)
        assert problem["status"] == wanted
        if field:
            assert any(field in error["field"] for error in problem["errors"]), problem
    wrong = {"Authorization": "Bearer wrong"}
    assert (await daemon.call("GET", "/connections", headers=wrong))[0] == 401
    _, key = await daemon.call("POST", "/keys", {"label": "reader", "scopes": ["read"]})
    secret = key.get("key") or key.get("secret")
    reader = {"Authorization": f"Bearer {secret}"}
    assert (await daemon.call("GET", f"/connections/{connection['id']}", headers=reader))[0] == 200
    assert (await daemon.call("POST", path, good, headers=reader))[0] == 403


async def test_usr1_stops_sending_within_a_second_and_usr2_lets_it_flow(daemon: Daemon) -> None:
    connection = await daemon.connect()
    daemon.signal(signal.SIGUSR1)

    async def paused(wanted: bool) -> bool:
        _, listed = await daemon.call("GET", "/queues")
        return all(queue["paused"] is wanted for queue in listed["data"])

    await eventually(lambda: paused(True), within=1.5)
    message = await daemon.send(connection["id"], "held back")
    assert (await daemon.call("GET", "/connections"))[0] == 200
    await asyncio.sleep(1.0)  # the promise is about what does not happen in this time
    assert await daemon.status_of(message["id"]) == "queued"
    daemon.signal(signal.SIGUSR2)

    async def left() -> bool:
        return await daemon.status_of(message["id"]) in ("sent", "delivered", "read")

    await eventually(left)


async def test_the_log_holds_no_message_text_and_no_phone_number(daemon: Daemon, receiver: Receiver) -> None:
    connection = await daemon.connect(webhook_url=receiver.url)
    message = await daemon.send(connection["id"], "very-secret-text", to="5511987654321")

    async def read() -> bool:
        return await daemon.status_of(message["id"]) == "read"

    await eventually(read)
    assert await daemon.stop() == 0
    log = daemon.log_text()
    assert "daemon.ready" in log
    for secret in ("very-secret-text", "5511987654321", "987654321", daemon.key, connection["webhook_secret"]):
        assert secret not in log


async def test_the_command_line_does_the_same(daemon: Daemon) -> None:
    async def zapd(*arguments: str) -> tuple[int, str]:
        environ = {**daemon.environ, "ZAPD_API_KEY": daemon.key}
        command = [*COMMAND, *arguments, "--config", str(daemon.config)]
        process = await asyncio.create_subprocess_exec(
            *command,
            env={**environ, "ZAPD_STATE__DIR": str(daemon.state), "ZAPD_HTTP__LISTEN": f"127.0.0.1:{daemon.port}"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return process.returncode or 0, output.decode()

    connection = await daemon.connect()
    code, output = await zapd("connections", "list", "--json")
    assert code == 0, output
    assert connection["id"] in output
    code, output = await zapd("send", connection["id"], "5511999998888", "oi", "--json")
    assert code == 0, output

    async def arrived() -> bool:
        return Counter(row["payload"]["text"] for row in await daemon.ledger(connection["id"]))["oi"] == 1

    await eventually(arrived)
    code, output = await zapd("status", "--json")
    assert code == 0, output
