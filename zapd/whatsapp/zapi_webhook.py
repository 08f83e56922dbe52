"""Z-API's webhooks: the updates in a body, and what it says of the line. All pure. Source: wire facts §2.4.

The presence of a key decides the kind of a message. What is not known keeps its JSON under the type `unknown`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import structlog

from zapd.model.message import MessageStatus
from zapd.model.session import SessionState
from zapd.whatsapp.referral import referral
from zapd.whatsapp.transport import Aliases, Inbound, Notice, Receipt, RemoteMedia, StateChange, Update
from zapd.whatsapp.zapi_errors import code_of

log = structlog.get_logger("zapd.whatsapp")

Json = dict[str, Any]

_STATUSES: Mapping[str, MessageStatus] = {
    "SENT": MessageStatus.SENT,
    "RECEIVED": MessageStatus.DELIVERED,
    "READ": MessageStatus.READ,
    "PLAYED": MessageStatus.PLAYED,
}
_SECONDS = 100_000_000_000  #: below this a time is in seconds, as in some of Z-API's samples


class OtherInstance(ValueError):
    """The webhook is of an instance that is not the connection's."""


def parse(raw: bytes, *, instance_id: str) -> list[Update]:
    """The updates for one instance. Raises ValueError when the bytes are not one of its webhooks."""
    body = _body(raw, instance_id)
    match body.get("type"):
        case "ReceivedCallback":
            return _received(body)
        case "DeliveryCallback":
            return _delivered(body)
        case "MessageStatusCallback":
            return _statuses(body)
    return []  # of the line, of presence, or of a later version: the inbox keeps the raw bytes


def change_in(raw: bytes, *, instance_id: str) -> StateChange | None:
    """What a webhook says of the line. Raises ValueError as `parse`."""
    body = _body(raw, instance_id)
    if body.get("type") == "ConnectedCallback":
        return StateChange(state=SessionState.CONNECTED)
    if body.get("type") == "DisconnectedCallback":
        return StateChange(state=SessionState.RECONNECTING, reason="disconnected")
    return None


def url_of(media: RemoteMedia) -> str:
    """Where a file is."""
    return str(orjson.loads(media.reference)["url"])


def _body(raw: bytes, instance_id: str) -> Json:
    body = orjson.loads(raw)
    if not isinstance(body, dict) or not isinstance(body.get("type"), str):
        raise ValueError("not a webhook of Z-API")
    if body.get("instanceId") != instance_id:
        raise OtherInstance("of another instance")
    return body


# --- receipts ---


def _delivered(body: Json) -> list[Update]:
    """It was handed to WhatsApp, or could not be. A forwarded message is only known by its `zaapId`."""
    ids = dict.fromkeys(str(body[key]) for key in ("messageId", "zaapId") if body.get(key))
    error = body.get("error")
    code = str(body.get("errorCode") or "") or None
    return [
        Receipt(
            provider_id=provider_id,
            status=MessageStatus.FAILED if error else MessageStatus.SENT,
            at=_at(body),
            code=code_of(str(error), code=code) if error else None,
            detail=str(error)[:500] if error else None,
        )
        for provider_id in ids
    ]


def _statuses(body: Json) -> list[Update]:
    status, ids = _STATUSES.get(str(body.get("status"))), body.get("ids")
    if status is None or not isinstance(ids, list):
        return []  # READ_BY_ME and the like are about messages that came in
    participant = _peer(body.get("participant")) if body.get("isGroup") else None
    return [
        Receipt(provider_id=str(provider_id), status=status, at=_at(body), participant=participant)
        for provider_id in ids
        if provider_id
    ]


# --- messages ---


def _received(body: Json) -> list[Update]:
    if body.get("fromMe") and body.get("fromApi"):
        return []  # ours: its receipts tell the rest
    if body.get("waitingMessage"):
        # The message itself comes later under the same id, and must not be dropped as a double then.
        return [
            Notice(provider_id=_event_id(body), kind="waiting_message", data=orjson.dumps(_brief(body)), at=_at(body))
        ]
    if isinstance(body.get("notification"), str) and body["notification"] != "REVOKE":
        return [Notice(provider_id=_event_id(body), kind="notification", data=orjson.dumps(body), at=_at(body))]
    peer = _peer(body.get("phone")) or _peer(body.get("chatLid"))
    message_id = body.get("messageId")
    if peer is None or not message_id:
        log.warning("webhook.malformed_message", transport="zapi")
        return [
            Notice(provider_id=_event_id(body), kind="malformed", data=orjson.dumps(body), at=_at(body), warning=True)
        ]
    type_, payload, media = _content(body)
    about = _about(body, type_, payload)
    group = bool(body.get("isGroup"))
    return [
        Inbound(
            provider_id=f"{message_id}:{type_}:{_at(body)}" if type_ in ("edit", "revoke") else str(message_id),
            peer=peer,
            type=type_,
            payload=orjson.dumps(payload),
            at=_at(body),
            name=_text(body.get("senderName")) or _text(body.get("chatName")),
            sender=(_peer(body.get("participantPhone")) or _peer(body.get("participantLid"))) if group else None,
            aliases=_aliases(body, group),
            from_me=bool(body.get("fromMe")),
            forwarded=bool(body.get("forwarded")),
            reply_to=_text(body.get("referenceMessageId")) if about is None else None,
            about=about,
            media=media,
        )
    ]


