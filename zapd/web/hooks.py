"""Webhooks of Meta's Cloud API and of Z-API: bodies that are kept as they came (wire facts §1.6, §2.4).

Meta repeats a webhook for days until it gets a 200, so the 200 is given after the commit and nothing is read before.
Z-API signs nothing: the path ends in a secret, and the instance in the body must be the connection's. A connection id
is unique per tenant only, and a webhook carries no key: the secret tells whose it is.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Sequence
from contextlib import suppress

from aiohttp import web

from zapd.errors import FieldError, Forbidden, InvalidInput, NotFound, Unauthorized
from zapd.model.session import Connection, TransportName
from zapd.web import bodies
from zapd.web import dependencies as need
from zapd.whatsapp import zapi_webhook
from zapd.whatsapp.cloud import CloudConfig
from zapd.whatsapp.cloud_webhook import check_signature, handshake
from zapd.whatsapp.zapi import ZapiConfig

MAX_BODY = 4 * 1024 * 1024  #: bytes; Meta sends up to 3 MB, whatever the limit for other bodies
ASIDE_FROM = 128 * 1024  #: bytes; a larger body is hashed in a thread


async def verify_cloud(request: web.Request) -> web.Response:
    """Meta asks whether this URL is ours: the challenge goes back when the token is the connection's."""
    for connection in await _candidates(request):
        with suppress(Forbidden):
            challenge = handshake(request.query, verify_token=CloudConfig.read(connection.config).verify_token)
            return web.Response(text=challenge, headers={"X-Content-Type-Options": "nosniff"})
    raise Forbidden("the verify token is not this connection's")


async def receive_cloud(request: web.Request) -> web.Response:
    """Messages and statuses: signature on the raw bytes, then kept, then 200."""
    candidates = await _candidates(request)
    raw = await bodies.raw(request, MAX_BODY)
    signature = request.headers.get("X-Hub-Signature-256")
    if len(raw) < ASIDE_FROM:
        connection, digest = _signed(candidates, raw, signature)
    else:
        connection, digest = await asyncio.to_thread(_signed, candidates, raw, signature)
    try:
        await request.app[need.INTAKE](connection, raw, digest)
    except ValueError:
        raise InvalidInput(FieldError("body", "is not a webhook of the Cloud API")) from None
    return web.Response()


async def receive_zapi(request: web.Request) -> web.Response:
    """Messages, statuses and the state of the line: the secret of the path, then kept, then 200."""
    candidates = await _candidates(request, TransportName.ZAPI)
    connection = _secret_holder(candidates, request.match_info["secret"])
    raw = await bodies.raw(request, MAX_BODY)
    try:
        change = zapi_webhook.change_in(raw, instance_id=ZapiConfig.read(connection.config).instance_id)
        await request.app[need.INTAKE](connection, raw, hashlib.sha256(raw).hexdigest())
    except zapi_webhook.OtherInstance:
        raise Forbidden("the webhook is of another instance") from None
    except ValueError as error:
        raise InvalidInput(FieldError("body", f"is not a webhook of Z-API: {error}")) from None
    await request.app[need.SESSIONS].hear(connection, change)
    return web.Response()


def _secret_holder(connections: Sequence[Connection], given: str) -> Connection:
    """The connection whose secret the path ends in. Raises Unauthorized."""
    for connection in connections:
        secret = ZapiConfig.read(connection.config).webhook_secret
        if secret and hmac.compare_digest(secret.encode(), given.encode(errors="replace")):
            return connection
    raise Unauthorized("the secret does not fit")


async def _candidates(request: web.Request, transport: TransportName = TransportName.CLOUD) -> Sequence[Connection]:
    connection_id = request.match_info["connection"]
    named = await request.app[need.CONNECTIONS].named(connection_id)
    found = [connection for connection in named if connection.transport is transport]
    if not found:
        raise NotFound(f"there is no connection {connection_id}")
    return found


def _signed(connections: Sequence[Connection], raw: bytes, signature: str | None) -> tuple[Connection, str]:
    """The connection whose app signed the body, and the body's own digest. Raises Unauthorized."""
    for connection in connections:
        with suppress(Unauthorized):
            check_signature(raw, signature, app_secret=CloudConfig.read(connection.config).app_secret)
            return connection, hashlib.sha256(raw).hexdigest()
    raise Unauthorized("the signature does not fit")
