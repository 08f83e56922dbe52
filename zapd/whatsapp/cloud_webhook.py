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
from zapd.whatsapp.cloud_errors import TEMPLATE_PAUSE
from zapd.whatsapp.cloud_inbound import changes, inbound, milliseconds, object_in, objects, peer_of, people, text_in
from zapd.whatsapp.transport import AliasChange, Aliases, Notice, Peek, Preference, Receipt, TemplateChange, Update

log = structlog.get_logger("zapd.whatsapp")

LARGE = 256 * 1024  #: bytes of a body that is not read before its answer
CALLBACK_PREFIX = "zapd:"  #: before our message id in `biz_opaque_callback_data`

_SIGNATURE = "sha256="
_OBJECT = b"whatsapp_business_account"
_EDGE = 256  #: bytes at either end of a large body, where it says of what it is
_STATUSES: Mapping[str, MessageStatus] = {
    "sent": MessageStatus.SENT,
    "delivered": MessageStatus.DELIVERED,
    "read": MessageStatus.READ,
    "played": MessageStatus.PLAYED,
    "failed": MessageStatus.FAILED,
}

Json = dict[str, Any]

#: Notices that somebody must look at.
_WARNINGS = frozenset({"error", "account_update", "account_alerts", "phone_number_quality_update"})


def handshake(query: Mapping[str, str], *, verify_token: str) -> str:
    """The challenge to answer Meta's GET with, as plain text. Raises Forbidden."""
    right = _same(query.get("hub.verify_token", ""), verify_token)
    if query.get("hub.mode") != "subscribe" or not right:
        raise Forbidden("the verify token is wrong")
    if not query.get("hub.challenge"):
        raise Forbidden("hub.challenge is missing")
    return query["hub.challenge"]


def check_signature(raw: bytes, header: str | None, *, app_secret: str) -> None:
    """Check `X-Hub-Signature-256` over the body as it came. Raises Unauthorized."""
    expected = _SIGNATURE + hmac.new(app_secret.encode(), raw, hashlib.sha256).hexdigest()
    if not _same(header or "", expected):
        raise Unauthorized("X-Hub-Signature-256 is missing or wrong")


def parse(raw: bytes, *, phone_number_id: str, waba_id: str = "") -> list[Update]:
    """The updates for one number. An app's webhook may carry those of its other numbers too: they are left out.

    Raises ValueError when the bytes are not a WhatsApp webhook. A part that is malformed never costs the others.
    """
    updates: list[Update] = []
    for field, value, at in _changes(raw, phone_number_id, waba_id):
        updates += _FIELDS.get(field, _notice)(value, field)
        if field == _OF_TEMPLATES:
            updates += _template(value, at)
    return updates


def peek(raw: bytes, *, phone_number_id: str, waba_id: str = "") -> Peek:
    """What kinds of updates a body has, in a quarter of the time that `parse` takes: Meta waits for the answer.

    Of a large one only what a search finds, and rather too much than too little: its reader does nothing then.
    Raises ValueError as `parse` does; of a large body, whose signature was right, its reader may do so still.
    """
    if len(raw) >= LARGE:
        if _OBJECT not in raw[:_EDGE] and _OBJECT not in raw[-_EDGE:]:
            raise ValueError("not a WhatsApp webhook")
        return Peek(receipts=b'"statuses"' in raw, others=True)
    receipts, others, chats = False, False, set[str]()
    for field, value, _ in _changes(raw, phone_number_id, waba_id):
        receipts |= field == "messages" and bool(objects(value, "statuses"))
        written = objects(value, "messages") if field == "messages" else []
        chats |= {peer_of(message) for message in written}
        others |= field != "messages" or bool(written) or bool(objects(value, "errors"))
    return Peek(receipts=receipts, others=others, chat=chats.pop() if len(chats) == 1 else None)


def _changes(raw: bytes, phone_number_id: str, waba_id: str) -> Iterator[tuple[str, Json, int]]:
    """The changes that are for this number or its account: field, value and time (ms, or 0). Raises ValueError."""
    body = orjson.loads(raw)
    if not isinstance(body, dict) or body.get("object") != _OBJECT.decode():
        raise ValueError("not a WhatsApp webhook")
    for entry in objects(body, "entry"):
        for change in objects(entry, "changes"):
            value, field = object_in(change, "value"), str(change.get("field"))
            number = object_in(value, "metadata").get("phone_number_id")
            if number != phone_number_id and (number is not None or field in _OF_A_NUMBER):
                log.warning("webhook.other_number")
            elif number is None and waba_id and str(entry.get("id")) != waba_id:
                log.warning("webhook.other_account")
            else:
                yield field, value, milliseconds({"timestamp": entry.get("time")})


