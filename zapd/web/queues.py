"""Queues: numbers, jobs by state, pause and resume."""

from collections.abc import Mapping
from typing import Any

from aiohttp import web
from typing_extensions import TypedDict

from zapd.dead_letters import cursor_of, place_of
from zapd.errors import NotFound
from zapd.model.dead_letter import DeadFilter
from zapd.web import answers
from zapd.web import dependencies as need
from zapd.web.answers import Time, answer, at
from zapd.web.auth import key_of
from zapd.web.dependencies import JobState
from zapd.web.pages import PageQuery, page, parsed_query


class JobsQuery(PageQuery):
    """Which jobs of the queue."""

    state: JobState = JobState.WAITING


class QueueAnswer(TypedDict):
    """A queue: its settings and its numbers. `staged` jobs wait for their turn in their lane."""

    name: str
    paused: bool
    priority: int
    concurrency: int
    max_concurrency: int
    attempts: int
    waiting: int
    active: int
    delayed: int
    staged: int
    completed: int
    failed: int
    dead: int
    oldest_waiting_since: Time | None


class PausedAnswer(TypedDict):
    """The queues that are paused now."""

    paused: list[str]


async def index(request: web.Request) -> web.Response:
    """Every queue with its numbers."""
    queues, dead = request.app[need.QUEUES], await request.app[need.DEAD].by_queue()
    return answer({"data": [await shown(request, name, dead) for name in queues], "next": None})


async def show(request: web.Request) -> web.Response:
    """One queue."""
    return answer(await shown(request, existing(request), await request.app[need.DEAD].by_queue()))


async def jobs(request: web.Request) -> web.Response:
    """The jobs of a queue in one state."""
    query = parsed_query(request, JobsQuery)
    return answer(await jobs_page(request, existing(request), query.state, query))


async def pause(request: web.Request) -> web.Response:
    """Claim nothing from this queue until it is resumed; survives a restart."""
    await request.app[need.JOBS].pause(existing(request))
    return await _paused(request)


async def resume(request: web.Request) -> web.Response:
    """Claim from this queue again."""
    await request.app[need.JOBS].resume(existing(request))
    return await _paused(request)


async def pause_all(request: web.Request) -> web.Response:
    """Claim nothing from any queue until they are resumed."""
    for queue in request.app[need.QUEUES]:
        await request.app[need.JOBS].pause(queue)
    return await _paused(request)


async def resume_all(request: web.Request) -> web.Response:
    """Claim from every queue again."""
    for queue in request.app[need.QUEUES]:
        await request.app[need.JOBS].resume(queue)
    return await _paused(request)


async def shown(request: web.Request, name: str, dead: Mapping[str, int]) -> QueueAnswer:
    """One queue, as the API shows it. `dead` has the dead letters of each queue."""
    stats = await request.app[need.JOBS].stats(name)
    settings = request.app[need.QUEUES][name]
    return {
        "name": name,
        "paused": stats.paused,
        "priority": settings.priority,
        "concurrency": settings.concurrency,
        "max_concurrency": settings.max_concurrency,
        "attempts": settings.attempts,
        "waiting": stats.waiting,
        "active": stats.active,
        "delayed": stats.delayed,
        "staged": stats.staged,
        "completed": stats.completed,
        "failed": stats.failed,
        "dead": dead.get(name, 0),
        "oldest_waiting_since": at(stats.oldest_ready_ms),
    }


async def _paused(request: web.Request) -> web.Response:
    return answer(PausedAnswer(paused=sorted(await request.app[need.JOBS].paused())))


def existing(request: web.Request) -> str:
    """The queue that the path names. Raises NotFound."""
    name = request.match_info["queue"]
    if name not in request.app[need.QUEUES]:
        raise NotFound(f"there is no queue {name}; there are {', '.join(request.app[need.QUEUES].keys())}")
    return name


async def jobs_page(request: web.Request, queue: str, state: JobState, query: PageQuery) -> dict[str, Any]:
    """A page of the key's tenant's jobs; completed ones, of which only the id is left, are everybody's."""
    tenant = key_of(request).tenant
    if state is JobState.DEAD:  # SQL has them, whatever became of Redis
        after = place_of(query.after) if query.after else None
        wanted = DeadFilter(queue=queue)
        letters = await request.app[need.DEAD].listed(tenant, wanted, after=after, limit=query.limit + 1)
        return page(letters, query.limit, answers.dead_job, cursor_of)
    found = await request.app[need.JOBS].list_jobs(queue, state, query.after, query.limit)
    shown = [answers.job(view) for view in found.jobs if view.job is None or view.job.tenant == tenant]
    return {"data": shown, "next": found.next}
