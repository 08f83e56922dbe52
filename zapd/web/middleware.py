"""The one middleware: request id, key, pace, errors as problem+json, metrics.

One instead of five: each layer costs a coroutine per request, and this is on the path of every send.
"""

import asyncio
import re
import time
from collections.abc import Callable, Mapping

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from zapd.errors import ZapdError
from zapd.telemetry.metrics import HttpMetrics
from zapd.web import problems
from zapd.web.audit import AUDITED, Audit
from zapd.web.auth import Access
from zapd.web.pages import known
from zapd.web.problems import PaceExceeded
from zapd.web.route import UNKNOWN, Route

log = structlog.get_logger("zapd.web")

REQUEST_ID = "X-Request-Id"
#: Headers that decide something: two of them may mean one thing to a proxy and another to us.
ONCE = ("Authorization", "X-Api-Key", "Idempotency-Key", "Content-Type")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)


def gate(
    *,
    routes: Mapping[Callable[..., object], Route],
    access: Access,
    audit: Audit,
    new_id: Callable[[], str],
    metrics: HttpMetrics,
    draining: asyncio.Event,
) -> Middleware:
    """The middleware. `routes` finds the route of a handler; `draining`: the connections of clients end soon."""

    @web.middleware
    async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        metrics.in_flight += 1
        route = routes.get(handler, UNKNOWN)
        request_id = _request_id(request, new_id)
        try:
            response = await _answered(request, handler, route, request_id)
        finally:
            metrics.in_flight -= 1
        seconds = time.perf_counter() - started
        if not response.prepared:
            response.headers[REQUEST_ID] = request_id
            if draining.is_set():  # else a client's next request would meet a closed line, and it may not repeat a POST
                response.force_close()
        metrics.observe(route.path, route.method, response.status, seconds)
        if route.scope in AUDITED or response.status == 403:
            await audit.called(request, route, response.status, access.address_of(request))
        if route.accepts and response.status < 300:
            metrics.accepted[route.accepts].observe(seconds)
        return response

    async def _answered(request: web.Request, handler: Handler, route: Route, request_id: str) -> web.StreamResponse:
        try:
            for name in ONCE:
                if len(request.headers.getall(name, ())) > 1:
                    return problems.problem(400, "a header that decides something came twice")
            await access.admit(request, route)
            if request.query_string and not route.any_query:
                known(request, route.query)
            return await handler(request)
        except PaceExceeded as error:
            metrics.limited.labels(error.scope).inc()
            return problems.of_error(error)
        except ZapdError as error:
            return problems.of_error(error)
        except web.HTTPException as error:
            return problems.of_http(error)
        except Exception as error:
            return _failed(error, request_id, route)

    return gate


def _failed(error: Exception, request_id: str, route: Route) -> web.Response:
    """The request's boundary: whatever it was, the daemon goes on and the caller learns nothing."""
    if isinstance(error, ConnectionResetError):  # its client went away, which is no fault of ours
        log.info("request.abandoned", request_id=request_id, route=route.path)
        return problems.problem(400, "the connection was closed")
    log.error("request.crashed", request_id=request_id, route=route.path, exc_info=error)
    return problems.problem(500)


def _request_id(request: web.Request, new_id: Callable[[], str]) -> str:
    """The caller's own id when it is harmless, else a new one."""
    given = request.headers.get(REQUEST_ID)
    return given if given is not None and _REQUEST_ID.fullmatch(given) else new_id()
