"""Our payloads → WhatsApp's messages, in the JSON form of its own definition. Pure.

A worker makes the real thing of it and adds what the upload of a file says.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from zapd.model.message import Message
from zapd.whatsapp.numbers import is_phone
from zapd.whatsapp.transport import (
    LOOKUP,
    MENTION,
    PAIR,
    READ,
    REPLY,
    TYPING,
    Enclosed,
    MediaFile,
    Permanent,
    Target,
)

Json = dict[str, Any]

PHONES = "s.whatsapp.net"
VOICE_MIME = "audio/ogg; codecs=opus"
DOCUMENT = "file"  #: what a document without a name is called


@dataclass(frozen=True, kw_only=True, slots=True)
class Me:
    """The account's own ids: `…@s.whatsapp.net` and `…@lid`; "" where one is not known."""

    jid: str = ""
    lid: str = ""

    def known_as(self, chat: str) -> str:
        """The id that others in this chat know it by."""
        return self.lid if chat.endswith("@lid") and self.lid else self.jid


@dataclass(frozen=True, kw_only=True, slots=True)
class Outgoing:
    """`content` for `to`; where there is a `file`, its upload completes the `part` of the content."""

    to: str
    content: Json
    part: str | None = None
    file: MediaFile | None = None


def outgoing(message: Message, enclosed: Enclosed, *, me: Me, now_ms: int) -> Outgoing:
    """The message for the line. Raises Permanent for a recipient or a kind that WhatsApp Web has no way for."""
    to, type_, payload = address(message.peer), message.type, orjson.loads(message.payload)
    target, media = enclosed.target, enclosed.media
    if type_ == "forward":
        assert target is not None
        type_, payload = target.type, orjson.loads(target.payload)
    if type_ in _ABOUT:
        assert target is not None
        return Outgoing(to=to, content=_ABOUT[type_](payload, target, me, now_ms))
    kind = _KINDS.get(type_)
    if kind is None:
        raise Permanent("unsupported", f"a message of type {type_}")
    part, content = kind(payload, media)
    context = _context(payload, message, target, me)
    if context and part == "conversation":
        part, content = "extendedTextMessage", {"text": content}
    if context:
        content["contextInfo"] = context
    file = media.get(payload.get("media_id", "")) if part in _FILES else None
    if part in _FILES and file is None:
        raise Permanent("media_missing", "the file is not here any more")
    return Outgoing(to=to, content={part: content}, part=part if file else None, file=file)


def address(peer: str) -> str:
    """A peer as a JID. Raises Permanent."""
    if is_phone(peer):
        return f"{peer}@{PHONES}"
    if peer.endswith(("@g.us", "@lid")):
        return peer
    raise Permanent("unsupported_recipient", "WhatsApp Web sends to phone numbers, groups and hidden ids")


def stanza(provider_id: str) -> str:
    """WhatsApp's own id of a message: inbound ones stand behind their chat and author."""
    return provider_id.rpartition("/")[2]


def author(target: Target, me: Me) -> str:
    """Who wrote a message, as a JID."""
    chat = address(target.peer)
    return me.known_as(chat) if target.from_me else address(target.sender) if target.sender else chat


# --- kinds: (part of WhatsApp's message, its content) ---


def _text(payload: Json, _media: Mapping[str, MediaFile]) -> tuple[str, Any]:
    return "conversation", payload["text"]


def _file(part: str, *fields: str) -> Callable[[Json, Mapping[str, MediaFile]], tuple[str, Any]]:
    def make(payload: Json, media: Mapping[str, MediaFile]) -> tuple[str, Any]:
        file = media.get(payload.get("media_id", ""))
        content = {field: payload[field] for field in fields if payload.get(field)}
        return part, content | ({"mimetype": file.mime} if file else {})

    return make


def _audio(payload: Json, media: Mapping[str, MediaFile]) -> tuple[str, Any]:
    part, content = _file("audioMessage")(payload, media)
    return part, content | ({"PTT": True, "mimetype": VOICE_MIME} if payload.get("voice") else {})


def _document(payload: Json, media: Mapping[str, MediaFile]) -> tuple[str, Any]:
    part, content = _file("documentMessage", "caption")(payload, media)
    file = media.get(payload.get("media_id", ""))
    name = payload.get("filename") or (file.filename if file else None) or DOCUMENT
    return part, content | {"fileName": name, "title": name}


def _location(payload: Json, _media: Mapping[str, MediaFile]) -> tuple[str, Any]:
    place = {"degreesLatitude": payload["latitude"], "degreesLongitude": payload["longitude"]}
    return "locationMessage", place | {field: payload[field] for field in ("name", "address") if payload.get(field)}


def _contacts(payload: Json, _media: Mapping[str, MediaFile]) -> tuple[str, Any]:
    cards = [{"displayName": c["name"]["formatted_name"], "vcard": vcard(c)} for c in payload["contacts"]]
    if len(cards) == 1:
        return "contactMessage", cards[0]
    return "contactsArrayMessage", {"displayName": f"{len(cards)} contacts", "contacts": cards}


