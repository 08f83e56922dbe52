"""API keys: create (the token is shown this once), list, rotate, revoke."""

from aiohttp import web

from zapd.errors import FieldError, Forbidden, InvalidInput, NotFound
from zapd.web import answers, bodies
from zapd.web import dependencies as need
from zapd.web.answers import KeyAnswer, answer
from zapd.web.auth import key_of
from zapd.web.pages import IdPage, after_id, by_id, page, parsed_query


class KeysQuery(IdPage):
    """Which keys; the oldest first."""

    after: str | None = after_id("key")


class CreatedKeyAnswer(KeyAnswer):
    """`key` is the token; only its hash is kept."""

    key: str


async def create(request: web.Request) -> web.Response:
    """Make a key."""
    body = await bodies.parsed(request, bodies.CreateKey)
    tenant = await _tenant_of(request, body)
    if body.connection_id and await request.app[need.CONNECTIONS].get(tenant, body.connection_id) is None:
        raise InvalidInput(FieldError("connection_id", "there is no such connection"))
    key, token = await request.app[need.KEYRING].create(
        tenant=tenant,
        label=body.label,
        scopes=frozenset(body.scopes),
        connection_id=body.connection_id,
        expires_at=bodies.ms(body.expires_at),
        rate_per_minute=body.rate_per_minute,
    )
    return answer(CreatedKeyAnswer(**answers.key(key), key=token), 201)


async def show(request: web.Request) -> web.Response:
    """One key."""
    key = await request.app[need.KEYRING].get(key_of(request).tenant, request.match_info["id"])
    if key is None:
        raise NotFound(f"there is no key {request.match_info['id']}")
    return answer(answers.key(key))


async def rotate(request: web.Request) -> web.Response:
    """Make a key with the same rights; the old one goes on working for the overlap."""
    body = await bodies.parsed(request, bodies.RotateKey)
    key, token = await request.app[need.KEYRING].rotate(
        key_of(request).tenant, request.match_info["id"], overlap=body.overlap * 1000
    )
    return answer(CreatedKeyAnswer(**answers.key(key), key=token), 201)


async def index(request: web.Request) -> web.Response:
    """The tenant's keys, revoked ones too."""
    query = parsed_query(request, KeysQuery)
    found = await request.app[need.KEYRING].listed(key_of(request).tenant, after=query.after, limit=query.limit + 1)
    return answer(page(found, query.limit, answers.key, by_id("key")))


async def revoke(request: web.Request) -> web.Response:
    """End a key: at once on this daemon, within seconds on others."""
    key = await request.app[need.KEYRING].revoke(key_of(request).tenant, request.match_info["id"])
    return answer(answers.key(key))


async def _tenant_of(request: web.Request, body: bodies.CreateKey) -> str:
    """Whose key it will be. Raises Forbidden, InvalidInput."""
    key = key_of(request)
    if body.tenant is None or body.tenant == key.tenant:
        return key.tenant
    if not key.operates:
        raise Forbidden("only the operator of the daemon makes keys for another tenant")
    if await request.app[need.TENANTS].get(body.tenant) is None:
        raise InvalidInput(FieldError("tenant", "there is no such tenant"))
    return body.tenant
