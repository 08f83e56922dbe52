"""The event log: list, one event, and the live stream of server-sent events."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from aiohttp import web

from zapd.errors import NotFound, Unavailable
from zapd.model.webhook import Category, Event, wants
from zapd.web import answers
from zapd.web import dependencies as need
from zapd.web.answers import answer
from zapd.web.auth import key_of, only_connection, visible
from zapd.web.pages import PageQuery, Query, page, parsed_query

MAX_VIEWERS = 50  #: streams at once in this daemon
LOOK_EVERY = 0.5  #: seconds between looks at the table; the longest an event waits for its viewers
HEARTBEAT_EVERY = 15.0  #: seconds of silence before a comment keeps proxies from closing the stream
SLOW_VIEWER = 10.0  #: seconds a write may take before the stream is closed
STREAM_PAGE = 200


class EventsQuery(PageQuery):
    """Which events; the oldest first."""

    type: str | None = None
    category: Category | None = None
    connection_id: str | None = None


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
        after=query.after,
        limit=query.limit + 1,
    )
    return answer(page(found, query.limit, answers.event, lambda event: event.id))


async def audit(request: web.Request) -> web.Response:
    """The trail of access: who was turned away, who changed what. The oldest first."""
    query = parsed_query(request, PageQuery)
    found = await request.app[need.EVENTS].listed(
        key_of(request).tenant,
        type=None,
        category=Category.ACCESS,
        connection_id=None,
        after=query.after,
        limit=query.limit + 1,
    )
    return answer(page(found, query.limit, answers.event, lambda event: event.id))


async def show(request: web.Request) -> web.Response:
    """One event."""
    event_id = request.match_info["id"]
    event = await request.app[need.EVENTS].get(key_of(request).tenant, event_id)
    if event is None or not visible(request, event.connection_id):
        raise NotFound(f"there is no event {event_id}")
    return answer(answers.event(event))


async def stream(request: web.Request) -> web.StreamResponse:
    """Events as they happen, from now or after `Last-Event-ID`. Ends when the daemon drains: come back then."""
    query = parsed_query(request, StreamQuery)
    only = only_connection(request, query.connection_id)
    types = tuple(query.types.split(","))
    viewers = request.app[need.VIEWERS]
    if viewers.count >= MAX_VIEWERS:
        raise Unavailable(f"there are {MAX_VIEWERS} streams already")
    seq = await _start(request)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
    viewers.count += 1
    try:
        await response.prepare(request)
        async for event in _events_after(request, seq):
            if event is None:
                await asyncio.wait_for(response.write(b": still here\n\n"), SLOW_VIEWER)
            elif (only is None or event.connection_id == only) and wants(types, event.type):
                await asyncio.wait_for(response.write(_frame(event)), SLOW_VIEWER)
    except (ConnectionError, TimeoutError, Unavailable):
        pass  # the viewer went away or does not read, or SQL is away; it resumes with Last-Event-ID
    finally:
        viewers.count -= 1
    return response


async def _start(request: web.Request) -> int:
    given = request.headers.get("Last-Event-ID", "")
    if given.isascii() and given.isdigit() and len(given) < 19:  # what the database can hold
        return int(given)
    return await request.app[need.EVENTS].last_seq()


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
            await _wait(draining, LOOK_EVERY)
            silent += LOOK_EVERY
        if silent >= HEARTBEAT_EVERY:
            silent = 0.0
            yield None


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


def _frame(event: Event) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.type.encode(), event.payload)
