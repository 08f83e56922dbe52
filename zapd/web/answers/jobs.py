"""Jobs, also those that were given up."""

from typing import Any, NotRequired

import orjson
from typing_extensions import TypedDict  # pydantic needs this one below Python 3.12

from zapd.actions.envelope import opened
from zapd.jobs.inspect import JobView
from zapd.jobs.job import Job
from zapd.model.access import within_tenant
from zapd.model.dead_letter import DeadLetter
from zapd.web.answers.page import Json, Time, at


class LogLine(TypedDict):
    """A line of a job's own log."""

    at: Time
    line: str


class JobAnswer(TypedDict):
    """`at`: when it is due, died or was completed. Of a completed job only this, its attempts and `took_ms` are kept.

    `took_ms` is how long the last try took; the newest 100 completed jobs of a queue are known for an hour.
    `error` is the last one, also of a job that is tried again. `progress` (0 to 100) and `logs` are what its handler
    tells, for an hour after its last word; `started_at` is known while it runs on the daemon that answers. These stand
    in the answer about one job only. `bytes` is the size of the payload. `attempts` is how many tries a dead one had.
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
    took_ms: int | None
    attempts: NotRequired[int]
    started_at: NotRequired[Time | None]
    progress: NotRequired[float | None]
    progress_at: NotRequired[Time | None]
    logs: NotRequired[list[LogLine]]


def job(view: JobView) -> JobAnswer:
    """One job."""
    kept = view.job
    tenant = kept.tenant if kept else view.tenant
    its = opened(kept.payload if kept else b"")
    return {
        "id": within_tenant(tenant, view.id),
        "queue": view.queue,
        "state": view.state,
        "at": at(view.at),
        "attempt": view.attempt,
        "crashes": kept.crashes if kept else 0,
        "kind": kept.kind if kept else None,
        "lane": within_tenant(tenant, kept.lane) if kept else None,
        "priority": kept.priority if kept else None,
        "created_at": at(kept.created_at) if kept else None,
        "run_at": at(kept.due_at) if kept else None,
        "batch_id": its.batch or None,
        "payload": _payload(its.payload) if kept else None,
        "bytes": len(its.payload),
        "reason": view.reason or None,
        "error": view.error or None,
        "took_ms": view.took_ms,
    }


def dead_job(letter: DeadLetter) -> JobAnswer:
    """One dead letter."""
    return {**job(view_of(letter)), "attempts": letter.attempts}


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
