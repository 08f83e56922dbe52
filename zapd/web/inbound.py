"""`POST /hooks/{source}`: webhooks of other systems, and the quarantine of those that were refused.

The body is read as bytes, within the source's limit and the deadline, before anything is made of it. A refusal names
the check that failed; what would help a forger stays in the quarantine.
"""

import asyncio

import orjson
from aiohttp import web
from typing_extensions import TypedDict

from zapd.announce import iso
from zapd.errors import Conflict, Forbidden, NotFound
from zapd.events.call import Call, Rejected, redacted
from zapd.events.quarantine import unpacked
from zapd.model.hub import Quarantined
from zapd.telemetry.redaction import redacted as masked_text
from zapd.web import bodies, problems
from zapd.web import dependencies as need
from zapd.web.answers import Json, Time, answer
from zapd.web.auth import key_of
from zapd.web.pages import IdPage, Query, after_id, by_id, page, parsed_query

PREVIEW = 2_000  #: characters of a refused body that are shown
_STATUS = {
    **dict.fromkeys(("signature", "timestamp", "api-key", "token", "basic"), 401),
    **dict.fromkeys(("json", "form", "headers"), 400),
    "content-type": 415,
    "body": 413,
}


class TakenAnswer(TypedDict):
    """The webhook is kept as this event. `duplicate`: it came before."""

    id: str
    duplicate: bool


class QuarantineQuery(IdPage):
    """Which refused calls; the oldest first."""

    after: str | None = after_id("qrn")
    source: str | None = None


class PurgeQuarantine(Query):
    """Whose refused calls to throw away; none named: all."""

    source: str | None = None


class QuarantinedAnswer(TypedDict):
    """A call that was refused, and by which check. Secrets are masked."""

    id: str
    source: str
    check: str
    detail: str
    size: int
    received_at: Time
    kept: bool


class QuarantinedWhole(QuarantinedAnswer):
    """With what is left of it: headers, the beginning of the body with numbers and secrets masked."""

    headers: Json
    body: str | None


class RetriedCalls(TypedDict):
    """`accepted` were taken in; `refused` still are."""

    accepted: int
    refused: int


class DroppedCalls(TypedDict):
    """How many were thrown away."""

    deleted: int


async def receive(request: web.Request) -> web.Response:
    """Take a webhook in: verify, drop a repeat, keep, 202."""
    name, ingest = request.match_info["source"], request.app[need.INGEST]
    remote = request.app[need.ACCESS].address_of(request)
    limit = ingest.admit(name, remote)
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        return problems.problem(415, "content-encoding: the body must not be compressed")
    try:
        async with asyncio.timeout(request.app[need.HOOK_DEADLINE]):
            raw = await bodies.raw(request, limit)
    except TimeoutError:
        request.protocol.force_close()
        return problems.problem(408, "body: it did not come in time")
    call = Call(
        headers=tuple((key.lower(), value) for key, value in request.headers.items()),
        query=dict(request.query.items()),
        raw=raw,
        remote=remote,
    )
    try:
        taken = await ingest.take(name, call)
    except Rejected as error:
        return problems.problem(_STATUS.get(error.check, 422), f"{error.check}: {error.hint}")
    return answer(TakenAnswer(id=taken.event_id, duplicate=taken.repeated), 202)


async def handshake(request: web.Request) -> web.Response:
    """Meta asks whether this URL is ours: its challenge goes back when the token is the source's."""
    challenge = request.app[need.INGEST].handshake(request.match_info["source"], dict(request.query))
    if challenge is None:
        raise Forbidden("the verify token is not this source's")
    return web.Response(text=challenge, headers={"X-Content-Type-Options": "nosniff"})


async def quarantined(request: web.Request) -> web.Response:
    """The calls that were refused."""
    query = parsed_query(request, QuarantineQuery)
    found = await request.app[need.QUARANTINE].listed(
        key_of(request).tenant, source=query.source, after=query.after, limit=query.limit + 1
    )
    return answer(page(found, query.limit, _shown, by_id("qrn")))


async def show(request: web.Request) -> web.Response:
    """One refused call, with what is left of it."""
    row = await request.app[need.QUARANTINE].show(key_of(request).tenant, request.match_info["id"])
    headers, body = {}, None
    if row.sealed:
        call = unpacked(row.sealed)
        headers, body = orjson.loads(redacted(call.headers)), masked_text(call.raw[:PREVIEW].decode(errors="replace"))
    return answer(QuarantinedWhole(**_shown(row), headers=headers, body=body))


async def retry(request: web.Request) -> web.Response:
    """Verify a refused call by today's rules, at the time when it came, and take it in."""
    try:
        taken = await request.app[need.QUARANTINE].retry(key_of(request).tenant, request.match_info["id"])
    except Rejected as error:
        raise Conflict(f"it is still refused: {error.check}: {error}") from None
    return answer(TakenAnswer(id=taken.event_id, duplicate=taken.repeated), 202)


async def retry_all(request: web.Request) -> web.Response:
    """Try many refused calls again."""
    body = await bodies.parsed(request, bodies.RetryQuarantine)
    tenant, quarantine = key_of(request).tenant, request.app[need.QUARANTINE]
    counts = RetriedCalls(accepted=0, refused=0)
    for row in await quarantine.listed(tenant, source=body.source, after=None, limit=body.limit):
        try:
            await quarantine.retry(tenant, row.id)
            counts["accepted"] += 1
        except (Rejected, Conflict, NotFound):
            counts["refused"] += 1
    return answer(counts, 202)


async def drop(request: web.Request) -> web.Response:
    """Throw a refused call away."""
    await request.app[need.QUARANTINE].drop(key_of(request).tenant, request.match_info["id"])
    return web.Response(status=204)


async def drop_all(request: web.Request) -> web.Response:
    """Throw refused calls away, at most 1,000 at once."""
    query = parsed_query(request, PurgeQuarantine)
    tenant, quarantine = key_of(request).tenant, request.app[need.QUARANTINE]
    found = await quarantine.listed(tenant, source=query.source, after=None, limit=bodies.MAX_CALLS)
    deleted = 0
    for row in found:
        try:
            await quarantine.drop(tenant, row.id)
            deleted += 1
        except NotFound:
            continue
    return answer(DroppedCalls(deleted=deleted))


def _shown(row: Quarantined) -> QuarantinedAnswer:
    return {
        "id": row.id,
        "source": row.source,
        "check": row.check,
        "detail": row.detail,
        "size": row.size,
        "received_at": iso(row.received_at),
        "kept": bool(row.sealed),
    }
