"""Connections: create, list, read, delete, pause, resume, and the code to scan."""

from aiohttp import web
from typing_extensions import TypedDict

from zapd.announce import iso
from zapd.errors import Conflict, NotFound, Unavailable
from zapd.model.session import Connection, TransportName
from zapd.sessions.requests import CreateConnection, Created, UpdateConnection
from zapd.web import bodies
from zapd.web import dependencies as need
from zapd.web.answers import Time, answer, at
from zapd.web.auth import key_of, only_connection
from zapd.web.pages import IdPage, after_id, by_id, page, parsed_query
from zapd.whatsapp import qr
from zapd.whatsapp.advice import advice
from zapd.whatsapp.numbers import phone_number
from zapd.whatsapp.zapi import ZapiConfig


class ConnectionsQuery(IdPage):
    """Which connections, by id."""

    after: str | None = after_id("con")


class LimitsAnswer(TypedDict):
    """The pace of a session. None: no limit.

    `new_contacts_per_day` is today's, in the warm-up; `quiet_until` says that quiet hours hold now.
    """

    per_minute: int
    burst: int
    recipient_per_minute: int | None
    recipient_burst: int | None
    new_contacts_per_day: int | None
    new_contacts_left: int | None
    new_contacts_paused_until: Time | None
    lookups_per_minute: int | None
    quiet_hours: dict[str, str] | None
    quiet_until: Time | None


class QrAnswer(TypedDict):
    """A code to scan, and until when it is good."""

    qr: str
    expires_at: Time | None


class PairingCodeAnswer(TypedDict):
    """A code to type on the phone, and until when it is good."""

    code: str
    expires_at: Time | None


class ConnectionAnswer(TypedDict):
    """A WhatsApp account. `state` is what it is, `desired` what the operator wants.

    `advice`: what a person can do, where it does not come back by itself.
    """

    id: str
    label: str
    transport: str
    state: str
    reason: str | None
    advice: str | None
    since: Time
    desired: str
    capabilities: list[str]
    qr: QrAnswer | None
    pairing_code: PairingCodeAnswer | None
    limits: LimitsAnswer
    next_send_at: Time | None
    on_ambiguous: str
    created_at: Time


class CreatedAnswer(TypedDict):
    """`webhook_secret` signs what `webhook_url` gets; it is shown this once, as `hook_path` is.

    `hook_path` is where the provider is to send its webhooks, where its path holds a secret.
    """

    id: str
    state: str
    job_id: str
    webhook_secret: str | None
    hook_path: str | None


class ClosingAnswer(TypedDict):
    """The job that closes the connection."""

    id: str
    state: str
    job_id: str


async def create(request: web.Request) -> web.Response:
    """Make a connection; the queue `session:init` starts it."""
    created = await made(request, await bodies.parsed(request, bodies.CreateConnection))
    connection = created.connection
    return answer(
        CreatedAnswer(
            id=connection.id,
            state=connection.state,
            job_id=created.job_id,
            webhook_secret=created.webhook_secret,
            hook_path=hook_path(connection),
        ),
        202,
    )


async def made(request: web.Request, body: bodies.CreateConnection) -> Created:
    """The connection that the body asks for."""
    bodies.as_json(body.config.own, "config")
    return await request.app[need.SESSIONS].create(
        CreateConnection(
            tenant=key_of(request).tenant,
            transport=body.transport,
            label=body.label,
            id=body.id,
            config=body.config.own,
            webhook_url=str(body.webhook_url) if body.webhook_url else None,
            rate_per_minute=body.config.rate_per_minute,
            on_ambiguous=body.config.on_ambiguous,
            limits=body.config.limits,
        )
    )


async def index(request: web.Request) -> web.Response:
    """The connections that the key may see."""
    query = parsed_query(request, ConnectionsQuery)
    only = only_connection(request, None)
    rows = request.app[need.CONNECTIONS]
    if only is not None:
        mine = await rows.get(key_of(request).tenant, only)
        return answer({"data": [await shown(request, mine)] if mine else [], "next": None})
    found = await rows.listed(key_of(request).tenant, after=query.after, limit=query.limit + 1)
    one_page = page(found, query.limit, lambda connection: connection, by_id("con"))
    one_page["data"] = [await shown(request, connection) for connection in one_page["data"]]
    return answer(one_page)


async def show(request: web.Request) -> web.Response:
    """One connection."""
    return answer(await shown(request, await existing(request)))


async def update(request: web.Request) -> web.Response:
    """Change the label, the settings or the pace; what is not given stays. New credentials connect anew."""
    connection = await existing(request)
    body = await bodies.parsed(request, bodies.UpdateConnection)
    bodies.as_json(body.config.own, "config")
    change = UpdateConnection(
        label=body.label,
        config=body.config.own,
        rate_per_minute=body.config.rate_per_minute,
        on_ambiguous=body.config.on_ambiguous,
        limits=body.config.limits,
    )
    changed = await request.app[need.SESSIONS].update(connection.tenant, connection.id, change)
    return answer(await shown(request, changed))


