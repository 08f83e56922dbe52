"""The two routes of the users' former queue service, in the shape that their clients read (DESIGN §7)."""

from aiohttp import web
from typing_extensions import TypedDict

from zapd.errors import NotFound
from zapd.web import bodies
from zapd.web import dependencies as need
from zapd.web.answers import answer


class QueueNumbers(TypedDict):
    """One queue, in the names of the old service."""

    waiting: int
    active: int
    completed: int
    failed: int
    delayed: int
    activeJobs: list[str]


class Summary(TypedDict):
    """The sums over all queues."""

    totalWaiting: int
    totalActive: int
    totalCompleted: int
    totalFailed: int


class StatsData(TypedDict):
    """Queues and their sums."""

    queues: dict[str, QueueNumbers]
    summary: Summary


class StatsAnswer(TypedDict):
    """The envelope of the old service."""

    status: str
    data: StatsData


class CleanData(TypedDict):
    """Jobs dropped per queue."""

    cleaned: dict[str, int]


class CleanAnswer(TypedDict):
    """The envelope of the old service."""

    status: str
    data: CleanData


async def stats(request: web.Request) -> web.Response:
    """Every queue's numbers and their sums. `failed` counts the dead ones, as BullMQ does."""
    queues: dict[str, QueueNumbers] = {}
    dead = await request.app[need.DEAD].by_queue()
    for name in request.app[need.QUEUES]:
        found = await request.app[need.JOBS].stats(name)
        queues[name] = {
            "waiting": found.waiting + found.staged,
            "active": found.active,
            "completed": found.completed,
            "failed": dead.get(name, 0),
            "delayed": found.delayed,
            "activeJobs": list(found.active_jobs),
        }
    summary: Summary = {
        "totalWaiting": sum(numbers["waiting"] for numbers in queues.values()),
        "totalActive": sum(numbers["active"] for numbers in queues.values()),
        "totalCompleted": sum(numbers["completed"] for numbers in queues.values()),
        "totalFailed": sum(numbers["failed"] for numbers in queues.values()),
    }
    return answer(StatsAnswer(status="success", data={"queues": queues, "summary": summary}))


async def clean(request: web.Request) -> web.Response:
    """Drop completed jobs and dead ones past their retention, now instead of at the next cleanup."""
    body = await bodies.parsed(request, bodies.CleanQueues)
    queues = request.app[need.QUEUES]
    if body.queue is not None and body.queue not in queues:
        raise NotFound(f"there is no queue {body.queue}; there are {', '.join(queues)}")
    names = [body.queue] if body.queue else list(queues)
    cleaned = {name: await _cleaned(request, name) for name in names}
    return answer(CleanAnswer(status="success", data={"cleaned": cleaned}))


async def _cleaned(request: web.Request, queue: str) -> int:
    completed, _ = await request.app[need.JOBS].clean(queue)
    dropped = completed
    while dead := await request.app[need.DEAD].clean(queue):
        dropped += dead
    return dropped
