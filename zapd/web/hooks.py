"""Webhooks of the Meta Cloud API: the verify handshake, and bodies that are kept as they came (wire facts §1.6).

Meta repeats a webhook for days until it gets a 200, so the 200 is given after the commit and nothing is read before.
A connection id is unique per tenant only, and a webhook carries no key: the secret tells whose it is.
"""

import hashlib
import hmac
from collections.abc import Callable, Sequence

import orjson
from aiohttp import web

from zapd.errors import FieldError, Forbidden, InvalidInput, NotFound, Unauthorized
from zapd.model.session import Connection, TransportName
from zapd.web import bodies
from zapd.web import dependencies as need

MAX_BODY = 4 * 1024 * 1024  #: bytes; Meta sends up to 3 MB, whatever the limit for other bodies


async def verify_cloud(request: web.Request) -> web.Response:
    """Meta asks whether this URL is ours: the challenge goes back when the token is the connection's."""
    query = request.query
    token = query.get("hub.verify_token", "")
    candidates = await _candidates(request)
    known = _first(candidates, lambda config: _same(config.get("verify_token", ""), token))
    if query.get("hub.mode") != "subscribe" or known is None:
        raise Forbidden("the verify token is not this connection's")
    return web.Response(text=query.get("hub.challenge", ""))


async def receive_cloud(request: web.Request) -> web.Response:
    """Messages and statuses: signature on the raw bytes, then kept, then 200."""
    raw = await bodies.raw(request, MAX_BODY)
    signature = request.headers.get("X-Hub-Signature-256", "")
    connection = _first(
        await _candidates(request), lambda config: _signed(config.get("app_secret", ""), raw, signature)
    )
    if connection is None:
        raise Unauthorized("the signature does not fit")
    try:
        await request.app[need.INTAKE](connection, raw, hashlib.sha256(raw).hexdigest())
    except ValueError:
        raise InvalidInput(FieldError("body", "is not a webhook of the Cloud API")) from None
    return web.Response()


async def _candidates(request: web.Request) -> Sequence[Connection]:
    connection_id = request.match_info["connection"]
    named = await request.app[need.CONNECTIONS].named(connection_id)
    found = [connection for connection in named if connection.transport is TransportName.CLOUD]
    if not found:
        raise NotFound(f"there is no connection {connection_id}")
    return found


def _first(connections: Sequence[Connection], fits: Callable[[dict[str, str]], bool]) -> Connection | None:
    return next((connection for connection in connections if fits(orjson.loads(connection.config))), None)


def _signed(secret: str, raw: bytes, signature: str) -> bool:
    if not secret:
        return False
    return _same("sha256=" + hmac.digest(secret.encode(), raw, "sha256").hex(), signature)


def _same(expected: str, given: str) -> bool:
    return bool(expected) and hmac.compare_digest(expected.encode(), given.encode())
