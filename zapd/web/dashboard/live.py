"""Keeps an open page true: sends each region again when it has changed.

Regions that several viewers look at are read and rendered once a turn for all of them. The stream has no memory: a
viewer that comes back gets the regions as they are now.
"""

import time
from collections.abc import Mapping
from contextlib import suppress

import orjson
from aiohttp import web

from zapd.errors import Unavailable, ZapdError
from zapd.model.access import Scope
from zapd.web import dependencies as need
from zapd.web import sse
from zapd.web.auth import key_of
from zapd.web.dashboard import guard, render
from zapd.web.dashboard.views import View

EVERY = 1.0  #: seconds between two looks
CHECKED_EVERY = 5.0  #: seconds between two looks whether the login is still good
LIFE = 900.0  #: seconds; then the browser comes again
MAX_VIEWERS = 50  #: pages open at once in this daemon

Regions = Mapping[str, str]  #: name → markup


async def stream(request: web.Request, view: View) -> web.StreamResponse:
    """Patches of one page, until the viewer goes, the login ends, or the daemon drains."""
    viewers = request.app[need.PAGE_VIEWERS]
    if viewers.count >= MAX_VIEWERS:
        raise Unavailable("too many pages are open")
    headers = {**render.HEADERS, "Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
    response = web.StreamResponse(headers=headers)
    viewers.count += 1
    try:
        await response.prepare(request)
        await _send_changes(request, response, view)
        await sse.write(response, b"event: bye\ndata: {}\n\n")
    except (ConnectionError, TimeoutError):
        pass  # the viewer went away or does not read; it comes back for the whole of it
    finally:
        viewers.count -= 1
    return response


async def _send_changes(request: web.Request, response: web.StreamResponse, view: View) -> None:
    sent: dict[str, str] = {}
    started = checked = written = time.monotonic()
    draining = request.app[need.DRAINING]
    while not draining.is_set() and time.monotonic() - started < LIFE:
        now = time.monotonic()
        if now - checked > CHECKED_EVERY:
            checked = now
            with suppress(Unavailable):
                if not await guard.let_in(request, Scope.READ):
                    return
        with suppress(ZapdError):  # a part is away, or the thing is gone: the page keeps what it shows
            for name, markup in (await _regions(request, view)).items():
                if sent.get(name) != markup:
                    sent[name], written = markup, now
                    patch = orjson.dumps({"region": name, "markup": markup})
                    await sse.write(response, b"event: patch\ndata: %s\n\n" % patch)
        if now - written > sse.HEARTBEAT_EVERY:
            written = now
            await sse.write(response, sse.HEARTBEAT)
        await sse.pause(draining, EVERY)


async def _regions(request: web.Request, view: View) -> Regions:
    key, language = key_of(request), render.language_of(request)
    who = (request.path_qs, language, key.tenant, key.scopes, key.connection_id)
    return await request.app[need.TURNS].once(who, lambda: _rendered(request, view, language))


async def _rendered(request: web.Request, view: View, language: str) -> Regions:
    values = {**guard.rights(request), **await view.data(request)}
    return {name: render.rendered(f"regions/{name}.html", language, values) for name in view.regions}
