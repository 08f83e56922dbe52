"""Queues: numbers, jobs by state, limits."""

import base64
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from typing_extensions import TypedDict

from zapd.announce import iso
from zapd.dead_letters import cursor_of, place_of
from zapd.errors import FieldError, InvalidInput, NotFound
from zapd.jobs.broker import Pauses
from zapd.jobs.inspect import Stranger
from zapd.jobs.settings import QueueSettings
from zapd.model.dead_letter import DeadFilter
from zapd.web import answers, bodies
from zapd.web import dependencies as need
from zapd.web.answers import Json, Time, answer, at
from zapd.web.auth import key_of
from zapd.web.dependencies import JobState
from zapd.web.pages import PageQuery, page, parsed_query


class JobsQuery(PageQuery):
    """Which jobs of the queue."""

    state: JobState = JobState.WAITING


class QueueLimits(TypedDict):
    """The limits that hold now. Durations in seconds, rates per minute; null: no limit.

    `changed`: those that were changed while zapd runs, as they were given; they win over the file.
    """

    concurrency: int
    max_concurrency: int
    clear_within: float
    attempts: int
    backoff: float
    backoff_factor: float
    timeout: float
    rate: float | None
    burst: int
    max_in_flight: int | None
    lane_cap: int
    lane_rate: float | None
    lane_burst: int
    changed: dict[str, Json]


class QueueAnswer(TypedDict):
    """A queue: its settings and its numbers. `staged` jobs wait for their turn in their lane; of `tenants_held` tenants
    something waits for a limit over all queues.

    Rates are jobs a second over the last minute, over all daemons; `failure_rate` is the share of tries that failed.
    `utilisation` is the share of this daemon's slots that worked; `time_to_clear`, in seconds, is null when nothing
    leaves.
    """

    name: str
    paused: bool
    paused_kinds: list[str]
    priority: int
    concurrency: int
    max_concurrency: int
    attempts: int
    waiting: int
    active: int
    delayed: int
    staged: int
    completed: int
    failed: int
    dead: int
    quarantined: int
    tenants_held: int
    oldest_waiting_since: Time | None
    oldest_waiting_seconds: float | None
    rate_in: float
    rate_out: float
    failure_rate: float
    utilisation: float
    time_to_clear: float | None
    limits: QueueLimits


class TenantLimitsAnswer(TypedDict):
    """A tenant's own limits over all queues. The rate is per minute; null: no limit."""

    rate: float | None
    burst: int
    max_in_flight: int | None


class AllLimits(TypedDict):
    """The limits over all queues: `max_in_flight` of each daemon, the others over all daemons. Rates are per minute.

    `changed`: those that were changed while zapd runs, as they were given; they win over the file.
    """

    max_in_flight: int
    rate: float | None
    burst: int
    tenant_rate: float | None
    tenant_burst: int
    tenant_max_in_flight: int | None
    tenants: dict[str, TenantLimitsAnswer]
    changed: dict[str, Json]


class StrangerAnswer(TypedDict):
    """What lay in a stream of the queue and zapd did not write; `fields` are its parts in base64."""

    at: Time
    stream: str
    entry: str
    fields: list[str]


async def index(request: web.Request) -> web.Response:
    """Every queue with its numbers."""
    queues, dead = request.app[need.QUEUES], await request.app[need.DEAD].by_queue()
    return answer({"data": [await shown(request, name, dead) for name in queues], "next": None})


async def show(request: web.Request) -> web.Response:
    """One queue."""
    return answer(await shown(request, existing(request), await request.app[need.DEAD].by_queue()))


async def jobs(request: web.Request) -> web.Response:
    """The jobs of a queue in one state."""
    query = parsed_query(request, JobsQuery)
    return answer(await jobs_page(request, existing(request), query.state, query))


async def update(request: web.Request) -> web.Response:
    """Other limits from now on, on every daemon and over restarts; `null` takes the file's value again."""
    queue = existing(request)
    body = await bodies.parsed(request, bodies.ChangeQueue)
    await request.app[need.CONTROLS].change(queue, {name: getattr(body, name) for name in body.model_fields_set})
    return answer(await shown(request, queue, await request.app[need.DEAD].by_queue()))


async def update_all(request: web.Request) -> web.Response:
    """Other limits over all queues and for tenants, here at once and on every daemon within seconds."""
    body = await bodies.parsed(request, bodies.ChangeQueues)
    if not body.model_fields_set:
        raise InvalidInput(
            FieldError("body", f"should name one or more of {', '.join(bodies.ChangeQueues.model_fields)}")
        )
    await request.app[need.CONTROLS].change_all({name: getattr(body, name) for name in body.model_fields_set})
    return answer(_of_all(request))


