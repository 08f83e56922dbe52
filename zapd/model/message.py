"""A WhatsApp message: its states, their legal transitions, and the ranks that make receipts move forward only."""

from collections.abc import Mapping
from enum import StrEnum
from functools import cache

from zapd.model.transitions import sources_of
from zapd.records import record


class Direction(StrEnum):
    """Who wrote the message, seen from the connection."""

    INBOUND = "inbound"
    OUTBOUND = "outbound"


class MessageStatus(StrEnum):
    """Where a message is in its life."""

    QUEUED = "queued"  #: accepted and committed; its job waits
    PROCESSING = "processing"  #: claimed by a worker; nothing has left
    SENDING = "sending"  #: written before the transport is called: from here on the outcome may be unknown
    SENT = "sent"  #: the provider took it
    DELIVERED = "delivered"
    READ = "read"
    PLAYED = "played"
    FAILED = "failed"  #: a try failed and another will follow
    DLQ = "dlq"  #: given up; a person may retry it
    HELD = "held"  #: nobody knows whether it left; a late receipt or a person decides
    EXPIRED = "expired"
    CANCELED = "canceled"
    RECEIVED = "received"  #: inbound


S = MessageStatus

#: What a sender may do. Receipts follow `RANK` instead, see `receipt_from`.
TRANSITIONS: Mapping[MessageStatus, frozenset[MessageStatus]] = {
    S.QUEUED: frozenset({S.PROCESSING, S.EXPIRED, S.CANCELED, S.DLQ}),
    S.PROCESSING: frozenset({S.SENDING, S.QUEUED, S.FAILED, S.DLQ, S.EXPIRED, S.CANCELED}),
    S.SENDING: frozenset({S.SENDING, S.SENT, S.QUEUED, S.FAILED, S.HELD, S.DLQ}),
    S.FAILED: frozenset({S.PROCESSING, S.QUEUED, S.DLQ, S.EXPIRED, S.CANCELED}),
    S.HELD: frozenset({S.QUEUED, S.SENT, S.DLQ, S.CANCELED}),
    S.DLQ: frozenset({S.QUEUED}),
    S.EXPIRED: frozenset({S.QUEUED}),
    S.SENT: frozenset(),
    S.DELIVERED: frozenset(),
    S.READ: frozenset(),
    S.PLAYED: frozenset(),
    S.CANCELED: frozenset(),
    S.RECEIVED: frozenset(),
}

#: From which states a sender may move to each one.
SOURCES = sources_of(TRANSITIONS)

#: Receipt ranks (wire facts §3.3): a receipt is applied only when it raises the rank.
RANK: Mapping[MessageStatus, int] = {
    **dict.fromkeys(MessageStatus, 0),
    S.SENT: 1,
    S.DELIVERED: 2,
    S.READ: 3,
    S.PLAYED: 4,
}

#: States that a person may retry from.
RETRYABLE = frozenset({S.FAILED, S.DLQ, S.HELD, S.EXPIRED})

#: States in which nothing waits for it any more. One that is held waits for a person or a late receipt.
ENDED = frozenset(MessageStatus) - {S.QUEUED, S.PROCESSING, S.SENDING, S.FAILED, S.HELD}

#: States in which a job for the message must exist: the reconciler puts it back when Redis lost it.
UNFINISHED = frozenset({S.QUEUED, S.PROCESSING, S.SENDING, S.FAILED})


#: Each state as the only one to move from, for a compare-and-set. Made once: hashing them is a cost per message.
ONLY: Mapping[MessageStatus, frozenset[MessageStatus]] = {state: frozenset({state}) for state in MessageStatus}


@cache
def receipt_from(status: MessageStatus) -> frozenset[MessageStatus]:
    """The states that a receipt with `status` may move a message from.

    A `failed` receipt counts only while the rank is below delivered; a later delivered or read overrides `dlq`
    (phones with several devices report both). Source: wire facts §3.3.
    """
    if status is S.FAILED:
        return frozenset({S.SENDING, S.SENT, S.HELD})
    unknown_yet = {S.QUEUED, S.PROCESSING, S.SENDING, S.HELD, S.FAILED, S.EXPIRED}
    overridden = {S.DLQ} if RANK[status] >= RANK[S.DELIVERED] else set()
    return frozenset({s for s in MessageStatus if 0 < RANK[s] < RANK[status]} | unknown_yet | overridden)


@record
class Message:
    """One WhatsApp message, in or out. Times in milliseconds since 1970 UTC, 0 or None when not reached."""

    tenant: str
    id: str
    connection_id: str
    direction: Direction
    status: MessageStatus
    peer: str  #: whom it goes to or comes from: digits of an E.164 number, or a JID
    type: str
    payload: bytes  #: JSON, as it was accepted
    priority: int
    created_at: int
    job_id: str | None = None
    provider_id: str | None = None
    reply_to: str | None = None
    send_at: int | None = None
    expires_at: int | None = None
    sending_at: int | None = None
    sent_at: int | None = None
    delivered_at: int | None = None
    read_at: int | None = None
    played_at: int | None = None
    failed_at: int | None = None
    error_code: str | None = None
    error: str | None = None
    sender: str | None = None  #: in a group: who wrote it
