"""Jobs: put into the operator's own queues, read, run again, canceled."""

import asyncio
import hashlib
from collections.abc import Iterator
from contextlib import suppress
from typing import NotRequired

import orjson
from aiohttp import web
from pydantic import ValidationError
from typing_extensions import TypedDict

from zapd.announce import iso
from zapd.enqueue import Policy, Status, Taken, Unique, Wanted
from zapd.errors import Conflict, FieldError, InvalidInput, NotFound, Unavailable
from zapd.jobs.inspect import JobView
from zapd.jobs.job import Job
from zapd.jobs.notes import Noted
from zapd.messaging.accounts import SEND
from zapd.model.access import among_tenants, within_tenant
from zapd.model.dead_letter import DeadLetter
from zapd.outbox import job_of
from zapd.store.outbox import OutboxRow
from zapd.web import answers, bodies, items, problems
from zapd.web import dependencies as need
from zapd.web.answers import answer
from zapd.web.auth import key_of
from zapd.web.dependencies import JobState
from zapd.web.openapi import Rule
from zapd.web.queues import existing

SLICE = 200  #: items checked before the loop gets its turn


class RetriedJob(TypedDict):
    """The dead job runs again."""

    id: str
    status: str


class ItemAnswer(TypedDict):
    """`status`: queued, exists (`id` is the live job), rejected, replaced (`replaced` is canceled), or invalid."""

    id: str | None
    status: str
    replaced: NotRequired[str]
    errors: NotRequired[list[Rule]]


class ItemsAnswer(TypedDict):
    """One result for each job, in the order of the request."""

    data: list[ItemAnswer]


async def enqueue(request: web.Request) -> web.Response:
    """Put 1 to 10,000 jobs into a queue; each item gets its own result. The 202 is given after the commit."""
    queue = own_queue(request)
    found = items.read(await bodies.raw(request, request.app[need.JOB_LIMITS].body))
    made: list[Wanted | InvalidInput] = []
    for start in range(0, len(found), SLICE):
        made += [_made(request, queue, item) for item in found[start : start + SLICE]]
        await asyncio.sleep(0)  # other requests and sends go on meanwhile
    good = [wanted for wanted in made if isinstance(wanted, Wanted)]
    taken = iter(await request.app[need.ENQUEUER].add(good))
    return answer(ItemsAnswer(data=[_result(one, taken) for one in made]), 202)


async def show(request: web.Request) -> web.Response:
    """One job, in whatever queue it is: its state, tries, progress, log, error and payload."""
    return answer(await _whole(request, *await _found(request)))


async def retry(request: web.Request) -> web.Response:
    """Run a dead job again."""
    view, letter = await _found(request)
    if letter is None:
        raise Conflict(f"a job that is {view.state} cannot be retried; dead ones can")
    await request.app[need.DEAD].retry(letter)
    return answer(RetriedJob(id=within_tenant(letter.tenant, letter.id), status="queued"), 202)


async def update(request: web.Request) -> web.Response:
    """Another priority for a job that waits or is delayed: it goes behind those that wait there."""
    body = await bodies.parsed(request, bodies.ChangeJob)
    view, letter = await _found(request)
    if letter is not None or view.job is None:
        raise Conflict(f"a job that is {view.state} has no priority to change; one that waits has")
    moved = await request.app[need.REPRIORITIZE](view.job.tenant, view.queue, view.id, body.priority)
    if moved is False:
        raise Conflict("the job runs at this moment")
    return answer(await _whole(request, *await _found(request)))


async def delete(request: web.Request) -> web.Response:
    """Cancel a job that waits, is delayed or runs; drop one that is dead."""
    tenant, queues = key_of(request).tenant, request.app[need.QUEUES]
    row = await _row(request, tenant)
    if row is not None and row.queue in queues and queues[row.queue].action:  # SQL decides, also while Redis is away
        if await request.app[need.ENQUEUER].take_back(tenant, row.id) is None:
            raise Conflict("the job has just ended")
        return web.Response(status=204)
    view, letter = await _found(request)
    if letter is not None:
        await request.app[need.DEAD].drop(letter)
    elif view.queue == SEND and view.job is not None:
        await request.app[need.MESSAGING].cancel(view.job.tenant, orjson.loads(view.job.payload)["message_id"])
    elif not queues[view.queue].action:
        raise Conflict(f"jobs of {view.queue} are zapd's own: they cannot be canceled")
    else:
        raise Conflict("the job has just ended")
    return web.Response(status=204)


async def _found(request: web.Request) -> tuple[JobView, DeadLetter | None]:
    """The job, and its letter when it is dead. SQL knows every job that has not ended; Redis knows its state."""
    tenant = key_of(request).tenant
    row = await _row(request, tenant)
    if row is not None and row.queue in request.app[need.QUEUES]:
        view = None
        with suppress(Unavailable):  # what SQL knows is shown
            view = await request.app[need.JOBS].job(row.queue, row.id)
        if view is None or _is_earlier(view, row.created_at):  # committed, and not in Redis yet or any more
            state = JobState.DELAYED if row.due_at > request.app[need.NOW_MS]() else JobState.WAITING
            view = JobView(id=row.id, queue=row.queue, state=state, at=row.due_at, attempt=1, job=job_of(row))
        return view, None
    for job_id in _names(request, tenant):
        letter = await request.app[need.DEAD].get(tenant, job_id)
        if letter is not None:
            return answers.view_of(letter), letter
    return await _in_redis(request, tenant), None


def _names(request: web.Request, tenant: str) -> list[str]:
    """What the job of the path may be called inside: an id that the tenant chose, or one of ours."""
    job_id = request.match_info["id"]
    return list(dict.fromkeys((among_tenants(tenant, job_id), job_id)))


