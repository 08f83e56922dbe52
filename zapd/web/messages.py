"""Messages: send, history, one message, its whole life, retry, cancel."""

import hashlib
from typing import Any, Literal

import orjson
from aiohttp import web
from pydantic import ValidationError
from typing_extensions import TypedDict

from zapd.announce import iso
from zapd.errors import Conflict, FieldError, InvalidInput, NotFound, Unavailable
from zapd.messaging.accounts import SEND
from zapd.messaging.bulk import BulkRequest
from zapd.messaging.submit import Submit
from zapd.model.access import ApiKey
from zapd.model.message import Direction, Message, MessageStatus
from zapd.model.session import SessionState
from zapd.web import answers, bodies, problems
from zapd.web import dependencies as need
from zapd.web.answers import Json, MessageAnswer, Time, answer
from zapd.web.auth import key_of, visible
from zapd.web.connections import existing
from zapd.web.dependencies import JobState
from zapd.web.openapi import Rule
from zapd.web.pages import IdPage, Query, after_id, by_id, page, parsed_query
from zapd.whatsapp.numbers import recipient

#: A message whose job has not ended.
_UNDER_WAY = frozenset({MessageStatus.QUEUED, MessageStatus.PROCESSING, MessageStatus.SENDING, MessageStatus.FAILED})


class SendQuery(Query):
    """`require=connected`: refuse with 409 instead of holding the message until the session is connected."""

    require: Literal["connected"] | None = None


class HistoryQuery(IdPage):
    """Which messages of the connection; the oldest first."""

    after: str | None = after_id("msg")
    direction: Direction | None = None
    status: MessageStatus | None = None


class SubmittedAnswer(TypedDict):
    """The message is kept and will be sent."""

    id: str
    status: str
    job_id: str


class BulkItem(TypedDict):
    """`status`: queued, or refused with what is wrong."""

    id: str | None
    status: str
    job_id: str | None
    errors: list[Rule]


class BulkAnswer(TypedDict):
    """One result for each message, in the order of the request."""

    data: list[BulkItem]


class Moment(TypedDict):
    """One entry of a timeline. `kind`: message, event, job, delivery or attempt."""

    at: Time
    kind: str
    id: str
    what: str
    detail: Json


class Timeline(TypedDict):
    """A message and what happened to it, in order."""

    message: MessageAnswer
    data: list[Moment]


async def send(request: web.Request) -> web.Response:
    """Accept a message. The 202 is given after the commit that holds it."""
    key = key_of(request)
    connection_id = request.match_info["connection"]
    body = await bodies.parsed(request, bodies.SendMessage)
    if request.query_string:
        await _check_requirement(request)
    idempotency_key = bodies.idempotency_key(request)
    fingerprint = hashlib.sha256(await bodies.whole(request)).digest() if idempotency_key else None
    submitted = await request.app[need.MESSAGING].submit(
        _submit_of(key, connection_id, body, idempotency_key, fingerprint)
    )
    shown = {"id": submitted.id, "status": submitted.status, "job_id": submitted.job_id}
    return answer(shown, 202, {"Idempotency-Replayed": "true"} if submitted.repeated else None)


async def bulk(request: web.Request) -> web.Response:
    """Accept up to 1,000 messages in one commit; each gets its own result. The 202 is given after the commit."""
    key, connection_id = key_of(request), (await existing(request)).id
    body = await bodies.parsed(request, bodies.SendBulk)
    idempotency_key = bodies.idempotency_key(request)
    results, repeated = await request.app[need.BULK].submit(
        BulkRequest(
            tenant=key.tenant,
            connection_id=connection_id,
            items=[_item(key, connection_id, item) for item in body.messages],
            idempotency_key=idempotency_key,
            fingerprint=hashlib.sha256(await request.read()).digest() if idempotency_key else None,
        )
    )
    return answer({"data": results}, 202, {"Idempotency-Replayed": "true"} if repeated else None)


def _item(key: ApiKey, connection_id: str, item: Any) -> Submit | InvalidInput:
    try:
        body = bodies.SendMessage.model_validate_json(orjson.dumps(item))
        return _submit_of(key, connection_id, body)
    except ValidationError as error:
        return problems.of_validation(error)
    except (InvalidInput, orjson.JSONEncodeError) as error:
        return error if isinstance(error, InvalidInput) else InvalidInput(FieldError("message", str(error)))


