"""A message → Z-API's operation and body. Source: wire facts §2.2."""

import mimetypes
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from zapd.model.message import Message
from zapd.whatsapp.transport import Enclosed, Permanent, Target

Json = dict[str, Any]


@dataclass(frozen=True)
class Operation:
    """One call. `made_id`: what to call the message by when the answer names none."""

    name: str
    body: Json | None = None
    method: str = "POST"
    query: Mapping[str, str] = field(default_factory=dict)
    made_id: str | None = None


def operation(message: Message, enclosed: Enclosed) -> Operation:
    """How to send a message. Raises Permanent when Z-API cannot reach the recipient or lacks something."""
    payload: Json = orjson.loads(message.payload)
    kind = message.type if message.type != "interactive" else f"interactive.{payload['type']}"
    made = _SHAPES[kind](_Sending(message, payload, enclosed))
    if made.body is None:
        return made
    quoted = {"messageId": _target(enclosed).provider_id} if message.reply_to else {}
    return Operation(made.name, {"phone": phone_of(message.peer), **made.body, **quoted}, made_id=made.made_id)


def phone_of(peer: str) -> str:
    """A recipient as Z-API spells it. Raises Permanent."""
    user, _, server = peer.partition("@")
    if server == "g.us":
        return f"{user}-group" if "-" not in user else user
    if server in ("lid", "newsletter") or peer.isdigit():
        return peer
    raise Permanent("unsupported_recipient", "Z-API sends to phone numbers, groups, lids and channels")


@dataclass(frozen=True)
class _Sending:
    message: Message
    payload: Json
    enclosed: Enclosed

    def file(self) -> Any:
        """The file of the payload."""
        media = self.enclosed.media.get(self.payload.get("media_id", ""))
        if media is None:
            raise Permanent("media_gone", "the file is not kept any more")
        return media


def _target(enclosed: Enclosed) -> Target:
    if enclosed.target is None:
        raise Permanent("target_gone", "the message that this one is about is not known any more")
    return enclosed.target


def _some(**fields: Any) -> Json:
    return {name: value for name, value in fields.items() if value is not None}


def _document(sending: _Sending) -> Operation:
    payload, file = sending.payload, sending.file()
    name = payload.get("filename") or file.filename
    extension = (name or "").rpartition(".")[2] if "." in (name or "") else ""
    if not re.fullmatch(r"[A-Za-z0-9]{1,10}", extension):
        extension = (mimetypes.guess_extension(file.mime) or ".bin").removeprefix(".")
    body = _some(document=file, fileName=name, caption=payload.get("caption"))
    return Operation(f"send-document/{extension.lower()}", body)


def _location(sending: _Sending) -> Operation:
    p = sending.payload
    degrees = {"latitude": str(p["latitude"]), "longitude": str(p["longitude"])}
    return Operation("send-location", {"title": p.get("name") or "", "address": p.get("address") or "", **degrees})


def _contacts(sending: _Sending) -> Operation:
    cards = [
        {"name": card["name"]["formatted_name"], "phones": [_digits(phone) for phone in card.get("phones", [])]}
        for card in sending.payload["contacts"]
    ]
    if len(cards) > 1 or len(cards[0]["phones"]) != 1:
        return Operation("send-contacts", {"contacts": cards})
    return Operation("send-contact", {"contactName": cards[0]["name"], "contactPhone": cards[0]["phones"][0]})


def _digits(phone: Json) -> str:
    return phone.get("wa_id") or re.sub(r"[^0-9]", "", phone["phone"])


def _reaction(sending: _Sending) -> Operation:
    about, emoji = _target(sending.enclosed).provider_id, sending.payload["emoji"]
    if not emoji:
        return Operation("send-remove-reaction", {"messageId": about})
    return Operation("send-reaction", {"reaction": emoji, "messageId": about})


def _edit(sending: _Sending) -> Operation:
    about = _target(sending.enclosed).provider_id
    return Operation("send-text", {"message": sending.payload["text"], "editMessageId": about})


def _revoke(sending: _Sending) -> Operation:
    about = _target(sending.enclosed)
    query = {"messageId": about.provider_id, "phone": phone_of(about.peer), "owner": "true"}
    made_id = f"{about.provider_id}:revoke:{sending.message.id}"
    return Operation("messages", None, method="DELETE", query=query, made_id=made_id)


def _forward(sending: _Sending) -> Operation:
    about = _target(sending.enclosed)
    return Operation("forward-message", {"messageId": about.provider_id, "messagePhone": phone_of(about.peer)})


def _poll(sending: _Sending) -> Operation:
    p = sending.payload
    options = [{"name": option} for option in p["options"]]
    return Operation("send-poll", {"message": p["name"], "poll": options, "pollMaxOptions": p.get("selectable", 1)})


def _said(payload: Json) -> str:
    """Header, body and footer in one text: Z-API's buttons have no place for the others."""
    header = payload.get("header") or {}
    if header and header["type"] != "text":
        raise Permanent("unsupported_header", f"Z-API sends no buttons under a {header['type']}")
    parts = [header.get("text"), payload["body"]["text"], (payload.get("footer") or {}).get("text")]
    return "\n\n".join(part for part in parts if part)


def _buttons(sending: _Sending) -> Operation:
    replies = [button["reply"] for button in sending.payload["action"]["buttons"]]
    buttons = [{"id": reply["id"], "label": reply["title"]} for reply in replies]
    return Operation("send-button-list", {"message": _said(sending.payload), "buttonList": {"buttons": buttons}})


def _list(sending: _Sending) -> Operation:
    p = sending.payload
    rows = [row for section in p["action"]["sections"] for row in section["rows"]]
    options = [{"id": row["id"], "title": row["title"], "description": row.get("description") or ""} for row in rows]
    title = (p.get("header") or {}).get("text") or p["action"]["sections"][0].get("title") or p["action"]["button"]
    listed = {"title": title, "buttonLabel": p["action"]["button"], "options": options}
    message = _said({key: value for key, value in p.items() if key != "header"})
    return Operation("send-option-list", {"message": message, "optionList": listed})


def _link(sending: _Sending) -> Operation:
    p = sending.payload
    to = p["action"]["parameters"]
    action = {"id": "1", "type": "URL", "label": to["display_text"], "url": to["url"]}
    return Operation("send-button-actions", {"message": _said(p), "buttonActions": [action]})


_SHAPES: Mapping[str, Callable[[_Sending], Operation]] = {
    "text": lambda s: Operation("send-text", {"message": s.payload["text"]}),
    "image": lambda s: Operation("send-image", _some(image=s.file(), caption=s.payload.get("caption"))),
    "video": lambda s: Operation("send-video", _some(video=s.file(), caption=s.payload.get("caption"))),
    "audio": lambda s: Operation("send-audio", {"audio": s.file()}),
    "document": _document,
    "sticker": lambda s: Operation("send-sticker", {"sticker": s.file()}),
    "location": _location,
    "contacts": _contacts,
    "reaction": _reaction,
    "poll": _poll,
    "forward": _forward,
    "edit": _edit,
    "revoke": _revoke,
    "interactive.button": _buttons,
    "interactive.list": _list,
    "interactive.cta_url": _link,
}

#: What can be sent, as among the capabilities.
KINDS = frozenset({*_SHAPES, "interactive"})
