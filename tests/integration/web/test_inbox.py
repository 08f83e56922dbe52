"""The inbox, read marks and typing, over HTTP; a file that a contact sends comes all the way."""

from typing import Any
from urllib.parse import urlsplit

import orjson
import pytest

from tests.integration.web.test_cli import zapd
from tests.support import eventually
from tests.support.daemon import Daemon
from tests.support.fake_meta import CONFIG, FakeMeta, sign, text_message, webhook_body
from tests.support.fake_meta import status as status_of
from tests.support.kinds import CONTENTS
from zapd.whatsapp.cloud_webhook import LARGE

pytestmark = pytest.mark.asyncio(loop_scope="module")

MIME, JPEG = CONTENTS["image"]


async def wrote(daemon: Daemon, connection: str, provider_type: str, payload: dict[str, Any]) -> str:
    """A contact writes; the provider's id."""
    body = {"from": "5511977776666", "type": provider_type, "payload": payload}
    status, answer = await daemon.call("POST", f"/sandbox/{connection}/inbound", body)
    assert status == 202, answer
    return str(answer["id"])


async def message_of(daemon: Daemon, connection: str, provider_id: str) -> dict[str, Any]:
    async def found() -> dict[str, Any] | None:
        _, page = await daemon.call("GET", f"/connections/{connection}/messages?direction=inbound&limit=1000")
        return next((m for m in page["data"] if m["provider_id"] == provider_id), None)

    message = await eventually(found)
    assert message is not None
    return message


async def test_a_row_is_shown_and_read_again(daemon: Daemon, connection: str) -> None:
    provider_id = await wrote(daemon, connection, "text", {"text": "oi"})
    message = await message_of(daemon, connection, provider_id)
    _, page = await daemon.call("GET", f"/inbox?connection_id={connection}&failed=false&limit=1000")
    bodies = [(await daemon.call("GET", f"/inbox/{row['id']}"))[1] for row in page["data"]]
    (row,) = [body for body in bodies if provider_id in body["raw"]]
    assert (row["encoding"], row["error"], row["size"]) == ("utf-8", None, len(row["raw"].encode()))

    status, answer = await daemon.call("POST", f"/inbox/{row['id']}/process")
    assert (status, len(answer["job_ids"])) == (202, 1)

    async def processed() -> bool:
        return (await daemon.call("GET", f"/inbox/{row['id']}"))[1]["processed_at"] is not None

    await eventually(processed)
    assert await message_of(daemon, connection, provider_id) == message
    assert (await daemon.call("POST", "/inbox/inb_none/process"))[0] == 404


async def test_a_message_is_marked_as_read_and_typing_shown(daemon: Daemon, connection: str) -> None:
    message = await message_of(daemon, connection, await wrote(daemon, connection, "text", {"text": "oi"}))
    assert (await daemon.call("POST", f"/messages/{message['id']}/read"))[0] == 204
    typing = f"/connections/{connection}/typing"
    assert (await daemon.call("POST", typing, {"to": "5511977776666"}))[0] == 204
    assert (await daemon.call("POST", typing, {"to": "nobody"}))[0] == 422
    assert (await daemon.call("POST", "/messages/msg_none/read"))[0] == 404


async def test_a_file_that_a_contact_sends_can_be_read_by_its_link(daemon: Daemon, connection: str) -> None:
    _, made = await daemon.call("POST", "/media", JPEG, headers={"Content-Type": MIME})
    provider_id = await wrote(daemon, connection, "image", {"media_id": made["id"], "caption": "gato"})
    message = await message_of(daemon, connection, provider_id)
    assert message["payload"]["caption"] == "gato"
    media_id = message["payload"]["media_id"]
    assert media_id != made["id"]

    async def ready() -> dict[str, Any] | None:
        _, link = await daemon.call("GET", f"/media/{media_id}/link")
        return link if link["state"] == "ready" else None

    link = await eventually(ready)
    assert link is not None
    parts = urlsplit(link["url"])
    assert (await daemon.call("GET", f"{parts.path}?{parts.query}", raw=True)) == (200, JPEG)


async def test_a_forward_and_a_revoke_name_messages(daemon: Daemon, connection: str) -> None:
    message = await message_of(daemon, connection, await wrote(daemon, connection, "text", {"text": "oi"}))
    send = f"/connections/{connection}/send"
    forward = {"to": "5511955554444", "type": "forward", "payload": {"message_id": message["id"]}}
    assert (await daemon.call("POST", send, forward))[0] == 202
    revoke = {"to": "5511977776666", "type": "revoke", "payload": {"message_id": message["id"]}}
    status, refused = await daemon.call("POST", send, revoke)
    assert (status, refused["errors"][0]["field"]) == (422, "payload.message_id")


async def test_a_webhook_that_is_too_large_or_not_metas_is_refused(daemon: Daemon) -> None:
    body = {"id": "meta", "label": "x", "transport": "cloud", "config": CONFIG}
    assert (await daemon.call("POST", "/connections", body))[0] == 202
    for raw, status in (
        (bytes(4 * 1024 * 1024 + 1), 413),
        (b'{"object":"page"}', 422),
        (b"{", 422),
        (b"{" * LARGE, 422),
    ):
        headers = {"X-Hub-Signature-256": sign(raw)}
        assert (await daemon.call("POST", "/hooks/cloud/meta", raw, headers=headers))[0] == status
    assert (await daemon.call("GET", "/inbox?connection_id=meta"))[1]["data"] == []


