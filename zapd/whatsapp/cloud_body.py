"""A message as Meta wants it. Pure. Source: wire facts §1.2."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from zapd.model.message import Message
from zapd.whatsapp.cloud_webhook import CALLBACK_PREFIX
from zapd.whatsapp.content import ABOUT
from zapd.whatsapp.content.places import places
from zapd.whatsapp.numbers import is_business_scoped, is_phone
from zapd.whatsapp.transport import Permanent, Target

Json = dict[str, Any]


def body_of(message: Message, *, target: Target | None, uploaded: Mapping[str, str]) -> Json:
    """The body of a send. `uploaded` gives Meta's ids for the files by their `media_id`. Raises Permanent."""
    payload: Json = orjson.loads(message.payload)
    return {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        **whom(message.peer),
        "type": message.type,
        message.type: _content(message.type, payload, target, uploaded),
        **({"context": {"message_id": target.provider_id}} if target and message.type not in ABOUT else {}),
        # Meta has no idempotency key: a status that echoes this proves that a send with a lost answer did leave.
        "biz_opaque_callback_data": f"{CALLBACK_PREFIX}{message.id}",
    }


def read_body(target: Target, *, typing: bool = False) -> Json:
    """The body that marks a message as read; Meta shows typing only together with it."""
    shown = {"typing_indicator": {"type": "text"}} if typing else {}
    return {"messaging_product": "whatsapp", "status": "read", "message_id": target.provider_id, **shown}


def whom(peer: str) -> Json:
    """The recipient of a body. Raises Permanent."""
    if is_phone(peer):
        # Without the + Meta puts the business's own country code in front.
        return {"to": f"+{peer}"}
    if is_business_scoped(peer):
        return {"recipient": peer}
    raise Permanent("unsupported_recipient", "the Cloud API sends to phone numbers and business-scoped user ids")


def _content(type_: str, payload: Json, target: Target | None, uploaded: Mapping[str, str]) -> Any:
    if type_ == "reaction":
        assert target is not None
        return {"message_id": target.provider_id, "emoji": payload["emoji"]}
    for place in list(places(type_, payload)):
        place.holder.pop("url", None)
        place.holder["id"] = uploaded[place.holder.pop("media_id")]
    return _SHAPES.get(type_, _as_it_is)(payload)


def _as_it_is(payload: Json) -> Any:
    return payload


def _text(payload: Json) -> Json:
    return {"body": payload["text"], "preview_url": payload.get("preview_url", False)}


def _template(payload: Json) -> Json:
    components, language = payload.get("components"), payload["language"]
    language = {"code": language["code"] if isinstance(language, dict) else language}
    return {"name": payload["name"], "language": language} | ({"components": components} if components else {})


_SHAPES: dict[str, Callable[[Json], Any]] = {
    "text": _text,
    "template": _template,
    "contacts": lambda payload: payload["contacts"],
}
