"""Jobs: put into the operator's own queues, read, run again, delete."""

import asyncio
from collections.abc import Iterator
from typing import Any, NotRequired

import orjson
from aiohttp import web
from pydantic import ValidationError
from typing_extensions import TypedDict

from zapd.errors import Conflict, FieldError, InvalidInput, NotFound
from zapd.jobs.inspect import JobView
from zapd.jobs.job import Job
from zapd.messaging.accounts import SEND
from zapd.web import answers, bodies, problems
from zapd.web import dependencies as need
from zapd.web.answers import answer
from zapd.web.auth import key_of
from zapd.web.dead_letters import retry_job
from zapd.web.dependencies import JobState
from zapd.web.openapi import Rule
from zapd.web.queues import existing

SLICE = 200  #: items checked before the loop gets its turn


class RetriedJob(TypedDict):
    """The dead job runs again."""

    id: str
    status: str


class ItemAnswer(TypedDict):
    """`status`: queued, exists (a live job has this id) or invalid (see `errors`)."""

    id: str | None
    status: str
    errors: NotRequired[list[Rule]]


class ItemsAnswer(TypedDict):
    """One result for each job, in the order of the request."""

    data: list[ItemAnswer]


async def enqueue(request: web.Request) -> web.Response:
    """Put jobs into a queue; each item gets its own result. The 202 is given after the commit."""
    queue = existing(request)
    if not request.app[need.QUEUES][queue].action:
        raise InvalidInput(FieldError("queue", "jobs can be put only into queues that the configuration defines"))
    body = await bodies.parsed(request, bodies.EnqueueJobs)
    made: list[Job | InvalidInput] = []
    for start in range(0, len(body.jobs), SLICE):
        made += [_made(request, queue, item) for item in body.jobs[start : start + SLICE]]
        await asyncio.sleep(0)  # other requests and sends go on meanwhile
    taken = iter(await request.app[need.ENQUEUE]([job for job in made if isinstance(job, Job)]))
    return answer(ItemsAnswer(data=[_result(job, taken) for job in made]), 202)


async def show(request: web.Request) -> web.Response:
    """One job, in whatever queue it is."""
    return answer(answers.job(await _found(request)))


async def retry(request: web.Request) -> web.Response:
    """Run a dead job again."""
    view = await _found(request)
    if view.state != JobState.DEAD or view.job is None:
        raise Conflict(f"a job that is {view.state} cannot be retried; dead ones can")
    await retry_job(request.app, view.job)
    return answer(RetriedJob(id=view.id, status="queued"), 202)


async def delete(request: web.Request) -> web.Response:
    """Drop a dead job, or cancel one that waits."""
    view = await _found(request)
    queues = request.app[need.QUEUES]
    if view.state == JobState.DEAD:
        await request.app[need.JOBS].drop_dead(view.queue, view.id)
    elif view.queue == SEND and view.job is not None:
        await request.app[need.MESSAGING].cancel(view.job.tenant, orjson.loads(view.job.payload)["message_id"])
    elif not queues[view.queue].action:
        raise Conflict(f"jobs of {view.queue} are zapd's own: they cannot be canceled")
    elif not await request.app[need.CANCEL_JOB](key_of(request).tenant, view.queue, view.id):
        raise Conflict("the job runs at this moment, or has just ended")
    return web.Response(status=204)


async def _found(request: web.Request) -> JobView:
    job_id, tenant = request.match_info["id"], key_of(request).tenant
    queues, jobs = request.app[need.QUEUES], request.app[need.JOBS]
    for queue in queues:
        view = await jobs.job(queue, job_id)
        if view is not None and (view.job is None or view.job.tenant == tenant):
            return view
    raise NotFound(f"there is no job {job_id}")


def _made(request: web.Request, queue: str, item: Any) -> Job | InvalidInput:
    try:
        wanted = bodies.JobItem.model_validate(item)
        payload = bodies.as_json(wanted.payload)
    except ValidationError as error:
        return problems.of_validation(error)
    except InvalidInput as error:
        return error
    return Job(
        id=wanted.id or request.app[need.IDS].new("job"),
        queue=queue,
        payload=payload,
        priority=wanted.priority or request.app[need.QUEUES][queue].priority,
        created_at=request.app[need.NOW_MS](),
        kind=wanted.kind,
        lane=wanted.lane,
        due_at=bodies.ms(wanted.run_at) or 0,
        tenant=key_of(request).tenant,
    )


def _result(job: Job | InvalidInput, taken: Iterator[bool]) -> ItemAnswer:
    if isinstance(job, InvalidInput):
        return {"id": None, "status": "invalid", "errors": [{"field": f.field, "rule": f.rule} for f in job.fields]}
    return {"id": job.id, "status": "queued" if next(taken) else "exists"}