def _about(body: Json, type_: str, payload: Json) -> str | None:
    if type_ == "reaction":
        return _text(payload.get("message_id"))
    if type_ in ("edit", "revoke"):
        return _text(body.get("referenceMessageId")) or str(body["messageId"])
    return None


def _content(body: Json) -> tuple[str, Json, RemoteMedia | None]:
    if body.get("notification") == "REVOKE":
        return "revoke", {"message_id": body.get("referenceMessageId") or body["messageId"]}, None
    for key, (type_, shape) in _SHAPES.items():
        part = body.get(key)
        if not isinstance(part, dict):
            continue
        try:
            payload = shape(part)
        except (KeyError, TypeError, ValueError, AttributeError):
            log.warning("webhook.malformed_message", transport="zapi", type=key)
            return "unknown", body, None
        if key == "text" and body.get("isEdit"):
            about = body.get("referenceMessageId") or body["messageId"]
            return "edit", {"message_id": about, "text": payload["text"]}, None
        return type_, payload | referral(body.get("externalAdReply")), _media(part, key)
    return "unknown", body, None


def _media(part: Json, key: str) -> RemoteMedia | None:
    url = part.get(f"{key}Url")
    if not isinstance(url, str) or not url:
        return None
    return RemoteMedia(
        reference=orjson.dumps({"url": url}), mime=_text(part.get("mimeType")), filename=_text(part.get("fileName"))
    )


def _captioned(part: Json) -> Json:
    return {"caption": part["caption"]} if part.get("caption") else {}


def _document(part: Json) -> Json:
    name = part.get("fileName") or part.get("title")
    return _captioned(part) | ({"filename": name} if name else {})


def _location(part: Json) -> Json:
    place = {name: part[name] for name in ("name", "address") if part.get(name)}
    return {"latitude": float(part["latitude"]), "longitude": float(part["longitude"]), **place}


def _contact(part: Json) -> Json:
    phones = [{"phone": str(phone)} for phone in part.get("phones") or []]
    return {"contacts": [{"name": {"formatted_name": str(part["displayName"])}, "phones": phones}]}


def _reaction(part: Json) -> Json:
    return {"message_id": str(part["referencedMessage"]["messageId"]), "emoji": str(part.get("value") or "")}


def _text_of(part: Json) -> Json:
    return {"text": str(part["message"])}


def _button(part: Json) -> Json:
    return {"type": "button_reply", "id": str(part["buttonId"]), "title": str(part["message"])}


def _row(part: Json) -> Json:
    title = str(part.get("title") or part.get("message") or "")
    return {"type": "list_reply", "id": str(part["selectedRowId"]), "title": title}


def _poll(part: Json) -> Json:
    options = [str(option["name"]) for option in part["options"]]
    return {"name": str(part["question"]), "options": options, "selectable": int(part.get("pollMaxOptions") or 1)}


#: Z-API's key → our type and the shape of its payload; Meta's shapes where there are such (`content/`).
_SHAPES: Mapping[str, tuple[str, Callable[[Json], Json]]] = {
    "text": ("text", _text_of),
    "image": ("image", _captioned),
    "video": ("video", _captioned),
    "audio": ("audio", lambda part: {"voice": bool(part.get("ptt"))}),
    "document": ("document", _document),
    "sticker": ("sticker", lambda _: {}),
    "location": ("location", _location),
    "contact": ("contacts", _contact),
    "reaction": ("reaction", _reaction),
    "buttonsResponseMessage": ("interactive", _button),
    "listResponseMessage": ("interactive", _row),
    "poll": ("poll", _poll),
}


# --- who and when ---


def _aliases(body: Json, group: bool) -> Aliases:
    names = ("participantPhone", "participantLid") if group else ("phone", "chatLid")
    known = [_peer(body.get(name)) for name in (*names, "senderLid")]
    phone = next((peer for peer in known if peer and peer.isdigit()), None)
    lid = next((peer for peer in known if peer and peer.endswith("@lid")), None)
    return Aliases(phone=phone, wa_id=phone, lid=lid)


def _peer(value: object) -> str | None:
    """A chat as zapd spells it. Z-API writes groups as `…-group` or, the older ones, as `phone-time`."""
    if not isinstance(value, str) or not value:
        return None
    if value.endswith("-group"):
        return f"{value.removesuffix('-group')}@g.us"
    if re.fullmatch(r"[0-9]+-[0-9]+", value):
        return f"{value}@g.us"
    return value.lower() if "@" in value else re.sub(r"[^0-9]", "", value) or None


def _at(body: Json) -> int:
    """Milliseconds; 0 when there is no time."""
    momment = body.get("momment")
    if isinstance(momment, bool) or not isinstance(momment, int) or not 0 < momment < 1 << 53:
        return 0
    return momment * 1000 if momment < _SECONDS else momment


def _event_id(body: Json) -> str:
    """What drops a notice that comes twice."""
    return f"{body.get('messageId')}:{body.get('notification')}:{_at(body)}"


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _brief(body: Json) -> Json:
    return {key: body.get(key) for key in ("messageId", "phone", "chatLid", "senderName")}
