"""The daemon itself: alive, ready, its whole state, its metrics."""

from aiohttp import web
from typing_extensions import TypedDict

from zapd.web import dependencies as need
from zapd.web.answers import Json, answer


class HealthAnswer(TypedDict):
    """`status`: ok or failed; `services` says which part failed and why."""

    status: str
    services: Json


class ReadyAnswer(TypedDict):
    """`reason` says why not."""

    ready: bool
    reason: str | None


async def health(request: web.Request) -> web.Response:
    """Whether every part runs; 503 when one is past its restart budget."""
    services = request.app[need.SYSTEM].services()
    failed = any(service["failed"] for service in services.values())
    return answer(HealthAnswer(status="failed" if failed else "ok", services=services), 503 if failed else 200)


async def ready(request: web.Request) -> web.Response:
    """Whether this daemon takes part: 503 while it starts and while it drains."""
    reason = request.app[need.SYSTEM].not_ready()
    return answer(ReadyAnswer(ready=reason is None, reason=reason), 503 if reason else 200)


async def status(request: web.Request) -> web.Response:
    """The whole state."""
    return answer(await request.app[need.SYSTEM].status())


async def metrics(request: web.Request) -> web.Response:
    """Prometheus metrics."""
    body, content_type = await request.app[need.METRICS](request.headers.get("Accept", ""))
    return web.Response(body=body, headers={"Content-Type": content_type})
