"""Event → Endpoint → Delivery → Attempt: what happened, who wants to know, the pair of both, one POST."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from zapd.model.transitions import sources_of
from zapd.records import record


class Category(StrEnum):
    """What kind of row of the event log it is."""

    STATE = "state"  #: a state change of zapd's own
    OWN = "own"  #: posted by the users' systems
    INBOUND = "inbound"  #: an inbound webhook
    ACCESS = "access"  #: who was turned away, who changed what
    SYSTEM = "system"


class Severity(StrEnum):
    """How much a person should care."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


#: What stands in place of a body that was emptied, or is read of one whose data key is gone.
ERASED = b'{"erased":true}'


@record
class Event:
    """Something that happened. `payload` holds the bytes that receivers get: they are never encoded again."""

    tenant: str
    id: str
    type: str
    category: Category
    severity: Severity
    connection_id: str | None
    message_id: str | None
    payload: bytes  #: the whole envelope `{"id","type","timestamp","connection_id","data"}`
    created_at: int
    seq: int = 0  #: its place in the log; given by the database

    @property
    def erased(self) -> bool:
        """Whether its body is gone: nothing can be made of it any more."""
        return self.payload == ERASED


class DeliveryState(StrEnum):
    """Where a delivery is."""

    PENDING = "pending"
    RETRYING = "retrying"
    DELIVERED = "delivered"
    DEAD = "dead"
    CANCELED = "canceled"


D = DeliveryState

TRANSITIONS: Mapping[DeliveryState, frozenset[DeliveryState]] = {
    D.PENDING: frozenset({D.DELIVERED, D.RETRYING, D.DEAD, D.CANCELED}),
    D.RETRYING: frozenset({D.RETRYING, D.DELIVERED, D.DEAD, D.CANCELED, D.PENDING}),
    D.DEAD: frozenset({D.PENDING}),
    D.DELIVERED: frozenset({D.PENDING}),
    D.CANCELED: frozenset({D.PENDING}),
}

#: From which states a delivery may move to each one.
SOURCES = sources_of(TRANSITIONS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Secret:
    """One signing secret: `whsec_…` signs as `v1`, `whsk_…` as `v1a`.

    During a rotation the old one goes on signing until `expires_at` (ms). `proven_at` (ms): a ping signed with this
    one alone was taken, and one signed with another key was not.
    """

    value: str
    expires_at: int | None = None
    proven_at: int | None = None


class BodyFormat(StrEnum):
    """Which JSON a receiver gets."""

    STANDARD = "standard"
    ZAPHUB = "zaphub"  #: `{"event","sessionId","payload","timestamp"}`, for receivers that exist already


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How an endpoint wants its events, beside their types. Expressions are JMESPath over the stored envelope."""

    channels: tuple[str, ...] = ()  #: only events in one of these channels: connection ids, or `data.channels`
    filter: str | None = None  #: only events for which it holds
    transform: str | None = None  #: its result is the body
    order_by: str | None = None  #: events with the same result go one after another, in order
    rate_per_minute: int | None = None
    concurrency: int | None = None  #: POSTs at once; None: the configured number
    batch_size: int | None = None  #: more than 1: so many events in one POST at most
    batch_wait: float = 5.0  #: seconds that the oldest waits for company

    @property
    def batched(self) -> bool:
        """Whether several events go in one POST."""
        return self.batch_size is not None and self.batch_size > 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """A subscriber's URL. Secrets and headers are sealed in the store."""

    tenant: str
    id: str
    url: str
    types: tuple[str, ...]  #: `*`, `message.*` or whole names
    connection_id: str | None  #: None: of every connection
    format: BodyFormat
    headers: tuple[tuple[str, str], ...]
    secrets: tuple[Secret, ...]  #: the newest first
    enabled: bool
    disabled_reason: str | None
    created_at: int
    options: Options = Options()
    failures: int = 0  #: attempts in a row that failed, up to the last look
    failing_since: int | None = None
    alerted: int = 0  #: how much of its failure budget was told already, in percent


@lru_cache(maxsize=2_000)  # each event asks it of each endpoint
def wants(types: tuple[str, ...], event_type: str) -> bool:
    """Whether the patterns (`*`, `message.*`, `message.sent`) take this event type."""
    return any(p in ("*", event_type) or (p.endswith(".*") and event_type.startswith(p[:-1])) for p in types)


class Owner(StrEnum):
    """Whose fault a failed attempt is."""

    OURS = "ours"
    THEIRS = "theirs"
    PROXY = "proxy"


@record
class Delivery:
    """One event on its way to one endpoint."""

    tenant: str
    id: str
    endpoint_id: str
    event_id: str
    event_type: str
    connection_id: str | None
    message_id: str | None
    state: DeliveryState
    attempts: int
    created_at: int
    next_at: int | None = None
    finished_at: int | None = None
    last_status: int | None = None
    last_error: str | None = None
    seq: int | None = None  #: its number among the endpoint's deliveries, without gaps; given by the database
    order_key: str | None = None  #: deliveries of one endpoint with the same key go one after another
    batch_id: str | None = None  #: the POST that it shares with others


@record
class Attempt:
    """One POST. Durations in milliseconds."""

    tenant: str
    delivery_id: str
    number: int
    started_at: int
    duration_ms: int
    phases: Mapping[str, float]  #: dns, connect, tls, first_byte, read: milliseconds, those that were reached
    status: int | None
    response: bytes  #: the first 16 KiB of the answer
    failure: (
        str | None
    )  #: client_error, server_error, redirect, timeout, connect, tls, dns, blocked, transform; None: it was taken
    owner: Owner | None
    error: str | None
