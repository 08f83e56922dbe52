"""What a worker hands up → updates. Pure, so that the stored bytes can be read again.

The bytes are `{"network": "web", "me": {"jid", "lid"}, "updates": [receipt | sent | message | undecryptable, …]}`; a
message's content is the JSON form of WhatsApp's own definition.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from zapd.model.message import MessageStatus
from zapd.whatsapp.referral import referral
from zapd.whatsapp.transport import NOBODY, Aliases, Inbound, Notice, Receipt, RemoteMedia, Update
from zapd.whatsapp.web.outgoing import PHONES, Me

Json = dict[str, Any]

NETWORK = "web"

#: The library's numbers of receipts. Those of our other devices, and of retries, say nothing of the message.
_STATUSES: Mapping[int, MessageStatus] = {
    1: MessageStatus.DELIVERED,
    4: MessageStatus.READ,
    6: MessageStatus.PLAYED,
}


def body(updates: Sequence[Json], *, me: Me) -> bytes:
    """The raw bytes that go up."""
    return orjson.dumps({"network": NETWORK, "me": {"jid": me.jid, "lid": me.lid}, "updates": updates})


def parse(raw: bytes) -> list[Update]:
    """The updates in a body. Raises ValueError when the bytes are not of a worker."""
    try:
        told = orjson.loads(raw)
        if told["network"] != NETWORK:
            raise ValueError("not of WhatsApp Web")
        me = Me(jid=told["me"]["jid"], lid=told["me"]["lid"])
        return [update for item in told["updates"] for update in _UPDATES[item["kind"]](item, me)]
    except (LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"not of WhatsApp Web: {error!r}") from error


def peer_of(*ids: str) -> str:
    """How zapd calls somebody: by the number where one of the ids has it, else by the first id."""
    phone = next((id_ for id_ in ids if id_.endswith(f"@{PHONES}")), None)
    return phone.partition("@")[0] if phone else next(filter(None, ids), "unknown")


def aliases_of(*ids: str) -> Aliases:
    """What is known of somebody."""
    jid = next((id_ for id_ in ids if id_.endswith(f"@{PHONES}")), None)
    lid = next((id_ for id_ in ids if id_.endswith("@lid")), None)
    phone = jid.partition("@")[0] if jid else None
    return Aliases(phone=phone, wa_id=phone, jid=jid, lid=lid)


def _receipts(item: Json, _me: Me) -> list[Update]:
    status = _STATUSES.get(item["type"])
    if status is None or item["from_me"]:
        return []
    participant = peer_of(item["sender"]) if item["group"] else None
    ours: Mapping[str, str] = item.get("message_ids") or {}
    return [
        Receipt(provider_id=id_, status=status, at=item["at"], message_id=ours.get(id_), participant=participant)
        for id_ in item["ids"]
    ]


def _sent(item: Json, _me: Me) -> list[Update]:
    """An answer that came too late for whoever waited for it."""
    return [
        Receipt(provider_id=item["id"], status=MessageStatus.SENT, at=item["at"], message_id=item["message_id"]),
    ]


def _undecryptable(item: Json, _me: Me) -> list[Update]:
    data = {"id": item["id"], "from": peer_of(item["sender"], item["sender_alt"])}
    told = Notice(
        provider_id=f"undecryptable/{item['id']}",
        kind="undecryptable",
        data=orjson.dumps(data),
        at=item["at"],
        warning=True,
    )
    return [told]


def _message(item: Json, me: Me) -> list[Update]:
    content: Json = item["content"]
    if not content or _is_housekeeping(content):
        return []
    part, said = next(iter(content.items()))
    context: Json = said.get("contextInfo") or {} if isinstance(said, dict) else {}
    type_, payload, key = _read(part, said, content)
    about = _named(key.get("ID"), _author_of(key, item, me), item, me) if key else None
    more = {} if type_ == "unknown" else referral(context.get("externalAdReply"))
    if about is not None:
        more["message_id"] = about
    author = (item["sender"], item["sender_alt"])
    chat = _chat(item)
    return [
        Inbound(
            provider_id=item["id"] if item["from_me"] else _id(item["id"], chat, item["group"], *author),
            peer=chat,
            type=type_,
            payload=orjson.dumps(payload | more),
            at=item["at"],
            name=item["name"] or None,
            sender=peer_of(*author) if item["group"] else None,
            aliases=NOBODY if item["from_me"] else aliases_of(*author),
            from_me=item["from_me"],
            forwarded=bool(context.get("isForwarded")),
            reply_to=_named(context.get("stanzaID"), context.get("participant"), item, me),
            about=about,
            media=_media(part, said),
        )
    ]


_UPDATES: Mapping[str, Callable[[Json, Me], list[Update]]] = {
    "receipt": _receipts,
    "sent": _sent,
    "message": _message,
    "undecryptable": _undecryptable,
}


# --- who and which ---

_DEVICE = re.compile(r"[.:][\d.:]+@")  # `user:7@server` is a device of `user@server`


def _chat(item: Json) -> str:
    """The conversation: the group, or the other side."""
    if item["group"]:
        return str(item["chat"])
    if item["from_me"]:
        return peer_of(item["chat"], item["recipient_alt"])
    return peer_of(item["chat"], item["sender_alt"])


def _id(stanza: str, chat: str, group: bool, *author: str) -> str:
    """Senders choose the ids of their messages, so an id alone could be made to hit another's message."""
    return f"{chat}/{peer_of(*author)}/{stanza}" if group else f"{chat}/{stanza}"


