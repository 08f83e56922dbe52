"""Dead letters of all queues: list, retry, delete, alone (through /jobs) or by filter."""

from dataclasses import replace

import orjson
from aiohttp import web
from pydantic import Field
from typing_extensions import TypedDict

from zapd.errors import Conflict, FieldError, InvalidInput, NotFound
from zapd.jobs.inspect import JobView
from zapd.jobs.job import Job
from zapd.messaging.accounts import SEND
from zapd.web import bodies
from zapd.web import dependencies as need
from zapd.web.answers import JobAnswer, Page, answer
from zapd.web.auth import key_of
from zapd.web.dependencies import JobState
from zapd.web.pages import PageQuery, Query, parsed_query
from zapd.web.queues import jobs_page

DELIVERY = "webhook:delivery"
STEP = 200  #: jobs read at once


class DeadQuery(PageQuery):
    """Dead letters of one queue or of all; the oldest of each queue first."""

    queue: str | None = None


class PurgeQuery(Query):
    """Which dead letters to delete. `all=true` stands for no filter."""

    queue: str | None = None
    reason: str | None = None
    all: bool = False
    limit: int = Field(default=bodies.MAX_ITEMS, ge=1, le=bodies.MAX_ITEMS)


class RetriedAnswer(TypedDict):
    """`passed` counts those whose message or delivery had moved on: there was nothing to retry."""

    retried: int
    passed: int


class PurgedAnswer(TypedDict):
    """How many were deleted."""

    deleted: int


async def index(request: web.Request) -> web.Response:
    """Dead letters, queue by queue."""
    query = parsed_query(request, DeadQuery)
    names = _queues(request, query.queue)
    named, _, after = (query.after or "").partition("/")  # a cursor is a queue and the place in it
    if named in names:
        names = names[names.index(named) :]
    letters: list[JobAnswer] = []
    following: str | None = None
    for number, name in enumerate(names):
        wanted = PageQuery(after=after or None, limit=query.limit - len(letters))
        found = await jobs_page(request, name, JobState.DEAD, wanted)
        letters, after = letters + found["data"], ""
        if found["next"]:
            following = f"{name}/{found['next']}"
        elif len(letters) == query.limit and number + 1 < len(names):
            following = f"{names[number + 1]}/"
        if following:
            break
    return answer(Page[JobAnswer](data=letters, next=following))


async def retry(request: web.Request) -> web.Response:
    """Run dead jobs again, at most 10,000 a call."""
    wanted = await bodies.parsed(request, bodies.DeadFilter)
    retried = passed = 0
    for job in await _matching(request, wanted, bodies.MAX_ITEMS):
        try:
            await retry_job(request.app, job)
            retried += 1
        except (Conflict, NotFound):
            await request.app[need.JOBS].drop_dead(job.queue, job.id)
            passed += 1
    return answer(RetriedAnswer(retried=retried, passed=passed), 202)


async def purge(request: web.Request) -> web.Response:
    """Delete dead jobs. Their messages and deliveries stay as they are."""
    query = parsed_query(request, PurgeQuery)
    if not (query.queue or query.reason or query.all):
        raise InvalidInput(FieldError("all", "give a filter, or all=true to delete every dead letter"))
    wanted = bodies.DeadFilter(queue=query.queue, reason=query.reason)
    found = await _matching(request, wanted, query.limit)
    deleted = sum([await request.app[need.JOBS].drop_dead(job.queue, job.id) for job in found])
    return answer(PurgedAnswer(deleted=deleted))


async def retry_job(app: web.Application, job: Job) -> None:
    """Run a dead job again: through the thing it is about when that has a state, else with a commit of its own.

    Raises Conflict or NotFound when the thing moved on.
    """
    if job.queue == SEND:
        await app[need.MESSAGING].retry(job.tenant, orjson.loads(job.payload)["message_id"])
    elif job.queue == DELIVERY:
        await app[need.RETRY_DELIVERY](job.tenant, orjson.loads(job.payload)["delivery_id"])
    else:
        now = app[need.NOW_MS]()
        await app[need.ENQUEUE]([replace(job, created_at=now, due_at=0, attempt=1, crashes=0)])
    await app[need.JOBS].drop_dead(job.queue, job.id)


async def _matching(request: web.Request, wanted: bodies.DeadFilter, limit: int) -> list[Job]:
    """The caller's dead jobs that fit, at most `limit`; all are read before anything is done to them."""
    tenant, ids = key_of(request).tenant, None if wanted.ids is None else frozenset(wanted.ids)
    fitting: list[Job] = []
    for queue in _queues(request, wanted.queue):
        after: str | None = None
        while len(fitting) < limit:
            found = await request.app[need.JOBS].list_jobs(queue, JobState.DEAD, after, STEP)
            letters = [(view, view.job) for view in found.jobs if view.job and view.job.tenant == tenant]
            fitting += [job for view, job in letters if _fits(view, wanted.reason, ids)]
            after = found.next
            if after is None:
                break
    return fitting[:limit]


def _fits(view: JobView, reason: str | None, ids: frozenset[str] | None) -> bool:
    return reason in (None, view.reason) and (ids is None or view.id in ids)


def _queues(request: web.Request, named: str | None) -> list[str]:
    """This queue, or all. Raises NotFound."""
    queues = request.app[need.QUEUES]
    if named is not None and named not in queues:
        raise NotFound(f"there is no queue {named}")
    return [named] if named else list(queues)