async def delete(request: web.Request) -> web.Response:
    """Close a connection for good; the queue `session:close` does it."""
    connection = await existing(request)
    job_id = await request.app[need.SESSIONS].close(connection.tenant, connection.id)
    return answer(ClosingAnswer(id=connection.id, state="closing", job_id=job_id), 202)


async def pause(request: web.Request) -> web.Response:
    """Send nothing on this connection until it is resumed; what is accepted waits."""
    connection = await existing(request)
    return answer(await shown(request, await request.app[need.SESSIONS].pause(connection.tenant, connection.id)))


async def resume(request: web.Request) -> web.Response:
    """Send again."""
    connection = await existing(request)
    return answer(await shown(request, await request.app[need.SESSIONS].resume(connection.tenant, connection.id)))


async def pair(request: web.Request) -> web.Response:
    """Link the account, anew if it was logged out: by a code to scan, or to type on its phone."""
    connection = await existing(request)
    body = await bodies.parsed(request, bodies.Pair)
    phone = None if body.phone is None else phone_number(body.phone, field="phone")
    paired = await request.app[need.SESSIONS].pair(connection.tenant, connection.id, phone=phone)
    return answer(await shown(request, paired), 202)


async def logout(request: web.Request) -> web.Response:
    """Unlink the account from zapd. What is accepted waits; `pair` links it again."""
    connection = await existing(request)
    return answer(await shown(request, await request.app[need.SESSIONS].logout(connection.tenant, connection.id)))


async def code(request: web.Request) -> web.Response:
    """The code to scan: PNG (also for `*/*`), SVG, text or JSON, as `Accept` asks."""
    connection = await existing(request)
    if connection.qr is None:
        reason = f": {connection.reason}" if connection.reason else ""
        told = advice(connection.state, connection.reason)
        raise Conflict(
            f"there is no code to scan: the connection is {connection.state}{reason}{f'. {told}' if told else ''}"
        )
    headers = {"Cache-Control": "no-store"}
    if connection.qr_expires_at is not None:
        headers["X-Expires-At"] = iso(connection.qr_expires_at)
    accept = request.headers.get("Accept", "")
    if "application/json" in accept:
        return answer(QrAnswer(qr=connection.qr, expires_at=at(connection.qr_expires_at)), headers=headers)
    if "image/svg+xml" in accept:
        return web.Response(body=await qr.svg(connection.qr), content_type="image/svg+xml", headers=headers)
    if "text/plain" in accept:
        return web.Response(text=await qr.terminal(connection.qr), headers=headers)
    return web.Response(body=await qr.png(connection.qr), content_type="image/png", headers=headers)


def hook_path(connection: Connection) -> str | None:
    """Where the provider is to send its webhooks, when the path holds a secret."""
    if connection.transport is not TransportName.ZAPI:
        return None
    return f"/hooks/zapi/{connection.id}/{ZapiConfig.read(connection.config).webhook_secret}"


async def existing(request: web.Request) -> Connection:
    """The connection that the path names. Raises NotFound."""
    connection_id = request.match_info["connection"]
    connection = await request.app[need.CONNECTIONS].get(key_of(request).tenant, connection_id)
    if connection is None:
        raise NotFound(f"there is no connection {connection_id}")
    return connection


async def shown(request: web.Request, connection: Connection) -> ConnectionAnswer:
    """As the API shows it."""
    pace = request.app[need.SESSION_PACE]()
    try:
        next_at = await request.app[need.NEXT_SEND_AT](connection)
    except Unavailable:
        next_at = None  # Redis is away; the state is in SQL
    left = await request.app[need.LIMITS_LEFT](connection)
    quiet_until = left["quiet_until"]
    shows_code, typed = connection.qr is not None, connection.pairing_code
    return {
        "id": connection.id,
        "label": connection.label,
        "transport": connection.transport,
        "state": connection.state,
        "reason": connection.reason,
        "advice": advice(connection.state, connection.reason),
        "since": iso(connection.since),
        "desired": connection.desired,
        "capabilities": sorted(request.app[need.CAPABILITIES](connection)),
        "qr": {"qr": connection.qr or "", "expires_at": at(connection.qr_expires_at)} if shows_code else None,
        "pairing_code": {"code": typed, "expires_at": at(connection.pairing_code_expires_at)} if typed else None,
        "limits": {
            "per_minute": connection.rate_per_minute or pace.per_minute,
            "burst": pace.burst,
            "recipient_per_minute": left["recipient_per_minute"],
            "recipient_burst": left["recipient_burst"],
            "new_contacts_per_day": left["new_contacts_per_day"],
            "new_contacts_left": left["new_contacts_left"],
            "lookups_per_minute": left["lookups_per_minute"],
            "quiet_hours": left["quiet_hours"],
            "new_contacts_paused_until": at(left["new_contacts_paused_until"]),
            "quiet_until": at(quiet_until),
        },
        "next_send_at": at(max(next_at or 0, quiet_until or 0) or None),
        "on_ambiguous": connection.on_ambiguous,
        "created_at": iso(connection.created_at),
    }