async def limits(request: web.Request) -> web.Response:
    """The limits over all queues."""
    return answer(_of_all(request))


async def quarantine(request: web.Request) -> web.Response:
    """What lay in the queue's streams and zapd did not write, the newest first; at most 1,000 are kept."""
    found = await request.app[need.JOBS].quarantine(existing(request), 1000)
    return answer({"data": [_stranger(stranger) for stranger in found], "next": None})


async def shown(request: web.Request, name: str, dead: Mapping[str, int]) -> QueueAnswer:
    """One queue, as the API shows it. `dead` has the dead letters of each queue."""
    stats = await request.app[need.JOBS].stats(name)
    settings, pace = request.app[need.ENGINE_SETTINGS][name], request.app[need.QUEUE_PACE](name, stats)
    oldest = stats.oldest_ready_ms
    return {
        "name": name,
        "paused": stats.paused,
        "paused_kinds": sorted(request.app[need.CONTROLS].pauses().get(name, Pauses()).kinds),
        "priority": settings.priority,
        "concurrency": settings.concurrency,
        "max_concurrency": settings.max_concurrency,
        "attempts": settings.attempts,
        "waiting": stats.waiting,
        "active": stats.active,
        "delayed": stats.delayed,
        "staged": stats.staged,
        "completed": stats.completed,
        "failed": stats.failed,
        "dead": dead.get(name, 0),
        "quarantined": stats.quarantined,
        "tenants_held": stats.tenants_held,
        "oldest_waiting_since": at(oldest),
        "oldest_waiting_seconds": max(0, request.app[need.NOW_MS]() - oldest) / 1000 if oldest else None,
        "rate_in": pace.rate_in,
        "rate_out": pace.rate_out,
        "failure_rate": pace.failure_rate,
        "utilisation": pace.utilisation,
        "time_to_clear": pace.time_to_clear,
        "limits": _limits(settings, request.app[need.CONTROLS].changed(name)),
    }


def _limits(settings: QueueSettings, changed: Mapping[str, Any]) -> QueueLimits:
    return {
        "concurrency": settings.concurrency,
        "max_concurrency": settings.max_concurrency,
        "clear_within": settings.clear_within,
        "attempts": settings.attempts,
        "backoff": settings.backoff,
        "backoff_factor": settings.backoff_factor,
        "timeout": settings.timeout,
        "rate": settings.rate_per_minute,
        "burst": settings.burst,
        "max_in_flight": settings.max_in_flight,
        "lane_cap": settings.lane_cap,
        "lane_rate": settings.lane_rate_per_minute,
        "lane_burst": settings.lane_burst,
        "changed": dict(changed),
    }


def _of_all(request: web.Request) -> AllLimits:
    controls = request.app[need.CONTROLS]
    now = controls.of_all
    return {
        "max_in_flight": now.max_in_flight,
        "rate": now.rate,
        "burst": now.burst,
        "tenant_rate": now.tenant_rate,
        "tenant_burst": now.tenant_burst,
        "tenant_max_in_flight": now.tenant_max_in_flight,
        "tenants": {
            name: {"rate": its.rate, "burst": its.burst, "max_in_flight": its.max_in_flight}
            for name, its in sorted(now.tenants.items())
        },
        "changed": dict(controls.changed_of_all),
    }


def _stranger(stranger: Stranger) -> StrangerAnswer:
    fields = [base64.b64encode(part).decode() for part in stranger.fields]
    return {"at": iso(stranger.at), "stream": stranger.stream, "entry": stranger.entry, "fields": fields}


def existing(request: web.Request) -> str:
    """The queue that the path names. Raises NotFound."""
    name = request.match_info["queue"]
    if name not in request.app[need.QUEUES]:
        raise NotFound(f"there is no queue {name}; there are {', '.join(request.app[need.QUEUES].keys())}")
    return name


async def jobs_page(request: web.Request, queue: str, state: JobState, query: PageQuery) -> dict[str, Any]:
    """A page of the key's tenant's jobs."""
    tenant = key_of(request).tenant
    if state is JobState.DEAD:  # SQL has them, whatever became of Redis
        after = place_of(query.after) if query.after else None
        wanted = DeadFilter(queue=queue)
        letters = await request.app[need.DEAD].listed(tenant, wanted, after=after, limit=query.limit + 1)
        return page(letters, query.limit, answers.dead_job, cursor_of)
    found = await request.app[need.JOBS].list_jobs(queue, state, query.after, query.limit)
    shown = [answers.job(view) for view in found.jobs if view.tenant in ("", tenant)]
    return {"data": shown, "next": found.next}