def _messages(value: Json, _field: str) -> list[Update]:
    known = people(value)
    updates: list[Update] = []
    for message in objects(value, "messages"):
        updates.append(inbound(message, known))
        if message.get("type") == "system":
            updates += changes(message)
    updates += filter(None, map(_receipt, objects(value, "statuses")))
    if objects(value, "errors"):
        updates += _notice({"errors": value["errors"]}, "error")
    return updates


def _echoes(value: Json, _field: str) -> list[Update]:
    """What somebody wrote with the number's phone app, beside zapd."""
    known = people(value)
    told = objects(value, "message_echoes") or objects(value, "messages")
    return [inbound(message, known, from_me=True) for message in told]


def _user_ids(value: Json, field: str) -> list[Update]:
    updates: list[Update] = []
    held = value.get(field)
    told = [held] if isinstance(held, dict) else objects(value, field) or [value]
    for item in told:
        ids = object_in(item, "user_id")
        previous, current = text_in(ids, "previous"), text_in(ids, "current")
        if previous and current:
            phone = text_in(item, "wa_id")
            updates.append(
                AliasChange(
                    provider_id=f"{previous}>{current}",
                    previous=Aliases(bsuid=previous),
                    current=Aliases(bsuid=current, phone=phone, wa_id=phone),
                    at=milliseconds(item),
                )
            )
    return updates


def _preferences(value: Json, field: str) -> list[Update]:
    """Who wants no more marketing, or wants it again, in the order in which they said so."""
    known, updates = people(value), list[Preference]()
    for item in objects(value, field):
        wa_id, bsuid = text_in(item, "wa_id"), text_in(item, "user_id")
        _, who = known.get(wa_id or bsuid or "", (None, Aliases(phone=wa_id, wa_id=wa_id, bsuid=bsuid)))
        wants = _WANTS.get(str(item.get("value")).lower())
        if wants is not None and who.known():
            at = milliseconds(item)
            key = f"{field}:{wa_id or bsuid}:{wants}:{at}"
            updates.append(Preference(provider_id=key, who=who, wants=wants, at=at))
    return [*sorted(updates, key=lambda told: told.at), *_notice(value, field)]


def _template(value: Json, at: int) -> list[Update]:
    """How a template is from now on. Pauses end by themselves; the second one takes 6 hours and not 3."""
    name, language = text_in(value, "message_template_name"), text_in(value, "message_template_language")
    state = (text_in(value, "event") or "").lower()
    if not (name and language and state):
        return []
    title, told = text_in(object_in(value, "other_info"), "title"), text_in(value, "reason")
    second = title == "SECOND_PAUSE"
    return [
        TemplateChange(
            provider_id=f"{name}:{language}:{state}:{at}",
            name=name,
            language=language,
            state=_TEMPLATE_STATES.get(state, state)[:64],
            at=at,
            reason=title or (told if told != "NONE" else None),
            pause=TEMPLATE_PAUSE * (2 if second else 1) if state == "paused" else None,
        )
    ]


def _notice(value: Json, field: str) -> list[Update]:
    try:
        data = orjson.dumps(value)
    except TypeError:
        return []  # nested too deeply to be written again; the inbox keeps the raw bytes
    key = f"{field}:{hashlib.sha256(data).hexdigest()}"
    kind = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in field)[:64]
    return [Notice(provider_id=key, kind=kind, data=data, at=milliseconds(value), warning=field in _WARNINGS)]


def _same(given: str, expected: str) -> bool:
    # Servers hand over bytes that are not UTF-8 as surrogates, which do not encode.
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())


def _receipt(status: Json) -> Receipt | None:
    kind, provider_id = status.get("status"), status.get("id")
    if not isinstance(kind, str) or kind not in _STATUSES or not provider_id:
        log.warning("webhook.unknown_status")  # it says nothing of a message that zapd could keep
        return None
    error = next(iter(objects(status, "errors")), {})
    detail = object_in(error, "error_data").get("details") or error.get("message") or error.get("title")
    echo = str(status.get("biz_opaque_callback_data") or "")
    return Receipt(
        provider_id=str(provider_id),
        status=_STATUSES[kind],
        at=milliseconds(status),
        message_id=echo.removeprefix(CALLBACK_PREFIX) if echo.startswith(CALLBACK_PREFIX) else None,
        code=str(error["code"]) if "code" in error else None,
        detail=str(detail)[:500] if detail else None,
        participant=text_in(status, "recipient_participant_id"),
    )


_FIELDS: Mapping[str, Callable[[Json, str], list[Update]]] = {
    "messages": _messages,
    "smb_message_echoes": _echoes,
    "user_id_update": _user_ids,
    "user_preferences": _preferences,
}
_OF_TEMPLATES = "message_template_status_update"
_TEMPLATE_STATES: Mapping[str, str] = {"reinstated": "approved", "unarchived": "approved"}
_WANTS: Mapping[str, bool] = {"stop": False, "resume": True}
_OF_A_NUMBER = frozenset({"messages", "smb_message_echoes"})