async def _row(request: web.Request, tenant: str) -> OutboxRow | None:
    """The row of a job that has not ended."""
    for job_id in _names(request, tenant):
        row = await request.app[need.OUTBOX].get(tenant, job_id)
        if row is not None:
            return row
    return None


def _is_earlier(view: JobView, created_at: int) -> bool:
    """Whether it tells of a job that had the same id before."""
    return view.state == JobState.DEAD or (view.state == JobState.COMPLETED and view.at < created_at)


async def _in_redis(request: web.Request, tenant: str) -> JobView:
    """A job without a row has ended: of the newest of each queue Redis knows how. Raises NotFound."""
    jobs, queues = request.app[need.JOBS], request.app[need.QUEUES]
    views = [await jobs.job(queue, name) for name in _names(request, tenant) for queue in queues]
    own = [view for view in views if view and view.state != JobState.DEAD and view.tenant in ("", tenant)]
    if not own:
        raise NotFound(f"there is no job {request.match_info['id']}")
    return max(own, key=lambda view: (view.state != JobState.COMPLETED, view.at))


async def _whole(request: web.Request, view: JobView, letter: DeadLetter | None) -> answers.JobAnswer:
    shown = answers.job(view) if letter is None else answers.dead_job(letter)
    told = Noted()
    with suppress(Unavailable):
        told = await request.app[need.NOTES].of(view.queue, view.id)
    since = request.app[need.STARTED](view.queue, view.id)
    shown["started_at"] = answers.at(None if since is None else request.app[need.NOW_MS]() - round(since * 1000))
    shown["progress"], shown["progress_at"] = told.progress, answers.at(told.progress_at)
    shown["error"] = shown["error"] or told.error or None
    shown["logs"] = [{"at": iso(ms), "line": line} for ms, line in told.lines]
    return shown


def own_queue(request: web.Request) -> str:
    """The queue that the path names, one of the operator's. Raises NotFound, InvalidInput."""
    queue = existing(request)
    if not request.app[need.QUEUES][queue].action:
        own = [name for name, settings in request.app[need.QUEUES].items() if settings.action]
        rule = "jobs can be put only into queues that the configuration defines"
        raise InvalidInput(FieldError("queue", f"{rule}: {', '.join(own) or 'there is none yet'}"))
    return queue


def _made(request: web.Request, queue: str, item: items.Item) -> Wanted | InvalidInput:
    if isinstance(item, InvalidInput):
        return item
    try:
        wanted = bodies.JobItem.model_validate(item)
        job = made_job(request, queue, wanted, job_id=wanted.id, due_at=bodies.ms(wanted.run_at) or 0)
        return _unique(request, wanted, job)
    except ValidationError as error:
        return problems.of_validation(error)
    except InvalidInput as error:
        return error


def made_job(
    request: web.Request, queue: str, spec: bodies.JobSpec, *, job_id: str | None = None, due_at: int = 0
) -> Job:
    """A job of an own queue. Raises InvalidInput."""
    settings, tenant = request.app[need.QUEUES][queue], key_of(request).tenant
    if settings.kinds and spec.kind not in settings.kinds:
        known = ", ".join(kind or "jobs without a kind" for kind in settings.kinds)
        raise InvalidInput(FieldError("kind", f"{queue} takes {known}"))
    return Job(
        id=among_tenants(tenant, job_id) if job_id else request.app[need.IDS].new("job"),
        queue=queue,
        payload=items.payload_of(spec.payload, request.app[need.JOB_LIMITS].payload),
        priority=spec.priority or settings.priority,
        created_at=request.app[need.NOW_MS](),
        kind=spec.kind,
        lane=among_tenants(tenant, spec.lane),
        due_at=due_at,
        tenant=tenant,
    )


def _unique(request: web.Request, wanted: bodies.JobItem, job: Job) -> Wanted:
    """The job with what makes it unique: its own words first, then the queue's."""
    settings = request.app[need.QUEUES][job.queue]
    policy = wanted.unique_policy or (Policy(settings.unique_policy) if settings.unique_policy else None)
    key = wanted.unique_key
    if key is None and policy is not None and wanted.id is None:
        key = hashlib.sha256(b"\0".join((job.kind.encode(), job.lane.encode(), job.payload))).hexdigest()
    if key is None:
        if policy in (Policy.REPLACE, Policy.KEEP_LAST):
            raise InvalidInput(FieldError("id", f"give unique_key instead of id with {policy}"))
        return Wanted(job, policy=policy or Policy.RETURN_EXISTING)
    policy = policy or Policy.RETURN_EXISTING
    if wanted.id is not None and policy in (Policy.REPLACE, Policy.KEEP_LAST):
        raise InvalidInput(FieldError("id", f"cannot be given with {policy}: each job gets an id of its own"))
    window = wanted.unique_for or settings.unique_for
    until = None if window is None else job.created_at + round(window * 1000)
    return Wanted(job, Unique(key, policy, until), policy)


def _result(one: Wanted | InvalidInput, taken: Iterator[Taken]) -> ItemAnswer:
    if isinstance(one, InvalidInput):
        return {"id": None, "status": "invalid", "errors": [{"field": f.field, "rule": f.rule} for f in one.fields]}
    its = next(taken)
    job_id = within_tenant(one.job.tenant, its.id)
    result: ItemAnswer = {"id": job_id, "status": its.status}
    if its.other is not None:
        result["replaced"] = within_tenant(one.job.tenant, its.other)
    if its.status is Status.REJECTED:
        result["errors"] = [{"field": "unique_key" if one.unique else "id", "rule": f"job {job_id} has it"}]
    return result
