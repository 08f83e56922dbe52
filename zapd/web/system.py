"""The daemon itself: alive, ready, its whole state, its metrics."""

from typing import cast

from aiohttp import web
from typing_extensions import TypedDict

from zapd.web import dependencies as need
from zapd.web.answers import Time, answer


class ServiceAnswer(TypedDict):
    """A part of the process. `failed`: why it is not started any more; null: it is not past its restart budget."""

    up: bool
    restarts: int
    failed: str | None


class HealthAnswer(TypedDict):
    """`status`: ok or failed; `services` says which part failed and why."""

    status: str
    services: dict[str, ServiceAnswer]


class Away(TypedDict):
    """Instead of a part's state: why it cannot be asked."""

    unavailable: str


class QueueState(TypedDict):
    """How many jobs of a queue are in which state."""

    waiting: int
    active: int
    delayed: int
    dead: int
    paused: bool


class OutboxState(TypedDict):
    """What is in SQL and not yet in Redis, and since when the oldest."""

    rows: int
    oldest_at: Time | None


class StatusAnswer(TypedDict):
    """The whole state. `sessions` counts them by state."""

    version: str
    phase: str
    services: dict[str, ServiceAnswer]
    queues: dict[str, QueueState] | Away
    sessions: dict[str, int] | Away
    outbox: OutboxState | Away


class ReadyAnswer(TypedDict):
    """`reason` says why not."""

    ready: bool
    reason: str | None


async def health(request: web.Request) -> web.Response:
    """Whether every part runs; 503 when one is past its restart budget."""
    services = cast(dict[str, ServiceAnswer], request.app[need.SYSTEM].services())
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
