"""What the API answers to what it must not take."""

import asyncio
from typing import Any

import pytest

from tests.support import eventually
from tests.support.daemon import Daemon

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXT = {"to": "5511999998888", "type": "text", "payload": {"text": "x"}}
CLOUD = {"phone_number_id": "1", "access_token": "a", "app_secret": "s", "verify_token": "v"}
ZAPI = {"instance_id": "I1", "instance_token": "T1", "client_token": "C1"}


def fields(problem: dict[str, Any]) -> list[str]:
    return [error["field"] for error in problem["errors"]]


async def test_an_unknown_connection_is_404(daemon: Daemon) -> None:
    for method, path, body in [
        ("POST", "/connections/nope/send", TEXT),
        ("GET", "/connections/nope", None),
        ("GET", "/connections/nope/messages", None),
        ("GET", "/connections/nope/qr", None),
        ("DELETE", "/connections/nope", None),
        ("POST", "/connections/nope/pause", None),
        ("GET", "/sandbox/nope/ledger", None),
        ("GET", "/hooks/cloud/nope", None),
        ("GET", "/messages/nope", None),
        ("GET", "/events/nope", None),
        ("GET", "/endpoints/nope", None),
        ("GET", "/deliveries/nope", None),
        ("GET", "/queues/nope", None),
        ("GET", "/jobs/nope", None),
        ("DELETE", "/keys/nope", None),
        ("GET", "/nowhere", None),
    ]:
        status, problem = await daemon.call(method, path, body)
        assert (status, problem["status"]) == (404, 404), path


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"to": "abc"}, "to"),
        ({"to": "123"}, "to"),
        ({"payload": {}}, "payload.text"),
        ({"payload": {"text": ""}}, "payload.text"),
        ({"payload": {"text": 1}}, "payload.text"),
        ({"payload": {"text": "x", "colour": "red"}}, "payload.colour"),
        ({"type": "carrier-pigeon"}, "type"),
        ({"priority": 11}, "priority"),
        ({"send_at": "tomorrow"}, "send_at"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"unknown": 1}, "unknown"),
    ],
)
async def test_a_wrong_message_is_422_and_names_the_field(
    daemon: Daemon, connection: str, change: dict[str, Any], field: str
) -> None:
    status, problem = await daemon.call("POST", f"/connections/{connection}/send", {**TEXT, **change})
    assert (status, fields(problem)) == (422, [field])


async def test_what_is_not_json_is_400(daemon: Daemon, connection: str) -> None:
    assert (await daemon.call("POST", f"/connections/{connection}/send", b"{not json"))[0] == 400


async def test_no_body_names_what_is_missing(daemon: Daemon, connection: str) -> None:
    status, problem = await daemon.call("POST", f"/connections/{connection}/send")
    assert (status, set(fields(problem))) == (422, {"to", "type", "payload"})


async def test_a_body_over_the_limit_is_413(daemon: Daemon, connection: str) -> None:
    big = {**TEXT, "payload": {"text": "x" * 70_000}}
    assert (await daemon.call("POST", f"/connections/{connection}/send", big))[0] == 413


@pytest.mark.parametrize("transport", ["carrier-pigeon"])
async def test_a_transport_that_is_not_there_is_422(daemon: Daemon, transport: str) -> None:
    status, problem = await daemon.call("POST", "/connections", {"label": "x", "transport": transport})
    assert (status, fields(problem)) == (422, ["transport"])


async def test_a_wrong_transport_setting_is_422_and_names_it(daemon: Daemon) -> None:
    body = {"label": "x", "transport": "cloud", "config": {"phone_number_id": "1"}}
    status, problem = await daemon.call("POST", "/connections", body)
    assert status == 422
    assert "config.access_token" in fields(problem)


@pytest.mark.parametrize("transport", ["cloud", "zapi", "web", "sandbox"])
async def test_a_setting_that_no_transport_knows_is_422_and_names_it(daemon: Daemon, transport: str) -> None:
    body = {"label": "x", "transport": transport, "config": {"rate_per_minut": 5}}
    status, problem = await daemon.call("POST", "/connections", body)
    assert (status, "config.rate_per_minut" in fields(problem)) == (422, True)


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/connections", {"label": "x", "transport": "sandbox", "config": {"x": 10**30}}, "config"),
        ("PATCH", "/connections/main", {"config": {"a": {"b": [10**30]}}}, "config"),
        ("POST", "/sandbox/main/inbound", {"type": "text", "payload": {"text": 10**30}}, "payload"),
    ],
)
async def test_a_number_beyond_64_bits_is_422_and_names_where(
    daemon: Daemon, connection: str, method: str, path: str, body: dict[str, Any], field: str
) -> None:
    if path.startswith("/sandbox"):
        body = {**body, "from": "5511999998888"}
    status, problem = await daemon.call(method, path.replace("main", connection), body)
    assert (status, fields(problem)) == (422, [field])