def _submit_of(
    key: ApiKey,
    connection_id: str,
    body: bodies.SendMessage,
    idempotency_key: str | None = None,
    fingerprint: bytes | None = None,
) -> Submit:
    return Submit(
        tenant=key.tenant,
        connection_id=connection_id,
        to=body.to,
        type=body.type,
        payload=bodies.as_json(body.payload),
        message_id=body.message_id,
        priority=body.priority,
        send_at=bodies.ms(body.send_at),
        expires_at=bodies.ms(body.expires_at),
        reply_to=body.reply_to,
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
        bound=key.connection_id is not None,
    )


async def history(request: web.Request) -> web.Response:
    """The messages of one connection."""
    query = parsed_query(request, HistoryQuery)
    connection = await existing(request)
    found = await request.app[need.MESSAGES].history(
        connection.tenant,
        connection.id,
        direction=query.direction,
        status=query.status,
        after=query.after,
        limit=query.limit + 1,
    )
    return answer(page(found, query.limit, answers.message, by_id("msg")))


async def show(request: web.Request) -> web.Response:
    """One message."""
    return answer(answers.message(await _visible_message(request)))


async def timeline(request: web.Request) -> web.Response:
    """Everything that happened to one message, in order: events, its live job, deliveries and their attempts."""
    message = await _visible_message(request)
    moments = [
        *await _events_of(request, message),
        *await _deliveries_of(request, message),
        *await _job_of(request, message),
    ]
    moments.sort(key=lambda moment: moment["at"])
    return answer(Timeline(message=answers.message(message), data=moments))


async def retry(request: web.Request) -> web.Response:
    """Queue a message again that failed, is held, expired or was given up."""
    message = await _visible_message(request)
    return answer(answers.message(await request.app[need.MESSAGING].retry(message.tenant, message.id)), 202)


async def cancel(request: web.Request) -> web.Response:
    """Take a message back while it waits."""
    message = await _visible_message(request)
    return answer(answers.message(await request.app[need.MESSAGING].cancel(message.tenant, message.id)))


async def read(request: web.Request) -> web.Response:
    """Mark a message that came in as read, for its sender to see."""
    await request.app[need.PRESENCE].mark_read(await _visible_message(request))
    return web.Response(status=204)


async def typing(request: web.Request) -> web.Response:
    """Show a contact for some seconds that somebody types. On the Cloud API this marks the last message as read too."""
    body = await bodies.parsed(request, bodies.Typing)
    connection_id = request.match_info["connection"]
    await request.app[need.PRESENCE].typing(key_of(request).tenant, connection_id, recipient(body.to))
    return web.Response(status=204)


async def _visible_message(request: web.Request) -> Message:
    message_id = request.match_info["id"]
    message = await request.app[need.MESSAGES].get(key_of(request).tenant, message_id)
    if message is None or not visible(request, message.connection_id):
        raise NotFound(f"there is no message {message_id}")
    return message


async def _check_requirement(request: web.Request) -> None:
    if parsed_query(request, SendQuery).require is None:
        return
    connection = await existing(request)
    if connection.state is not SessionState.CONNECTED:
        raise Conflict(f"the connection is {connection.state}")


async def _events_of(request: web.Request, message: Message) -> list[Moment]:
    events = await request.app[need.EVENTS].of_message(message.tenant, message.id)
    return [_moment(e.created_at, "event", e.id, e.type, answers.event(e)["data"]) for e in events]


async def _deliveries_of(request: web.Request, message: Message) -> list[Moment]:
    deliveries = request.app[need.DELIVERIES]
    moments = []
    for d in await deliveries.of_message(message.tenant, message.id):
        moments.append(_moment(d.created_at, "delivery", d.id, d.state, answers.delivery(d)))
        for a in await deliveries.attempts(message.tenant, d.id):
            result = a.failure or "delivered"
            moments.append(_moment(a.started_at, "attempt", f"{d.id}/{a.number}", result, answers.attempt(a)))
    return moments


async def _job_of(request: web.Request, message: Message) -> list[Moment]:
    try:
        found = await request.app[need.JOBS].job(SEND, message.job_id) if message.job_id else None
    except Unavailable:
        found = None  # Redis is away: the rest of the story is in SQL
    if found is not None and found.state == JobState.COMPLETED:
        return [_moment(found.at, "job", found.id, "ended", answers.job(found))]
    if found is not None:
        return [_moment(message.created_at, "job", found.id, found.state, answers.job(found))]
    if message.job_id is None or message.status in _UNDER_WAY:
        return []
    return [_moment(message.created_at, "job", message.job_id, "ended", {"id": message.job_id, "queue": SEND})]


def _moment(at: int, kind: str, thing: str, what: str, detail: Any) -> Moment:
    return Moment(at=iso(at), kind=kind, id=thing, what=what, detail=detail)
