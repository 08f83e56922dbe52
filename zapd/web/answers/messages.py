"""Messages."""

import orjson
from typing_extensions import TypedDict  # pydantic needs this one below Python 3.12

from zapd.announce import iso
from zapd.model.message import Message
from zapd.web.answers.page import Json, Time, at


class MessageAnswer(TypedDict):
    """A message. `peer` is whom it goes to or comes from."""

    id: str
    connection_id: str
    direction: str
    status: str
    peer: str
    type: str
    payload: Json
    priority: int
    job_id: str | None
    provider_id: str | None
    reply_to: str | None
    error_code: str | None
    error: str | None
    sender: str | None
    created_at: Time
    send_at: Time | None
    expires_at: Time | None
    sending_at: Time | None
    sent_at: Time | None
    delivered_at: Time | None
    read_at: Time | None
    played_at: Time | None
    failed_at: Time | None


def message(m: Message) -> MessageAnswer:
    """One message."""
    return {
        "id": m.id,
        "connection_id": m.connection_id,
        "direction": m.direction,
        "status": m.status,
        "peer": m.peer,
        "type": m.type,
        "payload": orjson.Fragment(m.payload),
        "priority": m.priority,
        "job_id": m.job_id,
        "provider_id": m.provider_id,
        "reply_to": m.reply_to,
        "error_code": m.error_code,
        "error": m.error,
        "sender": m.sender,
        "created_at": iso(m.created_at),
        "send_at": at(m.send_at),
        "expires_at": at(m.expires_at),
        "sending_at": at(m.sending_at),
        "sent_at": at(m.sent_at),
        "delivered_at": at(m.delivered_at),
        "read_at": at(m.read_at),
        "played_at": at(m.played_at),
        "failed_at": at(m.failed_at),
    }