async def test_who_hangs_up_in_the_middle_of_a_body_is_no_crash_of_ours(daemon: Daemon) -> None:
    def counted() -> int:
        return sum(line["event"] == "request.crashed" for line in daemon.log_lines())

    before = counted()
    _, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
    head = f"POST /endpoints HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {daemon.key}\r\nContent-Length: 100\r\n\r\n"
    writer.write(head.encode() + b'{"u')
    await writer.drain()
    await daemon.call("GET", "/health")
    writer.transport.abort()

    async def heard() -> bool:
        text = (await daemon.call("GET", "/metrics", raw=True))[1].decode()
        return 'zapd_http_requests_total{code="400",method="POST",route="/endpoints"}' in text

    await eventually(heard, within=20)
    assert counted() == before


async def test_a_misspelt_change_is_422_and_changes_nothing(daemon: Daemon) -> None:
    body = {"label": "x", "transport": "cloud", "id": "spelt", "config": CLOUD}
    assert (await daemon.call("POST", "/connections", body))[0] == 202
    status, problem = await daemon.call("PATCH", "/connections/spelt", {"config": {"enforce_windw": False}})
    assert (status, fields(problem)) == (422, ["config.enforce_windw"])


async def test_a_connection_id_that_is_taken_is_409(daemon: Daemon, connection: str) -> None:
    body = {"label": "x", "transport": "sandbox", "id": connection}
    assert (await daemon.call("POST", "/connections", body))[0] == 409


async def test_a_connection_that_is_being_made_is_not_another_one(daemon: Daemon) -> None:
    body = {"label": "x", "transport": "cloud", "id": "pending", "config": CLOUD}
    first = await daemon.call("POST", "/connections", body)
    assert first[0] == 202
    other = {"label": "x", "transport": "sandbox", "id": "pending"}
    assert (await daemon.call("POST", "/connections", other))[0] == 409


async def test_a_message_id_that_is_taken_is_409(daemon: Daemon, connection: str) -> None:
    body = {**TEXT, "message_id": "order-1"}
    assert (await daemon.call("POST", f"/connections/{connection}/send", body))[0] == 202
    assert (await daemon.call("POST", f"/connections/{connection}/send", body))[0] == 409


async def test_an_idempotency_key_gives_the_first_answer_and_refuses_another_body(
    daemon: Daemon, connection: str
) -> None:
    path, key = f"/connections/{connection}/send", {"Idempotency-Key": "k1"}
    first = await daemon.call("POST", path, TEXT, headers=key)
    again = await daemon.call("POST", path, TEXT, headers=key)
    other = await daemon.call("POST", path, {**TEXT, "payload": {"text": "other"}}, headers=key)
    assert first[0] == again[0] == 202
    assert first[1] == again[1]
    assert other[0] == 409


async def test_an_idempotency_key_gives_the_first_answer_also_when_the_client_chose_the_messages_id(
    daemon: Daemon, connection: str
) -> None:
    path, body = f"/connections/{connection}/send", {**TEXT, "message_id": "order-2"}
    first = await daemon.call("POST", path, body, headers={"Idempotency-Key": "k2"})
    again = await daemon.call("POST", path, body, headers={"Idempotency-Key": "k2"})
    taken = await daemon.call("POST", path, body, headers={"Idempotency-Key": "k3"})
    assert first[0] == again[0] == 202
    assert first[1] == again[1]
    assert taken[0] == 409
    other = await daemon.call("POST", path, {**TEXT, "message_id": "order-3"}, headers={"Idempotency-Key": "k3"})
    assert other[0] == 202  # what was refused did not use the key up


@pytest.mark.parametrize(
    ("request_line", "header", "status"),
    [
        (b"GET /connections", b"Authorization: Bearer \xff\xfe", 401),
        (b"GET /connections", b"X-Api-Key: \xff", 401),
        (b"POST /hooks/cloud/meta", b"X-Hub-Signature-256: sha256=\xff", 401),
        (b"GET /hooks/cloud/meta?hub.mode=subscribe&hub.verify_token=%ff", b"Accept: */*", 403),
    ],
)
async def test_a_secret_that_is_not_utf_8_is_a_wrong_secret(
    daemon: Daemon, request_line: bytes, header: bytes, status: int
) -> None:
    config = {"phone_number_id": "1", "access_token": "a", "app_secret": "s", "verify_token": "v"}
    await daemon.call("POST", "/connections", {"label": "x", "transport": "cloud", "id": "meta", "config": config})
    reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
    writer.write(request_line + b" HTTP/1.1\r\nHost: zapd\r\nContent-Length: 0\r\n" + header + b"\r\n\r\n")
    answered = await reader.readline()
    writer.close()
    assert int(answered.split()[1]) == status


