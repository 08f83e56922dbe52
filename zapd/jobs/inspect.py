"""Looking into the queues: numbers, one job, pages of jobs. Nothing here changes anything."""

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from zapd.errors import FieldError, InvalidInput
from zapd.ids import id_at, place_of, place_pattern
from zapd.jobs.blob import decode
from zapd.jobs.job import Job

#: What a cursor of each state looks like: a place in a stream, in a scan, or a rank; of `active` an id.
_RANK = re.compile(r"[0-9]{1,9}")
_CURSORS = {
    "waiting": re.compile(r"[br]:[0-9]{1,3}/[0-9]{1,19}-[0-9]{1,19}|s/[0-9]{1,20}"),
    "active": re.compile(place_pattern("job")),
    "staged": re.compile(r"[0-9]{1,15}"),
    "delayed": _RANK,
    "dead": _RANK,
    "completed": _RANK,
}
STATES = ("waiting", "active", "delayed", "staged", "dead", "completed")
_LANE_CURSOR = re.compile(r"[0-9]{1,4}:[0-9]{1,9}")
_PLACES = {ord("l"): "live", ord("d"): "dead", ord("m"): "missing", ord("a"): "astray"}


@dataclass(frozen=True, kw_only=True)
class QueueStats:
    """One queue. `staged` jobs wait for their lane; `completed` and `failed` count tries since Redis was empty."""

    waiting: int
    active: int
    delayed: int
    staged: int
    dead: int
    completed: int
    failed: int
    oldest_ready_ms: int  #: since when the oldest job waits that could run; 0: none
    paused: bool
    active_jobs: list[str]
    whole: bool  #: False when Redis lost its data, until `refill`
    enqueued: int = 0  #: jobs that came since Redis was empty
    died: int = 0  #: jobs that went to the dead letters since then
    quarantined: int = 0  #: entries and keys found since then that zapd did not write
    tenants_held: int = 0  #: tenants of whom something waits for their limit over all queues, once for each level


@dataclass(frozen=True, kw_only=True)
class JobView:
    """One job. `at` (ms) is when it is due, died or was completed; 0 in the other states.

    `tenant` is empty when its blob cannot be read. `took_ms` is of a completed one's last try.
    """

    id: str
    queue: str
    state: str
    at: int
    attempt: int
    job: Job | None = None  #: None when it is completed, or its blob cannot be read
    reason: str = ""
    error: str = ""
    tenant: str = ""
    took_ms: int | None = None


@dataclass(frozen=True, kw_only=True)
class JobPage:
    """Some jobs; `next` continues, None at the end. A page may be short though there is a next one."""

    jobs: list[JobView]
    next: str | None


@dataclass(frozen=True, kw_only=True)
class LaneView:
    """One lane. `next_at` (ms): from when its rate or park lets the next job start; 0: from now on.

    The limits are its own; None: the queue's hold.
    """

    name: str
    staged: int
    in_flight: int
    next_at: int
    paused: bool
    rate_per_minute: float | None
    burst: int | None
    cap: int | None


@dataclass(frozen=True, kw_only=True)
class LanePage:
    """Some lanes; `next` continues, None at the end. A page may be short though there is a next one."""

    lanes: list[LaneView]
    next: str | None


@dataclass(frozen=True, kw_only=True)
class Stranger:
    """An entry of a stream that zapd did not write: when (ms) it was found, where, and its fields one after another."""

    at: int
    stream: str
    entry: str
    fields: list[bytes]


