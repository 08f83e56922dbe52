"""Schedules: what happens by the clock."""

from typing import Any

import orjson
from aiohttp import web
from pydantic import ValidationError
from typing_extensions import TypedDict

from zapd.errors import FieldError, InvalidInput, NotFound
from zapd.model.schedule import Schedule, Spec
from zapd.model.timetable import check_cron, delay_of
from zapd.web import bodies, items, problems
from zapd.web import dependencies as need
from zapd.web.answers import Json, Time, answer, at
from zapd.web.auth import key_of
from zapd.web.jobs import made_job
from zapd.web.pages import IdPage, after_id, by_id, page, parsed_query

COMING = 5  #: slots that are shown


class SchedulesQuery(IdPage):
    """Which schedules, by id."""

    after: str | None = after_id("sch")


class ScheduleAnswer(TypedDict):
    """A schedule. `next` are its coming fires, none while it is paused.

    `source`: api, config (the operator's file; to be changed there) or zapd (its own). Spans of time in seconds.
    """

    id: str
    source: str
    paused: bool
    cron: str | None
    every: float | None
    timezone: str
    jitter: float
    misfire: str
    queue: str | None
    kind: str
    lane: str
    priority: int
    emit: str | None
    payload: Json
    next: list[Time]
    fires: int
    last_fired_at: Time | None
    last_made: str | None
    created_at: Time
    updated_at: Time


class RunAnswer(TypedDict):
    """The job or the event that it made."""

    id: str
    made: str


async def create(request: web.Request) -> web.Response:
    """Make a schedule; its first fire is its next slot."""
    body = await bodies.parsed(request, bodies.CreateSchedule)
    spec = _spec(request, body)
    made = await request.app[need.CRON].create(key_of(request).tenant, body.id, spec, paused=body.paused)
    return answer(_shown(request, made), 201)


async def index(request: web.Request) -> web.Response:
    """Every schedule, those of the configuration too."""
    query = parsed_query(request, SchedulesQuery)
    found = await request.app[need.SCHEDULES].listed(key_of(request).tenant, after=query.after, limit=query.limit + 1)
    return answer(page(found, query.limit, lambda s: _shown(request, s), by_id("sch")))


async def show(request: web.Request) -> web.Response:
    """One schedule."""
    return answer(_shown(request, await _existing(request)))


async def update(request: web.Request) -> web.Response:
    """Another whole: what is not given takes its default."""
    schedule = await _existing(request)
    spec = _spec(request, await bodies.parsed(request, bodies.ScheduleSpec))
    return answer(_shown(request, await request.app[need.CRON].update(schedule, spec)))


async def change(request: web.Request) -> web.Response:
    """Change what is given. With other times it goes on from now."""
    schedule = await _existing(request)
    given = (await bodies.parsed(request, bodies.ChangeSchedule)).model_dump(exclude_unset=True)
    fields = _fields(schedule.spec)
    for new, old in (("cron", "every"), ("every", "cron"), ("queue", "emit"), ("emit", "queue")):
        if new in given:
            fields.pop(old, None)
    try:
        spec = _spec(request, bodies.ScheduleSpec.model_validate({**fields, **given}))
    except ValidationError as error:
        raise problems.of_validation(error) from None
    return answer(_shown(request, await request.app[need.CRON].update(schedule, spec)))


async def delete(request: web.Request) -> web.Response:
    """It fires no more."""
    await request.app[need.CRON].delete(await _existing(request))
    return web.Response(status=204)


async def run(request: web.Request) -> web.Response:
    """Fire once now, beside its slots, also while it is paused."""
    schedule = await _existing(request)
    return answer(RunAnswer(id=schedule.id, made=await request.app[need.CRON].fire_now(schedule)), 202)


async def pause(request: web.Request) -> web.Response:
    """Fire no slot until it is resumed; what comes meanwhile is no misfire."""
    schedule = await _existing(request)
    return answer(_shown(request, await request.app[need.CRON].pause(schedule, paused=True)))


async def resume(request: web.Request) -> web.Response:
    """Fire again, from the next slot on."""
    schedule = await _existing(request)
    return answer(_shown(request, await request.app[need.CRON].pause(schedule, paused=False)))


async def _existing(request: web.Request) -> Schedule:
    schedule_id = request.match_info["id"]
    schedule = await request.app[need.SCHEDULES].get(key_of(request).tenant, schedule_id)
    if schedule is None:
        raise NotFound(f"there is no schedule {schedule_id}")
    return schedule


def _spec(request: web.Request, body: bodies.ScheduleSpec) -> Spec:
    """What is stored. Raises InvalidInput: a line that never fires, a queue that is not there."""
    if body.cron is not None:
        try:
            check_cron(body.cron, body.timezone)
        except ValueError as error:
            raise InvalidInput(FieldError("cron", str(error))) from None
    priority, payload = body.priority or 5, items.payload_of(body.payload, request.app[need.JOB_LIMITS].payload)
    if body.queue is not None:
        own = [name for name, settings in request.app[need.QUEUES].items() if settings.action]
        if body.queue not in own:
            raise InvalidInput(FieldError("queue", f"should be one of: {', '.join(own) or 'there is none yet'}"))
        wanted = bodies.JobSpec(kind=body.kind, payload=body.payload, priority=body.priority, lane=body.lane)
        priority = made_job(request, body.queue, wanted).priority
    return Spec(
        cron=body.cron or "",
        every=body.every or 0,
        timezone=body.timezone,
        jitter=body.jitter,
        misfire=body.misfire,
        queue=body.queue or "",
        kind=body.kind,
        lane=body.lane,
        priority=priority,
        emit=body.emit or "",
        payload=payload,
    )


def _fields(spec: Spec) -> dict[str, Any]:
    """A stored schedule as a body would have it."""
    found = {name: getattr(spec, name) for name in bodies.ScheduleSpec.model_fields}
    either = ("cron", "every", "queue", "emit")
    kept = {name: value for name, value in found.items() if name not in either or value}
    return {**kept, "payload": orjson.loads(spec.payload)}


def _shown(request: web.Request, schedule: Schedule) -> ScheduleAnswer:
    spec, table = schedule.spec, schedule.timetable
    coming: list[Time] = []
    slot = request.app[need.NOW_MS]()
    while not schedule.paused and len(coming) < COMING:
        slot = table.after(slot)
        coming.append(at(slot + delay_of(schedule.id, slot, table.jitter)) or "")
    return {
        "id": schedule.id,
        "source": schedule.source,
        "paused": schedule.paused,
        "cron": spec.cron or None,
        "every": spec.every or None,
        "timezone": spec.timezone,
        "jitter": spec.jitter,
        "misfire": spec.misfire,
        "queue": spec.queue or None,
        "kind": spec.kind,
        "lane": spec.lane,
        "priority": spec.priority,
        "emit": spec.emit or None,
        "payload": orjson.Fragment(spec.payload),
        "next": coming,
        "fires": schedule.fires,
        "last_fired_at": at(schedule.last_fired_at),
        "last_made": schedule.last_made,
        "created_at": at(schedule.created_at) or "",
        "updated_at": at(schedule.updated_at) or "",
    }
