"""Batches and chains: jobs that belong together, and what happens when all of them have ended."""

from collections.abc import Sequence
from itertools import zip_longest

import orjson
from aiohttp import web
from pydantic import Field, ValidationError
from typing_extensions import TypedDict

from zapd.batches import callback_of
from zapd.errors import Conflict, FieldError, InvalidInput, NotFound
from zapd.jobs.job import Job
from zapd.model.access import within_tenant
from zapd.model.batch import Batch, BatchKind, BatchState, Member, MemberState
from zapd.web import bodies, problems
from zapd.web import dependencies as need
from zapd.web.answers import Json, Time, answer, at
from zapd.web.auth import key_of
from zapd.web.jobs import made_job
from zapd.web.pages import IdPage, PageQuery, after_id, by_id, page, parsed_query


class BatchesQuery(IdPage):
    """Which batches, the newest first."""

    after: str | None = after_id("bat")
    state: BatchState | None = None


class BatchAnswer(TypedDict):
    """A batch. `failed` counts what was given up or canceled, and the steps of a chain that were skipped after it.

    `callback_job` is the job that its end made.
    """

    id: str
    kind: str
    state: str
    total: int
    succeeded: int
    failed: int
    pending: int
    created_at: Time
    ended_at: Time | None
    callback_job: str | None


class CreatedBatch(TypedDict):
    """The ids of its jobs, in the order of the request; those of a chain's later steps are no jobs yet."""

    id: str
    kind: str
    state: str
    total: int
    jobs: list[str]


class MemberAnswer(TypedDict):
    """A job of a batch; blocked: a step whose turn has not come."""

    job_id: str
    position: int
    queue: str
    state: str
    result: Json
    error: str | None
    ended_at: Time | None


class MembersQuery(PageQuery):
    """A page of the jobs of a batch, in their order."""

    after: str | None = Field(default=None, pattern="^[0-9]{1,6}$")


async def create(request: web.Request) -> web.Response:
    """Enqueue jobs that belong together: `jobs` side by side, or `chain` one after the other. All of them or none."""
    body, tenant = await _parsed(request), key_of(request).tenant
    if body.jobs is not None:
        kind, jobs = BatchKind.BATCH, _jobs(request, "jobs", body.jobs, [spec.id for spec in body.jobs])
    else:
        kind, jobs = BatchKind.CHAIN, _jobs(request, "chain", body.chain or [])
    callback = await _callback(request, body.callback)
    try:
        batch = await request.app[need.BATCHES].create(tenant, body.id, kind, jobs, callback)
    except Conflict as error:
        raise await _taken(request, body.jobs or [], jobs) or error from None
    ids = [within_tenant(tenant, job.id) for job in jobs]
    return answer(CreatedBatch(id=batch.id, kind=batch.kind, state=batch.state, total=batch.total, jobs=ids), 202)


async def _taken(request: web.Request, specs: Sequence[bodies.BatchJob], jobs: Sequence[Job]) -> Conflict | None:
    """Which of the client's own ids another job has."""
    for number, (spec, job) in enumerate(zip(specs, jobs, strict=False)):
        if spec.id is not None and await request.app[need.OUTBOX].get(job.tenant, job.id) is not None:
            return Conflict(f"jobs.{number}.id: job {spec.id} is there already, and none was added")
    return None


async def index(request: web.Request) -> web.Response:
    """Batches and chains, the newest first."""
    query = parsed_query(request, BatchesQuery)
    rows = request.app[need.BATCH_ROWS]
    found = await rows.listed(key_of(request).tenant, state=query.state, after=query.after, limit=query.limit + 1)
    shown = page(found, query.limit, lambda batch: batch, by_id("bat"))
    return answer({**shown, "data": [await _shown(request, batch) for batch in shown["data"]]})


async def show(request: web.Request) -> web.Response:
    """One batch, with what has become of its jobs so far."""
    return answer(await _shown(request, await _existing(request)))