async def test_a_large_webhook_is_kept_as_it_came_and_read_once(daemon: Daemon) -> None:
    """Meta's largest: nothing of it is read before its answer."""
    body = {"id": "large", "label": "x", "transport": "cloud", "config": CONFIG | {"phone_number_id": "77"}}
    assert (await daemon.call("POST", "/connections", body))[0] == 202
    messages = [text_message(f"wamid.{n}", "x" * 5700, sender=f"55119{n % 20:08}") for n in range(100)]
    statuses = [status_of(f"wamid.out.{n}", "sent") for n in range(100)]
    value = {"messages": messages, "statuses": statuses, "metadata": {"phone_number_id": "77"}}
    raw = orjson.dumps(webhook_body(value))
    assert len(raw) > LARGE
    signed = {"X-Hub-Signature-256": sign(raw)}
    for _ in range(2):
        assert (await daemon.call("POST", "/hooks/cloud/large", raw, headers=signed))[0] == 200

    async def read() -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = (await daemon.call("GET", "/inbox?connection_id=large"))[1]["data"]
        _, page = await daemon.call("GET", "/connections/large/messages?direction=inbound&limit=1000")
        return rows if len(page["data"]) == 100 and rows[0]["processed_at"] is not None else []

    (row,) = await eventually(read, within=30)
    assert (row["size"], row["error"]) == (len(raw), None)


async def test_a_large_body_that_is_signed_and_not_json_is_kept_with_its_error(daemon: Daemon) -> None:
    raw = b'{"object":"whatsapp_business_account"' + b" " * LARGE
    assert (await daemon.call("POST", "/hooks/cloud/meta", raw, headers={"X-Hub-Signature-256": sign(raw)}))[0] == 200

    async def told() -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = (await daemon.call("GET", "/inbox?connection_id=meta&failed=true"))[1]["data"]
        return rows

    (row,) = await eventually(told, within=60)
    assert row["size"] == len(raw)


async def test_a_token_that_expired_pauses_with_an_alert_and_keeps_the_queue(daemon: Daemon) -> None:
    async with FakeMeta() as meta, Daemon(daemon.state / "expired", f'[cloud]\nbase_url = "{meta.url}"\n') as other:
        body = {"id": "sales", "label": "x", "transport": "cloud", "config": CONFIG}
        assert (await other.call("POST", "/connections", body))[0] == 202

        async def state_is(state: str) -> bool:
            return bool((await other.call("GET", "/connections/sales"))[1]["state"] == state)

        await eventually(lambda: state_is("connected"))
        meta.refuse(190, 401)
        # Nobody wrote yet: nothing else may be sent.
        payload = {"name": "order_ok", "language": "pt_BR", "components": []}
        message = {"to": "5511999998888", "type": "template", "payload": payload}
        _, sent = await other.call("POST", "/connections/sales/send", message)
        await eventually(lambda: state_is("paused"))
        _, events = await other.call("GET", "/events?type=connection.alert")
        (alert,) = events["data"]
        assert (alert["severity"], alert["data"]["reason"]) == ("error", "auth_failed")

        assert (await other.call("POST", "/connections/sales/resume"))[0] == 200

        async def left() -> bool:
            _, message = await other.call("GET", f"/messages/{sent['id']}")
            return bool(message["status"] == "sent")

        await eventually(left)
        assert len(meta.accepted) == 1


async def test_templates_that_meta_disabled_are_shown_refused_and_taken_again(daemon: Daemon) -> None:
    body = {"id": "promo", "label": "x", "transport": "cloud", "config": CONFIG | {"phone_number_id": "88"}}
    assert (await daemon.call("POST", "/connections", body))[0] == 202
    told = {
        "event": "DISABLED",
        "message_template_name": "sale",
        "message_template_language": "pt_BR",
        "reason": "NONE",
    }
    raw = orjson.dumps(webhook_body(told, number="88", field="message_template_status_update"))
    assert (await daemon.call("POST", "/hooks/cloud/promo", raw, headers={"X-Hub-Signature-256": sign(raw)}))[0] == 200

    async def shown() -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = (await daemon.call("GET", "/connections/promo/templates"))[1]["data"]
        return rows

    (template,) = await eventually(shown)
    assert (template["name"], template["state"], template["until"], template["refused"]) == (
        "sale",
        "disabled",
        None,
        True,
    )
    payload = {"name": "sale", "language": {"code": "pt_BR"}, "components": []}
    message = {"to": "5511999998888", "type": "template", "payload": payload}
    status, problem = await daemon.call("POST", "/connections/promo/send", message)
    assert (status, problem["errors"][0]["field"]) == (422, "payload.name")
    assert "disabled" in problem["errors"][0]["rule"]
    for wrong in ("?after=x", "?limit=0", "?nothing=1"):
        assert (await daemon.call("GET", f"/connections/promo/templates{wrong}"))[0] in (400, 422), wrong

    code, out, _ = await zapd(daemon, "connections", "templates", "promo", "--forget", "sale", "pt_BR")
    assert (code, "tried again" in out) == (0, True)
    assert (await daemon.call("POST", "/connections/promo/send", message))[0] == 202
    assert (await daemon.call("DELETE", "/connections/promo/templates/sale/pt_BR"))[0] == 404
    assert (await daemon.call("GET", "/connections/nowhere/templates"))[0] == 404
