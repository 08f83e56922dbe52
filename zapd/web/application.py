"""The aiohttp application, made of the routes and of what their handlers need."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from aiohttp import web

from zapd.ids import Ids
from zapd.telemetry.metrics import HttpMetrics
from zapd.web import bodies
from zapd.web import dependencies as need
from zapd.web.audit import Audit
from zapd.web.auth import Access
from zapd.web.middleware import gate
from zapd.web.routes import ALL, METRICS, ROUTES

#: These have no end, or would be read whole for nobody: no HEAD.
STREAMS = ("text/event-stream", "application/x-ndjson")


def build(
    *,
    given: Sequence[need.Given],
    access: Access,
    audit: Audit,
    metrics: HttpMetrics,
    ids: Ids,
    draining: asyncio.Event,
    open_metrics: bool,
    body_limit: int,
    body_timeout: float = 30.0,
) -> web.Application:
    """The application. `given`: what handlers need; `open_metrics`: /metrics asks for no key.

    `body_limit` in bytes; `body_timeout` in seconds.
    """
    routes = tuple(replace(r, scope=None) if r.path == METRICS and open_metrics else r for r in ALL)
    passage = gate(
        routes={r.handler: r for r in routes},
        access=access,
        audit=audit,
        new_id=ids.ulid,
        metrics=metrics,
        draining=draining,
    )
    app = web.Application(middlewares=[passage], client_max_size=body_limit)
    for route in sorted(routes, key=lambda route: not route.accepts):  # aiohttp tries them in turn: the busy ones first
        app.router.add_route(route.method, route.path, route.handler)
        if route.method == "GET" and route.media not in STREAMS:
            app.router.add_route("HEAD", route.path, route.handler)
    for give in given:
        give(app)
    app[need.DRAINING] = draining
    viewers = app[need.VIEWERS] = need.Viewers()
    metrics.viewers.set_function(lambda: viewers.count)
    page_viewers = app[need.PAGE_VIEWERS] = need.Viewers()
    metrics.page_viewers.set_function(lambda: page_viewers.count)
    app[bodies.BODY_TIMEOUT] = body_timeout
    app[need.ACCESS] = access
    app[need.AUDIT] = audit
    app[need.IDS] = ids
    app[need.ROUTES] = routes[: len(ROUTES)]
    return app
