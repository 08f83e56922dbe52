"""The event log: list, one event, and the live stream of server-sent events."""

import hashlib
from collections.abc import AsyncIterator

import orjson
from aiohttp import web
from pydantic import AwareDatetime

from zapd.errors import FieldError, InvalidInput, NotFound, Unavailable
from zapd.model.webhook import Category, Event, wants
from zapd.web import answers, bodies, own_events, sse
from zapd.web import dependencies as need
from zapd.web.answers import EventAnswer, Json, Time, answer, at
from zapd.web.auth import key_of, only_connection, visible
from zapd.web.pages import IdPage, Query, after_id, by_id, page, parsed_query

MAX_VIEWERS = 50  #: streams at once in this daemon
LOOK_EVERY = 0.5  #: seconds between looks at the table; the longest an event waits for its viewers
STREAM_PAGE = 200


class EventsQuery(IdPage):
    """Which events; the oldest first. `type` is a name, or a family such as `lead.*`."""

    after: str | None = after_id("evt")
    type: str | None = None
    category: Category | None = None
    connection_id: str | None = None
    source: str | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None


class AuditQuery(IdPage):
    """Which page of the trail."""

    after: str | None = after_id("evt")


class EventWhole(EventAnswer):
    """An event with its body as it came (`raw`), and what is done about it."""

    source: str | None
    progress: str | None
    error: str | None
    occurred_at: Time | None
    processed_at: Time | None
    raw: str
    raw_sha256: str
    headers: Json
    actions: list[own_events.ActionAnswer]


class StreamQuery(Query):
    """Which events to stream; `types` as for an endpoint, separated by commas."""

    types: str = "*"
    connection_id: str | None = None


async def index(request: web.Request) -> web.Response:
    """The log."""
    query = parsed_query(request, EventsQuery)
    found = await request.app[need.EVENTS].listed(
        key_of(request).tenant,
        type=query.type,
        category=query.category,
        connection_id=only_connection(request, query.connection_id),
        source=query.source,
        since=bodies.ms(query.since),
        until=bodies.ms(query.until),
        after=query.after,
        limit=query.limit + 1,
    )
    return answer(page(found, query.limit, answers.event, by_id("evt")))


async def audit(request: web.Request) -> web.Response:
    """The trail of access: who was turned away, who changed what. The oldest first."""
    query = parsed_query(request, AuditQuery)
    found = await request.app[need.EVENTS].listed(
        key_of(request).tenant,
        type=None,
        category=Category.ACCESS,
        connection_id=None,
        after=query.after,
        limit=query.limit + 1,
    )
    return answer(page(found, query.limit, answers.event, by_id("evt")))


async def show(request: web.Request) -> web.Response:
    """One event, with its body as it came, and what is done about it."""
    event_id = request.match_info["id"]
    tenant = key_of(request).tenant
    event = await request.app[need.EVENTS].get(tenant, event_id)
    if event is None or not visible(request, event.connection_id):
        raise NotFound(f"there is no event {event_id}")
    life = await request.app[need.DESK].life(tenant, event_id)
    came_in = await request.app[need.EVENT_RAW](tenant, event_id)
    state, rows = life or (None, [])
    whole = EventWhole(
        **answers.event(event),
        source=state.source if state else None,
        progress=state.progress if state else None,
        error=state.error if state else None,
        occurred_at=at(state.occurred_at if state else event.created_at),
        processed_at=at(state.processed_at if state else None),
        raw=(came_in.raw if came_in else event.payload).decode(errors="replace"),
        raw_sha256=hashlib.sha256(came_in.raw if came_in else event.payload).hexdigest(),
        headers=orjson.loads(came_in.headers) if came_in else None,
        actions=[own_events.action(row) for row in rows],
    )
    return answer(whole)


async def stream(request: web.Request) -> web.StreamResponse:
    """Events as they happen, from now or after `Last-Event-ID`. Ends when the daemon drains: come back then."""
    query = parsed_query(request, StreamQuery)
    only = only_connection(request, query.connection_id)
    types = tuple(query.types.split(","))
    viewers = request.app[need.VIEWERS]
    if viewers.count >= MAX_VIEWERS:
        raise Unavailable(f"there are {MAX_VIEWERS} streams already")
    seq, reset = await _start(request)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    viewers.count += 1
    try:
        await response.prepare(request)
        if reset is not None:
            await sse.write(response, reset)
        async for event in _events_after(request, seq):
            if event is None:
                await sse.write(response, sse.HEARTBEAT)
            elif (only is None or event.connection_id == only) and wants(types, event.type):
                await sse.write(response, _frame(event))
    except (ConnectionError, TimeoutError, Unavailable):
        pass  # the viewer went away or does not read, or SQL is away; it resumes with Last-Event-ID
    finally:
        viewers.count -= 1
    return response


async def _start(request: web.Request) -> tuple[int, bytes | None]:
    """After which row, and what the viewer is told first.

    A place that is none must not count as "from now": what happened meanwhile would be missed. One beyond the log is of
    a database that was since restored: browsers send it again for ever, so they are told, and get a place that is one.
    """
    given, events = request.headers.get("Last-Event-ID", ""), request.app[need.EVENTS]
    newest = await events.last_seq()
    if not given:
        return newest, None
    if given.isascii() and given.isdigit() and len(given) < 19:  # what the database can hold
        return (int(given), None) if int(given) <= newest else (newest, _reset(int(given), newest))
    event = await events.get(key_of(request).tenant, given)
    if event is None or not visible(request, event.connection_id):
        raise InvalidInput(FieldError("Last-Event-ID", "the id of a line of the stream, or of an event"))
    return event.seq, None


async def _events_after(request: web.Request, seq: int) -> AsyncIterator[Event | None]:
    """The tenant's events in order, and None when nothing happened for a while; ends at the drain."""
    events, tenant, draining = request.app[need.EVENTS], key_of(request).tenant, request.app[need.DRAINING]
    silent = 0.0
    while not draining.is_set():
        found = await events.after(seq, STREAM_PAGE, tenant)
        for event in found:
            seq, silent = event.seq, 0.0
            yield event
        if len(found) < STREAM_PAGE:
            await sse.pause(draining, LOOK_EVERY)
            silent += LOOK_EVERY
        if silent >= sse.HEARTBEAT_EVERY:
            silent = 0.0
            yield None


def _reset(asked: int, newest: int) -> bytes:
    told = orjson.dumps({"last_event_id": asked, "newest": newest})
    return b"id: %d\nevent: stream.reset\ndata: %s\n\n" % (newest, told)


def _frame(event: Event) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.type.encode(), event.payload)
