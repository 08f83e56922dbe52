"""The simulated network's own JSON: `{"network": "sandbox", "updates": [receipt | message, …]}`."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from zapd.model.message import MessageStatus
from zapd.store.ledger import LedgerEntry
from zapd.whatsapp.numbers import is_phone
from zapd.whatsapp.sandbox_contacts import Cast
from zapd.whatsapp.transport import NOBODY, Aliases, Inbound, Peek, Receipt, RemoteMedia, Update

Json = dict[str, Any]

_STEPS = (MessageStatus.SENT, MessageStatus.DELIVERED, MessageStatus.READ)  #: then the contact replies
_STRANGE = (LookupError, TypeError, AttributeError, OverflowError)  # what reading other JSON raises
_STATUSES = {status.value: status for status in MessageStatus}
SENT, RECEIPTS = 1, len(_STEPS)


def update(entry: LedgerEntry, step: int, at: int, cast: Cast) -> Json | None:
    """The `step`-th thing (from 1) that the network tells of a message: a receipt each, at last the reply.

    None: this contact does not read, or does not answer. Every id in it comes from the entry, so that what is told
    twice can be known again.
    """
    if step <= RECEIPTS:
        status = _STEPS[step - 1]
        if status is MessageStatus.READ and not cast.reads(entry.peer):
            return None
        return {"kind": "receipt", "id": entry.id, "status": status, "at": at, "message_id": entry.message_id}
    said = cast.answer(entry)
    if said is None:
        return None
    return contact_wrote(
        f"{entry.id}R", peer=entry.peer, type_=said.type, payload=said.payload, at=at, reply_to=entry.id
    )


def contact_wrote(
    provider_id: str, *, peer: str, type_: str, payload: object, at: int, reply_to: str | None = None
) -> Json:
    """A message from a contact."""
    return {
        "kind": "message",
        "id": provider_id,
        "from": peer,
        "type": type_,
        "payload": payload,
        "at": at,
        "name": "Sandbox contact",
        "reply_to": reply_to,
    }


def body(updates: Iterable[Json]) -> bytes:
    """The raw bytes that go up."""
    return orjson.dumps({"network": "sandbox", "updates": list(updates)})


def parse(raw: bytes) -> list[Update]:
    """The updates in a body. Raises ValueError when the bytes are not of this network."""
    try:
        return [_UPDATES[item["kind"]](item) for item in _updates(raw)]
    except _STRANGE as error:
        raise ValueError(f"not of the sandbox network: {error!r}") from error


def _updates(raw: bytes) -> list[Json]:
    told = orjson.loads(raw)
    if told["network"] != "sandbox":
        raise ValueError("not of the sandbox network")
    updates: list[Json] = told["updates"]
    return updates


def peek(raw: bytes) -> Peek:
    """What kinds of updates a body has. Raises ValueError as `parse`."""
    try:
        told = _updates(raw)
        receipts = sum([_UPDATES[item["kind"]] is _receipt for item in told])
        others = len(told) > receipts
        chats = {str(item["from"]) for item in told if "from" in item} if others else set[str]()
    except _STRANGE as error:
        raise ValueError(f"not of the sandbox network: {error!r}") from error
    return Peek(receipts=receipts > 0, others=others, chat=chats.pop() if len(chats) == 1 else None)


def _receipt(item: Mapping[str, Any]) -> Receipt:
    if (status := _STATUSES.get(item["status"])) is None:
        raise ValueError(f"not of the sandbox network: the status {item['status']}")
    return Receipt(provider_id=str(item["id"]), status=status, at=int(item["at"]), message_id=item.get("message_id"))


def _inbound(item: Mapping[str, Any]) -> Inbound:
    peer, payload = str(item["from"]), dict(item["payload"])
    media_id = payload.pop("media_id", None)  # a file that a contact sends was uploaded to zapd before
    return Inbound(
        provider_id=str(item["id"]),
        peer=peer,
        type=str(item["type"]),
        payload=orjson.dumps(payload),
        at=int(item["at"]),
        name=item.get("name"),
        aliases=Aliases(phone=peer, wa_id=peer) if is_phone(peer) else NOBODY,
        reply_to=item.get("reply_to"),
        about=payload.get("message_id") if item["type"] in ("reaction", "edit", "revoke") else None,
        media=RemoteMedia(reference=orjson.dumps({"media_id": media_id})) if media_id else None,
    )


_UPDATES: Mapping[str, Callable[[Mapping[str, Any]], Update]] = {"receipt": _receipt, "message": _inbound}
