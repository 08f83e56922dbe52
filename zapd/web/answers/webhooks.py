"""Events, endpoints, deliveries."""

import orjson
from typing_extensions import TypedDict  # pydantic needs this one below Python 3.12

from zapd.announce import iso
from zapd.model.webhook import Attempt, Delivery, Endpoint, Event
from zapd.web.answers.page import Json, Time, at
from zapd.webhooks.endpoints import public_keys_of, signing_of


class EventAnswer(TypedDict):
    """Something that happened; `seq` is its place in the log."""

    id: str
    seq: int
    type: str
    category: str
    severity: str
    connection_id: str | None
    message_id: str | None
    created_at: Time
    data: Json


class EndpointAnswer(TypedDict):
    """A URL that gets events. Of its headers only the names are shown."""

    id: str
    url: str
    types: list[str]
    connection_id: str | None
    format: str
    headers: list[str]
    signing: list[str]
    public_keys: list[str]
    channels: list[str]
    filter: str | None
    transform: str | None
    order_by: str | None
    rate_per_minute: int | None
    concurrency: int | None
    batch_size: int | None
    batch_wait: float
    enabled: bool
    disabled_reason: str | None
    failures: int
    failing_since: Time | None
    created_at: Time


class DeliveryAnswer(TypedDict):
    """One event on its way to one endpoint; `seq` counts the endpoint's deliveries without gaps."""

    id: str
    seq: int | None
    endpoint_id: str
    event_id: str
    event_type: str
    connection_id: str | None
    message_id: str | None
    state: str
    batch_id: str | None
    attempts: int
    last_status: int | None
    last_error: str | None
    created_at: Time
    next_at: Time | None
    finished_at: Time | None


class AttemptAnswer(TypedDict):
    """One POST of a delivery. Durations in milliseconds; `owner` says whose fault a failure is."""

    number: int
    started_at: Time
    duration_ms: int
    phases: dict[str, float]
    status: int | None
    response: str
    failure: str | None
    owner: str | None
    error: str | None


def event(e: Event) -> EventAnswer:
    """One event; `data` is that of the stored envelope, or says that its body is gone."""
    body = orjson.loads(e.payload)
    return {
        "id": e.id,
        "seq": e.seq,
        "type": e.type,
        "category": e.category,
        "severity": e.severity,
        "connection_id": e.connection_id,
        "message_id": e.message_id,
        "created_at": iso(e.created_at),
        "data": body if e.erased else body["data"],
    }


def endpoint(e: Endpoint) -> EndpointAnswer:
    """One endpoint. Header values may be secrets: only their names are shown."""
    return {
        "id": e.id,
        "url": e.url,
        "types": list(e.types),
        "connection_id": e.connection_id,
        "format": e.format,
        "headers": [name for name, _ in e.headers],
        "signing": signing_of(e),
        "public_keys": public_keys_of(e),
        "channels": list(e.options.channels),
        "filter": e.options.filter,
        "transform": e.options.transform,
        "order_by": e.options.order_by,
        "rate_per_minute": e.options.rate_per_minute,
        "concurrency": e.options.concurrency,
        "batch_size": e.options.batch_size,
        "batch_wait": e.options.batch_wait,
        "enabled": e.enabled,
        "disabled_reason": e.disabled_reason,
        "failures": e.failures,
        "failing_since": at(e.failing_since),
        "created_at": iso(e.created_at),
    }


def delivery(d: Delivery) -> DeliveryAnswer:
    """One delivery."""
    return {
        "id": d.id,
        "seq": d.seq,
        "endpoint_id": d.endpoint_id,
        "event_id": d.event_id,
        "event_type": d.event_type,
        "connection_id": d.connection_id,
        "message_id": d.message_id,
        "state": d.state,
        "batch_id": d.batch_id,
        "attempts": d.attempts,
        "last_status": d.last_status,
        "last_error": d.last_error,
        "created_at": iso(d.created_at),
        "next_at": at(d.next_at),
        "finished_at": at(d.finished_at),
    }


def attempt(a: Attempt) -> AttemptAnswer:
    """One try. The receiver's answer is shown as text, whatever it was."""
    return {
        "number": a.number,
        "started_at": iso(a.started_at),
        "duration_ms": a.duration_ms,
        "phases": dict(a.phases),
        "status": a.status,
        "response": a.response.decode(errors="replace"),
        "failure": a.failure,
        "owner": a.owner,
        "error": a.error,
    }
