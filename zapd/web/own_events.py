"""Own events: post one, see why a rule took it or not, replay, process and retry by hand; and the actions of events."""

import hashlib
from typing import NotRequired

from aiohttp import web
from typing_extensions import TypedDict

from zapd.announce import iso
from zapd.errors import FieldError, InvalidInput
from zapd.events.intake import OwnEvent
from zapd.events.replaying import Filter
from zapd.model.hub import ActionRow
from zapd.web import bodies
from zapd.web import dependencies as need
from zapd.web.answers import Json, Time, answer, at
from zapd.web.auth import key_of


class ListenerResult(TypedDict):
    """How a listener ended. One that failed is tried again."""

    listener: str
    action_id: str
    state: str
    error: str | None


class PostedEvent(TypedDict):
    """The event is kept. `listeners`: how each ended, for a `sync` event."""

    id: str
    status: str
    listeners: list[ListenerResult]


class ReplayAction(TypedDict):
    """One thing that would be done."""

    route: str
    kind: str
    place: str


class ReplayLine(TypedDict):
    """What today's rules would do with an event."""

    event_id: str
    type: str
    routes: list[str]
    actions: list[ReplayAction]
    errors: list[str]


class ReplayAnswer(TypedDict):
    """A replay that began (`replay`), or what it would do (`data`)."""

    replay: str | None
    events: int | None
    data: list[ReplayLine]


class ProcessedEvents(TypedDict):
    """Events that went through the rules, and the actions that came of it."""

    processed: int
    actions: int


class RetriedFailed(TypedDict):
    """What is tried again."""

    events: int
    actions: int


class WhyAction(TypedDict):
    """One action of a rule. With `action_id`, where to (`place`) and `error` once it was made."""

    kind: str
    matched: bool
    because: str
    action_id: NotRequired[str]
    place: NotRequired[str]
    error: NotRequired[str]


class WhyRoute(TypedDict):
    """One rule. `actions` when it matched."""

    route: str
    matched: bool
    because: str
    actions: NotRequired[list[WhyAction]]


class WhyAnswer(TypedDict):
    """Each rule that an event met: matched, or not, and because of what."""

    id: str
    progress: str
    run: int
    depth: int
    cause: str | None
    error: str | None
    mapping: Json
    routes: list[WhyRoute]
    listeners: list[str]
    endpoints: int


class ActionAnswer(TypedDict):
    """One thing that is done about an event."""

    id: str
    event_id: str
    route: str
    kind: str
    place: str
    state: str
    attempts: int
    max_attempts: int
    due_at: Time | None
    created_at: Time
    finished_at: Time | None
    error: str | None
    result: str | None
    answer: str | None


async def post(request: web.Request) -> web.Response:
    """Tell zapd that something happened. The 2xx is given after the commit."""
    body = await bodies.parsed(request, bodies.PostEvent)
    key, tenant = bodies.idempotency_key(request), key_of(request).tenant
    if body.sync and body.delay:
        raise InvalidInput(FieldError("delay", "cannot go with sync"))
    own = OwnEvent(
        tenant=tenant,
        type=body.type,
        data=bodies.as_json(body.data, "data"),
        id=body.id,
        occurred_at=bodies.ms(body.occurred_at),
        delay=round(body.delay * 1000),
        sync=body.sync,
        idempotency_key=key,
        fingerprint=hashlib.sha256(await request.read()).digest() if key else None,
    )
    accepted = await request.app[need.EVENT_INTAKE].post(own)
    heard = await request.app[need.DESK].at_once(tenant, accepted.id) if body.sync else []
    shown = {"id": accepted.id, "status": "processed" if body.sync else "accepted", "listeners": heard}
    replayed = {"Idempotency-Replayed": "true"} if accepted.repeated else None
    return answer(shown, 200 if body.sync else 202, replayed)


async def why(request: web.Request) -> web.Response:
    """Each rule that the event met: matched, or not matched because …"""
    return answer(await request.app[need.DESK].why(key_of(request).tenant, request.match_info["id"]))


async def replay(request: web.Request) -> web.Response:
    """Take stored events again: a dry run says what would happen; else they go at a rate."""
    body = await bodies.parsed(request, bodies.ReplayEvents)
    which = Filter(
        types=tuple(body.types),
        source=body.source,
        since=bodies.ms(body.since),
        until=bodies.ms(body.until),
        ids=tuple(body.ids),
        only_failed=body.only_failed,
        limit=body.limit,
    )
    tenant, replayer = key_of(request).tenant, request.app[need.REPLAYER]
    if body.dry_run:
        found = await replayer.dry(tenant, which)
        return answer({"replay": None, "events": len(found), "data": found}, 202)
    return answer(
        {"replay": await replayer.start(tenant, which, body.mode, body.rate), "events": None, "data": []}, 202
    )


async def process(request: web.Request) -> web.Response:
    """Take the oldest events that wait through the rules now."""
    body = await bodies.parsed(request, bodies.HowMany)
    return answer(await request.app[need.DESK].process(key_of(request).tenant, body.limit))


async def retry_failed(request: web.Request) -> web.Response:
    """Take failed events through the rules again, and do dead actions again."""
    body = await bodies.parsed(request, bodies.HowMany)
    return answer(await request.app[need.DESK].retry_failed(key_of(request).tenant, body.limit), 202)


async def retry_action(request: web.Request) -> web.Response:
    """Do a dead or canceled action again, from its first try."""
    row = await request.app[need.ACTOR].retry(key_of(request).tenant, request.match_info["id"])
    return answer(action(row), 202)


async def cancel_action(request: web.Request) -> web.Response:
    """Take an action back while it waits."""
    row = await request.app[need.ACTOR].cancel(key_of(request).tenant, request.match_info["id"])
    return answer(action(row))


def action(row: ActionRow) -> ActionAnswer:
    """One action, without what it sends."""
    return {
        "id": row.id,
        "event_id": row.event_id,
        "route": row.route,
        "kind": row.kind,
        "place": row.place,
        "state": row.state,
        "attempts": row.attempts,
        "max_attempts": row.max_attempts,
        "due_at": at(row.due_at),
        "created_at": iso(row.created_at),
        "finished_at": at(row.finished_at),
        "error": row.error,
        "result": row.result,
        "answer": None if row.answer is None else row.answer.decode(errors="replace"),
    }