class Inspector:
    """`call` runs a script: name, queue, arguments."""

    def __init__(self, *, call: Callable[..., Awaitable[Any]]) -> None:
        self._call = call

    async def stats(self, queue: str) -> QueueStats:
        answer = await self._call("stats", queue)
        waiting, active, delayed, staged, dead, completed, failed, oldest, paused, ids, whole, *sums = answer
        enqueued, died, quarantined, tenants_held = sums
        return QueueStats(
            waiting=waiting,
            active=active,
            delayed=delayed,
            staged=staged,
            dead=dead,
            completed=completed,
            failed=failed,
            oldest_ready_ms=oldest,
            paused=bool(paused),
            active_jobs=sorted(job_id.decode() for job_id in ids),
            whole=bool(whole),
            enqueued=enqueued,
            died=died,
            quarantined=quarantined,
            tenants_held=tenants_held,
        )

    async def locate(self, queue: str, ids: Sequence[str]) -> list[str]:
        letters: bytes = await self._call("locate", queue, 0, *ids)
        return [_PLACES[letter] for letter in letters]

    async def job(self, queue: str, job_id: str) -> JobView | None:
        (view,) = await self._look(queue, [job_id])
        return view

    async def page(self, queue: str, state: str, after: str | None, limit: int) -> JobPage:
        if state not in STATES:
            raise InvalidInput(FieldError("state", f"one of {', '.join(STATES)}"))
        if after and not _CURSORS[state].fullmatch(after):
            raise InvalidInput(FieldError("after", "the `next` of the page before"))
        place = id_at(after) if after and state == "active" else after or ""
        found, cursor = await self._call("list", queue, state, place, limit)
        if state == "completed":
            views = [_completed(queue, line.decode()) for line in found]
        else:
            views = [view for view in await self._look(queue, [job_id.decode() for job_id in found]) if view]
        following = cursor.decode()
        if following and state == "active":
            following = place_of(following, "job")
        return JobPage(jobs=views, next=following or None)

    async def lanes(self, queue: str, after: str | None, limit: int) -> LanePage:
        if after and not _LANE_CURSOR.fullmatch(after):
            raise InvalidInput(FieldError("after", "the `next` of the page before"))
        found, cursor = await self._call("lanes", queue, after or "", limit)
        return LanePage(lanes=[_lane(*row) for row in found], next=cursor.decode() or None)

    async def quarantine(self, queue: str, limit: int) -> list[Stranger]:
        return [_stranger(record) for record in await self._call("quarantine", queue, 0, limit - 1)]

    async def _look(self, queue: str, ids: Sequence[str]) -> list[JobView | None]:
        answers = await self._call("look", queue, *ids) if ids else []
        return [
            _view(queue, job_id, state.decode(), blob, int(float(at)))
            for job_id, (state, blob, at) in zip(ids, answers, strict=True)
        ]


def _view(queue: str, job_id: str, state: str, blob: bytes, at: int) -> JobView | None:
    if state == "missing":
        return None
    if state == "completed":
        return _completed(queue, blob.decode())
    reason = error = b""
    if state == "dead":
        reason, error, blob = blob.split(b"\n", 2)
    try:
        job = decode(queue, job_id, blob)
    except ValueError:
        job = None
    return JobView(
        id=job_id,
        queue=queue,
        state=state,
        at=at,
        attempt=job.attempt if job else 0,
        job=job,
        reason=reason.decode(),
        error=error.decode(errors="replace"),
        tenant=job.tenant if job else "",
    )


def _lane(name: bytes, staged: int, flying: int, next_at: int, paused: int, *limits: bytes) -> LaneView:
    rate, burst, cap = (float(limit) if limit else None for limit in limits)
    return LaneView(
        name=name.decode(errors="replace"),
        staged=staged,
        in_flight=flying,
        next_at=next_at,
        paused=bool(paused),
        rate_per_minute=rate,
        burst=None if burst is None else int(burst),
        cap=None if cap is None else int(cap),
    )


def _stranger(record: bytes) -> Stranger:
    at, stream, entry, rest = record.split(b"|", 3)
    fields = []
    while rest:
        length, _, rest = rest.partition(b":")
        fields.append(rest[: int(length)])
        rest = rest[int(length) :]
    return Stranger(at=int(at), stream=stream.decode(), entry=entry.decode(), fields=fields)


def _completed(queue: str, line: str) -> JobView:
    at, attempt, took, tenant, job_id = line.split("|", 4)
    return JobView(
        id=job_id,
        queue=queue,
        state="completed",
        at=int(at),
        attempt=int(attempt),
        tenant=tenant,
        took_ms=int(took),
    )