async def members(request: web.Request) -> web.Response:
    """The jobs of a batch, with their results."""
    query, batch = parsed_query(request, MembersQuery), await _existing(request)
    after = -1 if query.after is None else int(query.after)
    found = await request.app[need.BATCH_ROWS].members(batch.tenant, batch.id, after=after, limit=query.limit + 1)
    return answer(page(found, query.limit, _member, lambda member: str(member.position)))


async def _parsed(request: web.Request) -> bodies.CreateBatch:
    raw = await bodies.raw(request, request.app[need.JOB_LIMITS].body)
    try:
        return bodies.CreateBatch.model_validate_json(raw or b"{}")
    except ValidationError as error:
        raise problems.of_validation(error) from None


def _jobs(
    request: web.Request, field: str, specs: Sequence[bodies.BatchStep], ids: Sequence[str | None] = ()
) -> list[Job]:
    """All jobs, or InvalidInput naming what is wrong with each. `ids`: those that the client wants."""
    made: list[Job] = []
    wrong: list[FieldError] = []
    seen: set[str] = set()
    for number, (spec, job_id) in enumerate(zip_longest(specs, ids)):
        try:
            if job_id in seen:
                raise InvalidInput(FieldError("id", "is there twice"))
            seen.update([job_id] if job_id else [])
            made.append(made_job(request, _own(request, spec.queue), spec, job_id=job_id))
        except InvalidInput as error:
            wrong += [FieldError(f"{field}.{number}.{problem.field}", problem.rule) for problem in error.fields]
    if wrong:
        raise InvalidInput(*wrong[:100])
    return made


async def _callback(request: web.Request, wanted: bodies.BatchCallback | None) -> bytes | None:
    if wanted is None:
        return None
    job: Job | None = None
    if wanted.queue is not None:
        try:
            job = made_job(request, _own(request, wanted.queue), wanted)
        except InvalidInput as error:
            raise InvalidInput(*[FieldError(f"callback.{e.field}", e.rule) for e in error.fields]) from None
    if wanted.endpoint_id is not None:
        tenant = key_of(request).tenant
        if await request.app[need.ENDPOINT_ROWS].get(tenant, wanted.endpoint_id) is None:
            raise InvalidInput(FieldError("callback.endpoint_id", "there is no such endpoint"))
    return callback_of(job, wanted.endpoint_id)


def _own(request: web.Request, queue: str) -> str:
    own = [name for name, settings in request.app[need.QUEUES].items() if settings.action]
    if queue not in own:
        raise InvalidInput(FieldError("queue", f"should be one of: {', '.join(own) or 'there is none yet'}"))
    return queue


async def _existing(request: web.Request) -> Batch:
    batch_id = request.match_info["id"]
    batch = await request.app[need.BATCH_ROWS].get(key_of(request).tenant, batch_id)
    if batch is None:
        raise NotFound(f"there is no batch {batch_id}")
    return batch


async def _shown(request: web.Request, batch: Batch) -> BatchAnswer:
    succeeded, failed = batch.succeeded, batch.failed
    if batch.state is BatchState.OPEN:
        counts = await request.app[need.BATCH_ROWS].counts(batch.tenant, batch.id)
        succeeded = counts[MemberState.SUCCEEDED]
        failed = counts[MemberState.FAILED] + counts[MemberState.SKIPPED]
    return {
        "id": batch.id,
        "kind": batch.kind,
        "state": batch.state,
        "total": batch.total,
        "succeeded": succeeded,
        "failed": failed,
        "pending": batch.total - succeeded - failed,
        "created_at": at(batch.created_at) or "",
        "ended_at": at(batch.ended_at),
        "callback_job": batch.callback_job,
    }


def _member(member: Member) -> MemberAnswer:
    return {
        "job_id": within_tenant(member.tenant, member.job_id),
        "position": member.position,
        "queue": member.queue,
        "state": member.state,
        "result": None if member.result is None else orjson.Fragment(member.result),
        "error": member.error,
        "ended_at": at(member.ended_at),
    }
