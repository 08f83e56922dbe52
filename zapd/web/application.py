"""The aiohttp application, made of the routes and of what their handlers need."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from aiohttp import web

from zapd.ids import Ids
from zapd.jobs.job import Job
from zapd.model.session import Connection
from zapd.model.webhook import Delivery
from zapd.telemetry.metrics import HttpMetrics
from zapd.web import dependencies as need
from zapd.web.auth import Access
from zapd.web.keyring import Commit, Keyring
from zapd.web.middleware import gate
from zapd.web.routes import METRICS, ROUTES


def build(
    *,
    messaging: need.Messaging,
    intake: Callable[[Connection, bytes, str], Awaitable[bool]],
    sessions: need.Sessions,
    connections: need.ConnectionRows,
    messages: need.MessageRows,
    events: need.EventRows,
    endpoint_rows: need.EndpointRows,
    endpoints: need.EndpointRules,
    endpoints_changed: Callable[[], Awaitable[None]],
    deliveries: need.DeliveryRows,
    retry_delivery: Callable[[str, str], Awaitable[Delivery]],
    jobs: need.Jobs,
    queues: Mapping[str, need.QueueSettings],
    enqueue: Callable[[Sequence[Job]], Awaitable[Sequence[bool]]],
    cancel_job: Callable[[str, str, str], Awaitable[bool]],
    next_send_at: Callable[[Connection], Awaitable[int | None]],
    session_pace: need.SessionPace,
    sandbox: need.Sandbox,
    system: need.System,
    metrics: HttpMetrics,
    render_metrics: Callable[[str], Awaitable[tuple[bytes, str]]],
    open_metrics: bool,
    keyring: Keyring,
    access: Access,
    commit: Commit,
    draining: asyncio.Event,
    ids: Ids,
    now_ms: Callable[[], int],
    body_limit: int,
) -> web.Application:
    """The application. `open_metrics`: /metrics asks for no key; `body_limit` in bytes."""
    routes = tuple(replace(r, scope=None) if r.path == METRICS and open_metrics else r for r in ROUTES)
    passage = gate(routes={r.handler: r for r in routes}, access=access, new_id=ids.ulid, metrics=metrics)
    app = web.Application(middlewares=[passage], client_max_size=body_limit)
    for route in routes:
        app.router.add_route(route.method, route.path, route.handler)
    app[need.MESSAGING] = messaging
    app[need.INTAKE] = intake
    app[need.SESSIONS] = sessions
    app[need.CONNECTIONS] = connections
    app[need.MESSAGES] = messages
    app[need.EVENTS] = events
    app[need.ENDPOINT_ROWS] = endpoint_rows
    app[need.ENDPOINTS] = endpoints
    app[need.ENDPOINTS_CHANGED] = endpoints_changed
    app[need.DELIVERIES] = deliveries
    app[need.RETRY_DELIVERY] = retry_delivery
    app[need.JOBS] = jobs
    app[need.QUEUES] = queues
    app[need.ENQUEUE] = enqueue
    app[need.CANCEL_JOB] = cancel_job
    app[need.NEXT_SEND_AT] = next_send_at
    app[need.SESSION_PACE] = session_pace
    app[need.SANDBOX] = sandbox
    app[need.SYSTEM] = system
    app[need.METRICS] = render_metrics
    app[need.KEYRING] = keyring
    app[need.COMMIT] = commit
    app[need.DRAINING] = draining
    viewers = app[need.VIEWERS] = need.Viewers()
    metrics.viewers.set_function(lambda: viewers.count)
    app[need.IDS] = ids
    app[need.NOW_MS] = now_ms
    app[need.ROUTES] = routes
    return app
