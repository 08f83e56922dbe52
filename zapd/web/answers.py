"""What clients get: each stored value as the JSON of the API. The TypedDicts are the schemas of `/openapi.json`.

Stored payloads go out as the bytes they were stored as, through `orjson.Fragment`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Generic, NotRequired, TypeVar

import orjson
from aiohttp import web
from pydantic import Field
from typing_extensions import TypedDict  # pydantic needs this one below Python 3.12

from zapd.actions.envelope import opened
from zapd.announce import iso
from zapd.jobs.inspect import JobView
from zapd.jobs.job import Job
from zapd.model.access import ApiKey
from zapd.model.dead_letter import DeadLetter
from zapd.model.message import Message
from zapd.model.webhook import Attempt, Delivery, Endpoint, Event
from zapd.webhooks.endpoints import public_keys_of, signing_of

T = TypeVar("T")
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Json = Annotated[Any, Field(description="JSON as it was accepted")]


class Page(TypedDict, Generic[T]):
    """One page of a list. `next` is the `after` of the following page, null on the last one."""

    data: list[T]
    next: str | None


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


class LogLine(TypedDict):
    """A line of a job's own log."""

    at: Time
    line: str


class JobAnswer(TypedDict):
    """`at`: when it is due, died or was completed. Of a completed job only this, its id and its attempts are kept.

    `error` is the last one, also of a job that is tried again. `progress` (0 to 100) and `logs` are what its handler
    tells, for an hour after its last word; `started_at` is known while it runs on the daemon that answers. These stand
    in the answer about one job only. `bytes` is the size of the payload.
    """

    id: str
    queue: str
    state: str
    at: Time | None
    attempt: int
    crashes: int
    kind: str | None
    lane: str | None
    priority: int | None
    created_at: Time | None
    run_at: Time | None
    batch_id: str | None
    payload: Json
    bytes: int
    reason: str | None
    error: str | None
    started_at: NotRequired[Time | None]
    progress: NotRequired[float | None]
    progress_at: NotRequired[Time | None]
    logs: NotRequired[list[LogLine]]


class KeyAnswer(TypedDict):
    """An API key, without its secret."""

    id: str
    label: str
    scopes: list[str]
    connection_id: str | None
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None
    last_used_at: Time | None
    rate_per_minute: int | None


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A JSON answer."""
    return web.Response(body=orjson.dumps(body), status=status, headers=headers, content_type="application/json")


def at(ms: int | None) -> Time | None:
    """A stored time, or null for one that was not reached."""
    return iso(ms) if ms else None


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


def event(e: Event) -> EventAnswer:
    """One event; `data` is that of the stored envelope."""
    return {
        "id": e.id,
        "seq": e.seq,
        "type": e.type,
        "category": e.category,
        "severity": e.severity,
        "connection_id": e.connection_id,
        "message_id": e.message_id,
        "created_at": iso(e.created_at),
        "data": orjson.loads(e.payload)["data"],
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


def key(k: ApiKey) -> KeyAnswer:
    """One key, without its hash."""
    return {
        "id": k.id,
        "label": k.label,
        "scopes": sorted(k.scopes),
        "connection_id": k.connection_id,
        "created_at": iso(k.created_at),
        "expires_at": at(k.expires_at),
        "revoked_at": at(k.revoked_at),
        "last_used_at": at(k.last_used_at),
        "rate_per_minute": k.rate_per_minute,
    }


def job(view: JobView) -> JobAnswer:
    """One job."""
    kept = view.job
    its = opened(kept.payload if kept else b"")
    return {
        "id": view.id,
        "queue": view.queue,
        "state": view.state,
        "at": at(view.at),
        "attempt": view.attempt,
        "crashes": kept.crashes if kept else 0,
        "kind": kept.kind if kept else None,
        "lane": kept.lane if kept else None,
        "priority": kept.priority if kept else None,
        "created_at": at(kept.created_at) if kept else None,
        "run_at": at(kept.due_at) if kept else None,
        "batch_id": its.batch or None,
        "payload": _payload(its.payload) if kept else None,
        "bytes": len(its.payload),
        "reason": view.reason or None,
        "error": view.error or None,
    }


def dead_job(letter: DeadLetter) -> JobAnswer:
    """One dead letter."""
    return job(view_of(letter))


def view_of(letter: DeadLetter) -> JobView:
    """A dead letter as the engine would show it."""
    return JobView(
        id=letter.id,
        queue=letter.queue,
        state="dead",
        at=letter.died_at,
        attempt=letter.attempts,
        job=Job(
            tenant=letter.tenant,
            id=letter.id,
            queue=letter.queue,
            kind=letter.kind,
            lane=letter.lane,
            priority=letter.priority,
            payload=letter.payload,
            created_at=letter.created_at,
            attempt=letter.attempts,
            crashes=letter.crashes,
        ),
        reason=letter.reason,
        error=letter.error,
    )


def _payload(stored: bytes) -> Any:
    """JSON as it is; what is none, as text: nothing in a queue may keep a page from being shown."""
    try:
        return orjson.loads(stored)
    except orjson.JSONDecodeError:
        return stored.decode(errors="replace")