@pytest.mark.parametrize(
    ("transport", "config", "to"),
    [
        ("cloud", CLOUD, "120363000000000001@g.us"),
        ("cloud", CLOUD, "81890000000@lid"),
        ("zapi", ZAPI, "BR.1502576394655843"),
    ],
)
async def test_a_recipient_that_the_transport_cannot_reach_is_422(
    daemon: Daemon, transport: str, config: dict[str, str], to: str
) -> None:
    name = f"far-{transport}-{len(to)}"
    body = {"id": name, "label": "x", "transport": transport, "config": config}
    assert (await daemon.call("POST", "/connections", body))[0] == 202
    status, problem = await daemon.call("POST", f"/connections/{name}/send", {**TEXT, "to": to})
    assert (status, fields(problem)) == (422, ["to"])
    status, answer = await daemon.call("POST", f"/connections/{name}/send/bulk", {"messages": [{**TEXT, "to": to}]})
    assert (status, answer["data"][0]["status"]) == (202, "refused")


async def test_a_code_is_409_when_there_is_none(daemon: Daemon, connection: str) -> None:
    status, problem = await daemon.call("GET", f"/connections/{connection}/qr")
    assert status == 409
    assert "connected" in problem["detail"]


async def test_a_message_is_held_unless_connected_is_required(daemon: Daemon) -> None:
    await daemon.connect(id="held")
    await daemon.call("POST", "/connections/held/pause")
    assert (await daemon.call("POST", "/connections/held/send?require=connected", TEXT))[0] == 409
    status, message = await daemon.call("POST", "/connections/held/send", TEXT)
    assert status == 202
    assert await daemon.status_of(message["id"]) == "queued"


async def test_a_wrong_query_is_422_and_names_the_parameter(daemon: Daemon, connection: str) -> None:
    for query, field in [("limit=0", "limit"), ("direction=up", "direction"), ("colour=red", "colour")]:
        status, problem = await daemon.call("GET", f"/connections/{connection}/messages?{query}")
        assert (status, fields(problem)) == (422, [field])


async def test_a_sent_message_can_be_neither_retried_nor_canceled(daemon: Daemon, connection: str) -> None:
    from tests.support import eventually

    message = await daemon.send(connection, "done")

    async def settled() -> bool:
        return await daemon.status_of(message["id"]) == "read"

    await eventually(settled)
    assert (await daemon.call("POST", f"/messages/{message['id']}/retry"))[0] == 409
    assert (await daemon.call("DELETE", f"/messages/{message['id']}"))[0] == 409


async def test_an_endpoint_that_would_never_work_is_422(daemon: Daemon) -> None:
    status, problem = await daemon.call("POST", "/endpoints", {"url": "ftp://example.com", "types": []})
    assert (status, set(fields(problem))) == (422, {"url", "types"})


async def test_jobs_go_only_into_queues_of_the_operators_own(daemon: Daemon) -> None:
    status, problem = await daemon.call("POST", "/queues/message:send/jobs", {"jobs": [{"payload": 1}]})
    assert (status, fields(problem)) == (422, ["queue"])


@pytest.mark.parametrize(
    ("state", "after"), [("waiting", "r:5/zzz"), ("staged", "-5"), ("delayed", "x"), ("dead", "9" * 30)]
)
async def test_a_cursor_that_no_page_gave_is_422(daemon: Daemon, state: str, after: str) -> None:
    status, problem = await daemon.call("GET", f"/queues/message:send/jobs?state={state}&after={after}")
    assert (status, fields(problem)) == (422, ["after"])


@pytest.mark.parametrize("place", ["9" * 30, "nonsense", "-1", "evt_01KB3QK7ZB8Q0T0N9V5C1D2E3F"])
async def test_a_stream_that_cannot_go_on_where_it_should_is_422(daemon: Daemon, place: str) -> None:
    status, problem = await daemon.call("GET", "/stream", headers={"Last-Event-ID": place})
    assert (status, fields(problem)) == (422, ["Last-Event-ID"])
