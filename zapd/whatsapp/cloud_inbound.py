"""What contacts send, as Meta tells it → zapd's own shapes. All pure. Source: wire facts §1.7, §1.9.

A kind that nobody knows, or that is not shaped as it should be, is kept whole under the type `unknown`.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import structlog

from zapd.whatsapp.numbers import is_phone
from zapd.whatsapp.transport import NOBODY, AliasChange, Aliases, Inbound, RemoteMedia, Update

log = structlog.get_logger("zapd.whatsapp")

Json = dict[str, Any]

_HEX = re.compile(r"[0-9a-fA-F]{64}")
_FILES = ("image", "video", "audio", "document", "sticker")
_ABOUT: Mapping[str, tuple[str, str]] = {  # type → where the id of the message stands that it is about
    "reaction": ("reaction", "message_id"),
    "edit": ("edit", "original_message_id"),
    "revoke": ("revoke", "original_message_id"),
}


def people(value: Json) -> dict[str, tuple[str | None, Aliases]]:
    """The name and ids of everybody in `contacts`, by each of their ids."""
    found: dict[str, tuple[str | None, Aliases]] = {}
    for contact in objects(value, "contacts"):
        profile = object_in(contact, "profile")
        wa_id, bsuid = text_in(contact, "wa_id"), text_in(contact, "user_id")
        aliases = Aliases(
            phone=wa_id if wa_id and is_phone(wa_id) else None,
            wa_id=wa_id,
            bsuid=bsuid,
            username=text_in(profile, "username"),
        )
        found |= {key: (text_in(profile, "name"), aliases) for key in (wa_id, bsuid) if key}
    return found


def inbound(message: Json, known: Mapping[str, tuple[str | None, Aliases]], *, from_me: bool = False) -> Inbound:
    """One item of `messages`. Users with a username have no number here."""
    bsuid = text_in(message, "from_user_id")
    peer = peer_of(message, from_me=from_me)
    name, aliases = known.get(peer) or known.get(bsuid or "") or (None, NOBODY)
    if aliases is NOBODY and not from_me:
        phone = peer if is_phone(peer) else None
        aliases = Aliases(phone=phone, wa_id=phone, bsuid=bsuid)
    type_, payload = _content(message)
    context = object_in(message, "context")
    holder, key = _ABOUT.get(type_, ("", ""))
    return Inbound(
        # Without an id, the same bytes are still the same message.
        provider_id=text_in(message, "id") or f"sha256:{hashlib.sha256(payload).hexdigest()}",
        peer=peer,
        type=type_,
        payload=payload,
        at=milliseconds(message),
        name=name,
        aliases=aliases,
        from_me=from_me,
        forwarded=context.get("forwarded") is True or context.get("frequently_forwarded") is True,
        reply_to=text_in(context, "id"),
        about=text_in(object_in(message, holder), key) if holder else None,
        media=_media(type_, message),
    )


def peer_of(message: Json, *, from_me: bool = False) -> str:
    """The chat that a message is in."""
    return text_in(message, "to" if from_me else "from") or text_in(message, "from_user_id") or "unknown"


def changes(message: Json) -> list[Update]:
    """What a message of type `system` says of who its sender is from now on."""
    told = object_in(message, "system")
    phone, bsuid = text_in(told, "wa_id"), text_in(told, "user_id")
    if not str(told.get("type", "")).startswith("user_changed_") or not (phone or bsuid):
        return []
    before = text_in(message, "from")
    previous = Aliases(phone=before, wa_id=before, bsuid=text_in(message, "from_user_id"))
    current = Aliases(phone=phone, wa_id=phone, bsuid=bsuid)
    key = f"{text_in(message, 'id')}:system"
    return [AliasChange(provider_id=key, current=current, previous=previous, at=milliseconds(message))]


def _content(message: Json) -> tuple[str, bytes]:
    kind = message.get("type")
    shape = _SHAPES.get(kind) if isinstance(kind, str) else None
    if isinstance(kind, str) and shape is not None:
        try:
            return kind, orjson.dumps(shape(message))
        except (KeyError, TypeError, AttributeError, ValueError):
            log.warning("webhook.malformed_message", type=kind)
    try:
        return "unknown", orjson.dumps(message)
    except TypeError:  # orjson reads deeper nesting than it writes; the inbox keeps the raw bytes
        return "unknown", b'{"error":"nested too deeply"}'


def _media(type_: str, message: Json) -> RemoteMedia | None:
    file = object_in(message, type_) if type_ in _FILES else {}
    if not file.get("id"):
        return None
    return RemoteMedia(
        reference=orjson.dumps({"id": str(file["id"])}),
        mime=text_in(file, "mime_type"),
        sha256=_hash(text_in(file, "sha256")),
        filename=text_in(file, "filename"),
    )


def _hash(given: str | None) -> str | None:
    """In hexadecimal, whether it came so or in base64; None for anything else."""
    if given is None or _HEX.fullmatch(given):
        return given.lower() if given else None
    try:
        plain = base64.b64decode(given, validate=True)
    except (binascii.Error, ValueError):
        return None
    return plain.hex() if len(plain) == 32 else None


def _text(message: Json) -> Json:
    referral = {"referral": message["referral"]} if "referral" in message else {}
    return {"text": message["text"]["body"], **referral}


def _file(kind: str) -> Callable[[Json], Json]:
    def shape(message: Json) -> Json:
        file = message[kind]
        return {key: file[key] for key in ("caption", "filename", "voice", "animated") if key in file}

    return shape


def _interactive(message: Json) -> Json:
    kind = message["interactive"]["type"]
    chosen = message["interactive"][kind]
    if kind == "nfm_reply":
        return {"type": kind, **chosen, "response": orjson.loads(chosen["response_json"])}
    return {"type": kind, "id": chosen["id"], "title": chosen["title"], **_only(chosen, "description")}


def _edit(message: Json) -> Json:
    type_, payload = _content(message["edit"]["message"])
    inner = orjson.loads(payload)
    whole = {"message_id": message["edit"]["original_message_id"], "type": type_, "payload": inner}
    return whole | _only(inner, "text")


def _only(holder: Json, *keys: str) -> Json:
    return {key: holder[key] for key in keys if key in holder}


_SHAPES: Mapping[str, Callable[[Json], Json]] = {
    "text": _text,
    **{kind: _file(kind) for kind in _FILES},
    "location": lambda m: {
        "latitude": m["location"]["latitude"],
        "longitude": m["location"]["longitude"],
        **_only(m["location"], "name", "address", "url"),
    },
    "contacts": lambda m: {"contacts": list(m["contacts"])},
    "reaction": lambda m: {"message_id": m["reaction"]["message_id"], "emoji": m["reaction"].get("emoji", "")},
    "interactive": _interactive,
    "button": lambda m: {"text": m["button"]["text"], "payload": m["button"].get("payload")},
    "order": lambda m: dict(m["order"]),
    "system": lambda m: dict(m["system"]),
    "edit": _edit,
    "revoke": lambda m: {"message_id": m["revoke"]["original_message_id"]},
}


def milliseconds(item: Json) -> int:
    """Meta writes seconds as a string. 0 when it is not one."""
    seconds = str(item.get("timestamp"))
    return int(seconds) * 1000 if seconds.isascii() and seconds.isdigit() and len(seconds) < 12 else 0


def text_in(parent: Json, key: str) -> str | None:
    """A value that is there and not empty, as text."""
    value = parent.get(key)
    return str(value) if isinstance(value, str | int) and value != "" else None


def object_in(parent: Json, key: str) -> Json:
    """A child that is an object; else an empty one."""
    child = parent.get(key)
    return child if isinstance(child, dict) else {}


def objects(parent: Json, key: str) -> list[Json]:
    """The objects of a child that is a list."""
    children = parent.get(key)
    return [child for child in children if isinstance(child, dict)] if isinstance(children, list) else []
