"""Meta's webhooks: the verify handshake, the signature on raw bytes, and the updates in a body. All pure.

Source: wire facts §1.6 to §1.8.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson
import structlog

from zapd.errors import Forbidden, Unauthorized
from zapd.model.message import MessageStatus
from zapd.whatsapp.transport import Inbound, Receipt, Update

log = structlog.get_logger("zapd.whatsapp")

CALLBACK_PREFIX = "zapd:"  #: before our message id in `biz_opaque_callback_data`

_SIGNATURE = "sha256="
_STATUSES: Mapping[str, MessageStatus] = {
    "sent": MessageStatus.SENT,
    "delivered": MessageStatus.DELIVERED,
    "read": MessageStatus.READ,
    "played": MessageStatus.PLAYED,
    "failed": MessageStatus.FAILED,
}

Json = dict[str, Any]

#: The kinds that zapd gives a shape of its own; every other keeps Meta's JSON under the type `unknown`.
_PAYLOADS: Mapping[str, Callable[[Json], Json]] = {
    "text": lambda message: {"text": message["text"]["body"]},
    "button": lambda message: {"text": message["button"]["text"], "payload": message["button"].get("payload")},
}


def handshake(query: Mapping[str, str], *, verify_token: str) -> str:
    """The challenge to answer Meta's GET with, as plain text. Raises Forbidden."""
    right = _same(query.get("hub.verify_token", ""), verify_token)
    if query.get("hub.mode") != "subscribe" or not right:
        raise Forbidden("the verify token is wrong")
    return query.get("hub.challenge", "")


def check_signature(raw: bytes, header: str | None, *, app_secret: str) -> None:
    """Check `X-Hub-Signature-256` over the body as it came. Raises Unauthorized."""
    expected = _SIGNATURE + hmac.new(app_secret.encode(), raw, hashlib.sha256).hexdigest()
    if not _same(header or "", expected):
        raise Unauthorized("X-Hub-Signature-256 is missing or wrong")


def parse(raw: bytes, *, phone_number_id: str) -> list[Update]:
    """The updates for one number. An app's webhook may carry those of its other numbers too: they are left out.

    Raises ValueError when the bytes are not a WhatsApp webhook. A part that is malformed never costs the others.
    """
    body = orjson.loads(raw)
    if not isinstance(body, dict) or body.get("object") != "whatsapp_business_account":
        raise ValueError("not a WhatsApp webhook")
    updates: list[Update] = []
    for value in _values(body):
        if _object(value, "metadata").get("phone_number_id") != phone_number_id:
            log.warning("webhook.other_number")
            continue
        names = _names(value)
        updates += [_inbound(message, names) for message in _objects(value, "messages")]
        updates += filter(None, map(_receipt, _objects(value, "statuses")))
    return updates


def _same(given: str, expected: str) -> bool:
    # Servers hand over bytes that are not UTF-8 as surrogates, which do not encode.
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())


def _values(body: Json) -> Iterator[Json]:
    for entry in _objects(body, "entry"):
        for change in _objects(entry, "changes"):
            if change.get("field") == "messages":
                yield _object(change, "value")


def _names(value: Json) -> dict[str, str]:
    """What contacts call themselves, by number and by business-scoped id."""
    names: dict[str, str] = {}
    for contact in _objects(value, "contacts"):
        name = _object(contact, "profile").get("name")
        ids = (contact.get("wa_id"), contact.get("user_id"))
        names |= {known: str(name) for known in ids if isinstance(known, str) and name}
    return names


def _inbound(message: Json, names: Mapping[str, str]) -> Inbound:
    # Users with a username have no number here, see wire facts §1.9.
    peer = str(message.get("from") or message.get("from_user_id") or "unknown")
    type_, payload = _content(message)
    quoted = _object(message, "context").get("id")
    return Inbound(
        # Without an id, the same bytes are still the same message.
        provider_id=str(message.get("id") or f"sha256:{hashlib.sha256(payload).hexdigest()}"),
        peer=peer,
        type=type_,
        payload=payload,
        at=_milliseconds(message),
        name=names.get(peer) or names.get(str(message.get("from_user_id"))),
        reply_to=str(quoted) if quoted else None,
    )


def _content(message: Json) -> tuple[str, bytes]:
    kind = message.get("type")
    shape = _PAYLOADS.get(kind) if isinstance(kind, str) else None
    if isinstance(kind, str) and shape is not None:
        try:
            return kind, orjson.dumps(shape(message))
        except (KeyError, TypeError, AttributeError):
            log.warning("webhook.malformed_message", type=kind)
    try:
        return "unknown", orjson.dumps(message)
    except TypeError:  # orjson reads deeper nesting than it writes; the inbox keeps the raw bytes
        return "unknown", b'{"error":"nested too deeply"}'


def _receipt(status: Json) -> Receipt | None:
    kind, provider_id = status.get("status"), status.get("id")
    if not isinstance(kind, str) or kind not in _STATUSES or not provider_id:
        log.warning("webhook.unknown_status")  # it says nothing of a message that zapd could keep
        return None
    error = next(iter(_objects(status, "errors")), {})
    detail = _object(error, "error_data").get("details") or error.get("message") or error.get("title")
    echo = str(status.get("biz_opaque_callback_data") or "")
    return Receipt(
        provider_id=str(provider_id),
        status=_STATUSES[kind],
        at=_milliseconds(status),
        message_id=echo.removeprefix(CALLBACK_PREFIX) if echo.startswith(CALLBACK_PREFIX) else None,
        code=str(error["code"]) if "code" in error else None,
        detail=str(detail)[:500] if detail else None,
    )


def _milliseconds(item: Json) -> int:
    """Meta writes seconds as a string. 0 when it is not one."""
    seconds = str(item.get("timestamp"))
    return int(seconds) * 1000 if seconds.isascii() and seconds.isdigit() and len(seconds) < 12 else 0


def _object(parent: Json, key: str) -> Json:
    child = parent.get(key)
    return child if isinstance(child, dict) else {}


def _objects(parent: Json, key: str) -> list[Json]:
    children = parent.get(key)
    return [child for child in children if isinstance(child, dict)] if isinstance(children, list) else []