def _named(stanza: str | None, author: str | None, item: Json, me: Me) -> str | None:
    """The provider id of another message of this chat. Our own are known by WhatsApp's id alone."""
    if not stanza:
        return None
    bare = _DEVICE.sub("@", author or "")
    if bare in (me.jid, me.lid):
        return stanza
    known = (item["sender"], item["sender_alt"])
    return _id(stanza, _chat(item), item["group"], *(known if bare in known else (bare,)))


def _author_of(key: Json, item: Json, me: Me) -> str:
    """Who wrote the message that a key names: `fromMe` is seen from whoever wrote the key."""
    if key.get("participant"):
        return str(key["participant"])
    return str(item["sender"] if key.get("fromMe") else me.jid) if not item["from_me"] else me.jid


# --- kinds ---


def _is_housekeeping(content: Json) -> bool:
    protocol = content.get("protocolMessage")
    return len(content) == 1 and protocol is not None and protocol.get("type", "REVOKE") not in _CHANGES


def _read(part: str, said: Any, content: Json) -> tuple[str, Json, Json | None]:
    """Type, payload, and the key of the message that it is about."""
    kind = _PARTS.get(part)
    if kind is not None:
        try:
            return kind(said)
        except (LookupError, TypeError, AttributeError, ValueError):
            pass  # the definition has changed: keep it as it came
    return "unknown", content, None


def _text(said: Any) -> tuple[str, Json, None]:
    return "text", {"text": said if isinstance(said, str) else said["text"]}, None


def _file(type_: str, *fields: str) -> Callable[[Json], tuple[str, Json, None]]:
    return lambda said: (type_, {field: said[field] for field in fields if said.get(field)}, None)


def _audio(said: Json) -> tuple[str, Json, None]:
    return "audio", {"voice": bool(said.get("PTT"))}, None


def _document(said: Json) -> tuple[str, Json, None]:
    name = said.get("fileName") or said.get("title")
    caption = {"caption": said["caption"]} if said.get("caption") else {}
    return "document", ({"filename": name} if name else {}) | caption, None


def _location(said: Json) -> tuple[str, Json, None]:
    place = {"latitude": said.get("degreesLatitude", 0.0), "longitude": said.get("degreesLongitude", 0.0)}
    return "location", place | {field: said[field] for field in ("name", "address") if said.get(field)}, None


def _contacts(said: Json) -> tuple[str, Json, None]:
    return "contacts", {"contacts": [_contact(card) for card in said.get("contacts") or [said]]}, None