def _poll(payload: Json, _media: Mapping[str, MediaFile]) -> tuple[str, Any]:
    options = [{"optionName": option} for option in payload["options"]]
    chosen = payload.get("selectable", 1)
    return "pollCreationMessage", {"name": payload["name"], "options": options, "selectableOptionsCount": chosen}


_KINDS: Mapping[str, Callable[[Json, Mapping[str, MediaFile]], tuple[str, Any]]] = {
    "text": _text,
    "image": _file("imageMessage", "caption"),
    "video": _file("videoMessage", "caption"),
    "audio": _audio,
    "document": _document,
    "sticker": _file("stickerMessage"),
    "location": _location,
    "contacts": _contacts,
    "poll": _poll,
}
_FILES = frozenset({"imageMessage", "videoMessage", "audioMessage", "documentMessage", "stickerMessage"})


# --- about an earlier message ---


def _key(target: Target, me: Me) -> Json:
    chat = address(target.peer)
    key: Json = {"remoteJID": chat, "fromMe": target.from_me, "ID": stanza(target.provider_id)}
    if chat.endswith("@g.us") and not target.from_me:
        key["participant"] = author(target, me)
    return key


def _reaction(payload: Json, target: Target, me: Me, now_ms: int) -> Json:
    reaction = {"key": _key(target, me), "text": payload["emoji"], "senderTimestampMS": str(now_ms)}
    return {"reactionMessage": reaction}


def _edit(payload: Json, target: Target, me: Me, now_ms: int) -> Json:
    changed = {
        "key": _key(target, me),
        "type": "MESSAGE_EDIT",
        "editedMessage": {"conversation": payload["text"]},
        "timestampMS": str(now_ms),
    }
    return {"editedMessage": {"message": {"protocolMessage": changed}}}


def _revoke(_payload: Json, target: Target, me: Me, _now_ms: int) -> Json:
    return {"protocolMessage": {"key": _key(target, me), "type": "REVOKE"}}


_ABOUT: Mapping[str, Callable[[Json, Target, Me, int], Json]] = {
    "reaction": _reaction,
    "edit": _edit,
    "revoke": _revoke,
}

#: Everything that this transport can do.
CAPABILITIES = frozenset({*_KINDS, *_ABOUT, "forward", REPLY, MENTION, READ, TYPING, PAIR, LOOKUP})


# --- what stands around the content ---


def _context(payload: Json, message: Message, target: Target | None, me: Me) -> Json:
    context: Json = {}
    if message.type == "forward":
        context = {"isForwarded": True, "forwardingScore": 1}
    elif target is not None:
        context = {
            "stanzaID": stanza(target.provider_id),
            "participant": author(target, me),
            "quotedMessage": quoted(target),
        }
    mentioned = [address(_bare(who)) for who in payload.get("mentions") or ()]
    return context | ({"mentionedJID": mentioned} if mentioned else {})


def quoted(target: Target) -> Json:
    """What the receiver sees of the quoted message if its own copy is gone: its words. A file is not sent again."""
    payload = orjson.loads(target.payload)
    words = payload.get("text") or payload.get("caption") or payload.get("name") or ""
    return {"conversation": words if isinstance(words, str) else ""}


def _bare(who: str) -> str:
    return who if "@" in who else "".join(filter(str.isdigit, who))


def vcard(contact: Json) -> str:
    """A contact card (vCard 3.0). `waid` lets the receiver write at once."""
    name = contact["name"]
    parts = (name.get(key) or "" for key in ("last_name", "first_name", "middle_name", "prefix", "suffix"))
    lines = ["BEGIN:VCARD", "VERSION:3.0", f"N:{';'.join(map(_escaped, parts))}"]
    lines.append(f"FN:{_escaped(name['formatted_name'])}")
    org = contact.get("org") or {}
    if org:
        lines.append(f"ORG:{_escaped(org.get('company') or '')};{_escaped(org.get('department') or '')}")
        lines += [f"TITLE:{_escaped(org['title'])}"] if org.get("title") else []
    for phone in contact.get("phones") or ():
        waid = phone.get("wa_id") or "".join(filter(str.isdigit, phone["phone"]))
        lines.append(f"TEL;type={phone.get('type') or 'CELL'};waid={waid}:{_escaped(phone['phone'])}")
    lines += [f"EMAIL;type={e.get('type') or 'HOME'}:{_escaped(e['email'])}" for e in contact.get("emails") or ()]
    lines += [f"URL:{_escaped(link['url'])}" for link in contact.get("urls") or ()]
    for place in contact.get("addresses") or ():
        fields = (place.get(key) or "" for key in ("street", "city", "state", "zip", "country"))
        lines.append(f"ADR;type={place.get('type') or 'HOME'}:;;{';'.join(map(_escaped, fields))}")
    lines += [f"BDAY:{contact['birthday']}"] if contact.get("birthday") else []
    return "\n".join([*lines, "END:VCARD"])


def _escaped(text: str) -> str:
    for character in "\\;,":
        text = text.replace(character, f"\\{character}")
    return text.replace("\r", "").replace("\n", "\\n")
