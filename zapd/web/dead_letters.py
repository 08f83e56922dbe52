"""Dead letters of all queues: list, inspect, edit, retry, export, delete; alone or by filter."""

from collections.abc import AsyncIterator, Sequence

from aiohttp import web
from pydantic import AwareDatetime, Field
from typing_extensions import TypedDict

from zapd.actions.envelope import changed
from zapd.dead_letters import cursor_of, line_of, place_of
from zapd.errors import FieldError, InvalidInput, NotFound, Unavailable
from zapd.model.access import among_tenants
from zapd.model.dead_letter import DeadFilter, DeadLetter
from zapd.web import answers, bodies, items
from zapd.web import dependencies as need
from zapd.web.answers import Time, answer
from zapd.web.auth import key_of
from zapd.web.pages import PageQuery, Query, page, parsed_query

PIECE = 100  #: lines of an export that are written at once


class ExportQuery(Query):
    """Which dead letters to export. `text` is looked for in error, reason, id, kind and lane."""

    queue: str | None = None
    reason: str | None = None
    kind: str | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    text: str | None = Field(default=None, max_length=200)


class DeadQuery(PageQuery, ExportQuery):
    """Which dead letters, the newest first. `text` is looked for in error, reason, id, kind and lane."""


class PurgeQuery(ExportQuery):
    """Which dead letters to delete. `all=true` stands for no filter."""

    all: bool = False
    limit: int = Field(default=bodies.MAX_ITEMS, ge=1, le=bodies.MAX_ITEMS)


class RetriedAnswer(TypedDict):
    """`passed` counts those whose message or delivery had moved on: there was nothing to retry.

    `last_at` is when the last of them starts: they are spread, so that an outage does not end in a herd.
    """

    retried: int
    passed: int
    last_at: Time | None


class PurgedAnswer(TypedDict):
    """How many were deleted, and how many more fit."""

    deleted: int
    left: int


async def index(request: web.Request) -> web.Response:
    """Dead letters, the newest first."""
    query = parsed_query(request, DeadQuery)
    after = place_of(query.after) if query.after else None
    wanted = _filter(request, query)
    found = await request.app[need.DEAD].listed(_tenant(request), wanted, after=after, limit=query.limit + 1)
    return answer(page(found, query.limit, answers.dead_job, cursor_of))


async def show(request: web.Request) -> web.Response:
    """One dead letter."""
    return answer(answers.dead_job(await _existing(request)))


async def edit(request: web.Request) -> web.Response:
    """Another payload, for when it runs again."""
    body = await bodies.parsed(request, bodies.EditDead)
    letter = await _existing(request)
    stored = _stored(request, letter, body.payload)
    return answer(answers.dead_job(await request.app[need.DEAD].edit(letter.tenant, letter.id, stored)))


async def retry_one(request: web.Request) -> web.Response:
    """Run one dead job again, with another payload if one is given."""
    body = await bodies.parsed(request, bodies.RetryOneDead)
    letter = await _existing(request)
    dead = request.app[need.DEAD]
    if "payload" in body.model_fields_set:
        letter = await dead.edit(letter.tenant, letter.id, _stored(request, letter, body.payload))
    await dead.retry(letter)
    return answer(RetriedAnswer(retried=1, passed=0, last_at=None), 202)


async def retry(request: web.Request) -> web.Response:
    """Run dead jobs again, at most 10,000 a call, the oldest first, spread by `rate`."""
    body = await bodies.parsed(request, bodies.RetryDead)
    wanted = _filter(request, body, None if body.ids is None else _names(request, body.ids))
    retried, passed, last = await request.app[need.DEAD].retry_all(
        _tenant(request), wanted, most=body.limit, rate=body.rate
    )
    last_at = answers.at(request.app[need.NOW_MS]() + last) if retried else None
    return answer(RetriedAnswer(retried=retried, passed=passed, last_at=last_at), 202)


async def delete(request: web.Request) -> web.Response:
    """Delete one dead letter."""
    await request.app[need.DEAD].drop(await _existing(request))
    return web.Response(status=204)


async def purge(request: web.Request) -> web.Response:
    """Delete dead jobs. Their messages and deliveries stay as they are."""
    query = parsed_query(request, PurgeQuery)
    if not query.all and not query.model_fields_set - {"limit", "all"}:
        raise InvalidInput(FieldError("all", "give a filter, or all=true to delete every dead letter"))
    dead, tenant, wanted = request.app[need.DEAD], _tenant(request), _filter(request, query)
    deleted = await dead.purge(tenant, wanted, most=query.limit)
    return answer(PurgedAnswer(deleted=deleted, left=await dead.count(tenant, wanted)))


async def export(request: web.Request) -> web.StreamResponse:
    """Dead letters as JSON lines, the newest first, as many as there are."""
    wanted = _filter(request, parsed_query(request, ExportQuery))
    pieces = _pieces(request.app[need.DEAD].every(_tenant(request), wanted))
    piece = await anext(pieces, b"")  # before the head, so that a refusal is an answer of its own
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    await response.prepare(request)
    try:
        await response.write(piece)
        async for piece in pieces:
            await response.write(piece)
    except Unavailable:  # a second answer inside of this one would look like its end: break off instead
        if request.transport is not None:
            request.transport.abort()
        return response
    await response.write_eof()
    return response


async def _pieces(letters: AsyncIterator[DeadLetter]) -> AsyncIterator[bytes]:
    lines: list[bytes] = []
    async for letter in letters:
        lines.append(line_of(dict(answers.dead_job(letter))))
        if len(lines) >= PIECE:
            yield b"".join(lines)
            lines = []
    yield b"".join(lines)


def _tenant(request: web.Request) -> str:
    return key_of(request).tenant


def _filter(
    request: web.Request, query: ExportQuery | DeadQuery | bodies.RetryDead, ids: tuple[str, ...] | None = None
) -> DeadFilter:
    """Raises NotFound for a queue that does not exist and has no dead letters either."""
    if query.queue is not None and query.queue not in request.app[need.QUEUES]:
        raise NotFound(f"there is no queue {query.queue}; there are {', '.join(request.app[need.QUEUES].keys())}")
    return DeadFilter(
        queue=query.queue,
        reason=query.reason,
        kind=query.kind,
        since=bodies.ms(query.since),
        until=bodies.ms(query.until),
        text=query.text,
        ids=ids,
    )


def _names(request: web.Request, ids: Sequence[str]) -> tuple[str, ...]:
    """What these may be called inside: ids that the tenant chose, or ours."""
    return tuple({name for letter_id in ids for name in (among_tenants(_tenant(request), letter_id), letter_id)})


async def _existing(request: web.Request) -> DeadLetter:
    letter_id, tenant = request.match_info["id"], _tenant(request)
    for name in (among_tenants(tenant, letter_id), letter_id):
        letter = await request.app[need.DEAD].get(tenant, name)
        if letter is not None:
            return letter
    raise NotFound(f"there is no dead letter {letter_id}")


def _stored(request: web.Request, letter: DeadLetter, payload: object) -> bytes:
    return changed(letter.payload, items.payload_of(payload, request.app[need.JOB_LIMITS].payload))
