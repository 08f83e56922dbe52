"""Endpoints: the URLs that get events. Secrets are shown once: when made and when rotated."""

from aiohttp import web

from zapd.errors import NotFound
from zapd.model.webhook import Endpoint
from zapd.store.commands import Change
from zapd.web import answers, bodies
from zapd.web import dependencies as need
from zapd.web.answers import EndpointAnswer, answer
from zapd.web.auth import key_of, only_connection, visible
from zapd.web.pages import PageQuery, page, parsed_query


class EndpointWithSecret(EndpointAnswer):
    """`secret` signs what it gets; it is shown this once."""

    secret: str


async def create(request: web.Request) -> web.Response:
    """Subscribe a URL."""
    body = await bodies.parsed(request, bodies.CreateEndpoint)
    endpoint = await request.app[need.ENDPOINTS].made(
        tenant=key_of(request).tenant,
        url=body.url,
        types=body.types,
        connection_id=only_connection(request, body.connection_id),
        format=body.format,
        headers=body.headers,
        secret=body.secret,
    )
    await _keep(request, request.app[need.ENDPOINT_ROWS].added(endpoint))
    return answer(_with_secret(endpoint), 201)


async def index(request: web.Request) -> web.Response:
    """The endpoints."""
    query = parsed_query(request, PageQuery)
    found = await request.app[need.ENDPOINT_ROWS].listed(
        key_of(request).tenant, after=query.after, limit=query.limit + 1
    )
    return answer(page(found, query.limit, answers.endpoint, lambda endpoint: endpoint.id))


async def show(request: web.Request) -> web.Response:
    """One endpoint; `enabled`, and why not."""
    return answer(answers.endpoint(await _existing(request)))


async def update(request: web.Request) -> web.Response:
    """Change some fields. `enabled: true` also forgives what disabled it."""
    endpoint = await _existing(request)
    body = await bodies.parsed(request, bodies.UpdateEndpoint)
    changed = await request.app[need.ENDPOINTS].changed(
        endpoint, url=body.url, types=body.types, headers=body.headers, enabled=body.enabled
    )
    await _keep(request, request.app[need.ENDPOINT_ROWS].updated(changed))
    return answer(answers.endpoint(changed))


async def rotate(request: web.Request) -> web.Response:
    """Give it a new secret; the old one goes on signing for a while, so that receivers can change over."""
    endpoint = await _existing(request)
    body = await bodies.parsed(request, bodies.RotateSecret)
    rotated = request.app[need.ENDPOINTS].rotated(endpoint, secret=body.secret, overlap=body.overlap)
    await _keep(request, request.app[need.ENDPOINT_ROWS].updated(rotated))
    return answer(_with_secret(rotated))


async def delete(request: web.Request) -> web.Response:
    """Unsubscribe; what is on its way to it is canceled."""
    endpoint = await _existing(request)
    await _keep(request, request.app[need.ENDPOINT_ROWS].deleted(endpoint.tenant, endpoint.id))
    return web.Response(status=204)


async def _keep(request: web.Request, change: Change) -> None:
    await request.app[need.COMMIT](change)
    await request.app[need.ENDPOINTS_CHANGED]()


async def _existing(request: web.Request) -> Endpoint:
    endpoint_id = request.match_info["id"]
    endpoint = await request.app[need.ENDPOINT_ROWS].get(key_of(request).tenant, endpoint_id)
    if endpoint is None or not visible(request, endpoint.connection_id):
        raise NotFound(f"there is no endpoint {endpoint_id}")
    return endpoint


def _with_secret(endpoint: Endpoint) -> EndpointWithSecret:
    return EndpointWithSecret(**answers.endpoint(endpoint), secret=endpoint.secrets[0].value)