_TELEPHONE = re.compile(r"^(?:item\d+\.)?TEL(?P<options>[^:\r\n]*):(?P<number>[^\r\n]+)", re.MULTILINE | re.IGNORECASE)
_WAID = re.compile(r"waid=(\d{5,20})", re.IGNORECASE)


def _contact(card: Json) -> Json:
    phones = []
    for found in _TELEPHONE.finditer(card.get("vcard") or ""):
        waid = _WAID.search(found["options"])
        phones.append({"phone": found["number"].strip()} | ({"wa_id": waid[1]} if waid else {}))
    return {"name": {"formatted_name": card.get("displayName") or ""}, "phones": phones}


def _reaction(said: Json) -> tuple[str, Json, Json]:
    return "reaction", {"emoji": said.get("text", "")}, said["key"]


def _poll(said: Json) -> tuple[str, Json, None]:
    options = [option["optionName"] for option in said["options"]]
    chosen = said.get("selectableOptionsCount") or len(options)
    return "poll", {"name": said["name"], "options": options, "selectable": chosen}, None


def _change(said: Json) -> tuple[str, Json, Json]:
    if said.get("type", "REVOKE") == "REVOKE":
        return "revoke", {}, said["key"]
    edited = said["editedMessage"]
    part, content = next(iter(edited.items()))
    text = content if isinstance(content, str) else content.get("text") or content.get("caption")
    return "edit", {"text": text or "", **({} if text else {"part": part})}, said["key"]


def _template_button(said: Json) -> tuple[str, Json, None]:
    return "button", {"text": said.get("selectedDisplayText", ""), "payload": said.get("selectedID")}, None


def _button(said: Json) -> tuple[str, Json, None]:
    title = said.get("selectedDisplayText", "")
    return "interactive", {"type": "button_reply", "id": said["selectedButtonID"], "title": title}, None


def _list_line(said: Json) -> tuple[str, Json, None]:
    chosen = said["singleSelectReply"]["selectedRowID"]
    return "interactive", {"type": "list_reply", "id": chosen, "title": said.get("title", "")}, None


_CHANGES = frozenset({"REVOKE", "MESSAGE_EDIT"})
_PARTS: Mapping[str, Callable[[Any], tuple[str, Json, Json | None]]] = {
    "conversation": _text,
    "extendedTextMessage": _text,
    "imageMessage": _file("image", "caption"),
    "videoMessage": _file("video", "caption"),
    "ptvMessage": _file("video", "caption"),
    "audioMessage": _audio,
    "documentMessage": _document,
    "stickerMessage": _file("sticker"),
    "locationMessage": _location,
    "liveLocationMessage": _location,
    "contactMessage": _contacts,
    "contactsArrayMessage": _contacts,
    "reactionMessage": _reaction,
    **dict.fromkeys([f"pollCreationMessage{v}" for v in ("", "V2", "V3", "V5", "V6")], _poll),
    "protocolMessage": _change,
    "buttonsResponseMessage": _button,
    "templateButtonReplyMessage": _template_button,
    "listResponseMessage": _list_line,
}


def _media(part: str, said: Any) -> RemoteMedia | None:
    """The file of a message, with what it takes to fetch and open it."""
    if not isinstance(said, dict) or not said.get("mediaKey") or not said.get("directPath"):
        return None
    what = ("URL", "directPath", "mediaKey", "fileEncSHA256", "fileSHA256", "fileLength", "mimetype")
    size = str(said.get("fileLength", ""))
    return RemoteMedia(
        reference=orjson.dumps({part: {key: said[key] for key in what if key in said}}),
        mime=said.get("mimetype"),
        size=int(size) if size.isdigit() else None,
        sha256=_hexadecimal(said.get("fileSHA256")),
        filename=said.get("fileName"),
    )


def _hexadecimal(encoded: Any) -> str | None:
    try:
        return base64.b64decode(encoded, validate=True).hex() if encoded else None
    except (binascii.Error, TypeError):
        return None
