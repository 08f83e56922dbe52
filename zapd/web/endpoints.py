"""Endpoints: the URLs that get events. Secrets are shown once: when made and when rotated."""

from aiohttp import web
from pydantic import Field
from typing_extensions import TypedDict  # pydantic needs this one below Python 3.12

from zapd.errors import FieldError, InvalidInput, NotFound
from zapd.model.webhook import Endpoint, Options
from zapd.store.commands import Change
from zapd.web import answers, bodies
from zapd.web import dependencies as need
from zapd.web.answers import EndpointAnswer, EventAnswer, answer
from zapd.web.auth import key_of, only_connection, visible
from zapd.web.pages import IdPage, Query, after_id, by_id, page, parsed_query
from zapd.webhooks.client import Answer
from zapd.webhooks.ping import newest, proven
from zapd.webhooks.resend import Recover
from zapd.webhooks.signature import PRIVATE, key_id_of


class EndpointWithSecret(EndpointAnswer):
    """`secret` signs what it gets; it is shown this once. With `v1a` alone it is null: verify with `public_keys`."""

    secret: str | None


class CreatedEndpoint(EndpointWithSecret):
    """`same_url`: enabled endpoints that have its URL already; what both want comes twice, under one `webhook-id`."""

    same_url: list[str]


class TryAnswer(TypedDict):
    """One POST of a ping."""

    taken: bool
    status: int | None
    duration_ms: int
    phases: dict[str, float]
    failure: str | None
    owner: str | None
    error: str | None


class PingAnswer(TypedDict):
    """`proven`: the newest secret alone was taken, and an unknown key was refused."""

    proven: bool
    verifies: bool
    right: TryAnswer
    wrong: TryAnswer


class RecoveredAnswer(TypedDict):
    """How many deliveries come back: failed ones, and events it never had. `more`: call again for the rest."""

    failed: int
    missed: int
    dry_run: bool
    more: bool


class NumberedEvent(EventAnswer):
    """An event as the endpoint gets it: `seq` is that of its delivery, without gaps, and so is `state`."""

    delivery_id: str
    state: str


class PublicKey(TypedDict):
    """A public key that verifies `v1a` signatures."""

    kid: str
    alg: str
    key: str


class PublicKeys(TypedDict):
    """The keys in use."""

    keys: list[PublicKey]


class EndpointsQuery(IdPage):
    """Which endpoints; the oldest first."""

    after: str | None = after_id("end")


class NumbersQuery(Query):
    """Which events of an endpoint: those after the number `after`."""

    after: int = Field(default=0, ge=0, lt=1 << 62)
    limit: int = Field(default=50, ge=1, le=1000)


class KeysQuery(Query):
    """Of which endpoint."""

    endpoint: str | None = None


async def create(request: web.Request) -> web.Response:
    """Subscribe a URL."""
    body = await bodies.parsed(request, bodies.CreateEndpoint)
    connection_id = only_connection(request, body.connection_id)
    await _check_connection(request, connection_id)
    own_key = ["v1a"] if (body.secret or "").startswith(PRIVATE) else ["v1"]
    endpoint = await request.app[need.ENDPOINTS].made(
        tenant=key_of(request).tenant,
        url=body.url,
        types=body.types,
        connection_id=connection_id,
        format=body.format,
        headers=body.headers,
        secret=body.secret,
        signing=own_key if body.signing is None else body.signing,
        options=Options(**body.options()),
    )
    twins = await request.app[need.ENDPOINT_ROWS].with_url(endpoint.tenant, endpoint.url)
    await _keep(request, request.app[need.ENDPOINT_ROWS].added(endpoint))
    return answer(CreatedEndpoint(**_with_secret(endpoint), same_url=twins), 201)


async def index(request: web.Request) -> web.Response:
    """The endpoints."""
    query = parsed_query(request, EndpointsQuery)
    found = await request.app[need.ENDPOINT_ROWS].listed(
        key_of(request).tenant, after=query.after, limit=query.limit + 1
    )
    return answer(page(found, query.limit, answers.endpoint, by_id("end")))


async def show(request: web.Request) -> web.Response:
    """One endpoint; `enabled`, and why not."""
    return answer(answers.endpoint(await _existing(request)))


async def update(request: web.Request) -> web.Response:
    """Change some fields. `enabled: true` also forgives what disabled it."""
    endpoint = await _existing(request)
    body = await bodies.parsed(request, bodies.UpdateEndpoint)
    changed = await request.app[need.ENDPOINTS].changed(
        endpoint,
        url=body.url,
        types=body.types,
        headers=body.headers,
        enabled=body.enabled,
        options=body.options(),
    )
    await _keep(request, request.app[need.ENDPOINT_ROWS].updated(changed))
    await request.app[need.ENDPOINT_RENEWED](changed)
    return answer(answers.endpoint(changed))


async def rotate(request: web.Request) -> web.Response:
    """Give it a new secret; the old one goes on signing for a while, so that receivers can change over."""
    endpoint = await _existing(request)
    body = await bodies.parsed(request, bodies.RotateSecret)
    rotated = request.app[need.ENDPOINTS].rotated(endpoint, secret=body.secret, overlap=body.overlap)
    await _keep(request, request.app[need.ENDPOINT_ROWS].updated(rotated))
    return answer(_with_secret(rotated))


async def ping(request: web.Request) -> web.Response:
    """Two signed pings: the newest secret alone must be taken, an unknown key must not."""
    endpoint = await _existing(request)
    pinged = await request.app[need.PINGER].ping(endpoint)
    if pinged.proven:
        now = await _existing(request)  # it may have been changed while we waited for its receiver
        if newest(now) == newest(endpoint):
            noted = proven(now, request.app[need.NOW_MS]())
            await _keep(request, request.app[need.ENDPOINT_ROWS].updated(noted))
    return answer(
        PingAnswer(proven=pinged.proven, verifies=pinged.verifies, right=_try(pinged.right), wrong=_try(pinged.wrong))
    )


async def drop_secrets(request: web.Request) -> web.Response:
    """Let the old secrets sign no more; asks for the evidence of a ping."""
    endpoint = await _existing(request)
    body = await bodies.parsed(request, bodies.DropSecrets)
    changed = request.app[need.ENDPOINTS].without_old_secrets(endpoint, force=body.force)
    await _keep(request, request.app[need.ENDPOINT_ROWS].updated(changed))
    return answer(answers.endpoint(changed))


async def recover(request: web.Request) -> web.Response:
    """Deliver what it missed in a time: at most 10,000 in one call."""
    endpoint = await _existing(request)
    body = await bodies.parsed(request, bodies.RecoverEndpoint)
    since, until = bodies.ms(body.since) or 0, bodies.ms(body.until) or request.app[need.NOW_MS]()
    if until <= since:
        raise InvalidInput(FieldError("until", "must be after since"))
    what = Recover(since=since, until=until, only_failed=body.only_failed, dry_run=body.dry_run, rate=body.rate)
    found = await request.app[need.RESENDER].recover(endpoint.tenant, endpoint.id, what)
    recovered = RecoveredAnswer(failed=found.failed, missed=found.missed, dry_run=body.dry_run, more=found.more)
    return answer(recovered, 202)


def _with_seq(event: EventAnswer, seq: int) -> EventAnswer:
    event["seq"] = seq
    return event


async def events(request: web.Request) -> web.Response:
    """What it gets, by number without gaps: a receiver that missed something finds it here."""
    query = parsed_query(request, NumbersQuery)
    endpoint = await _existing(request)
    found = await request.app[need.DELIVERIES].events_after(endpoint.tenant, endpoint.id, query.after, query.limit + 1)
    shown = [
        NumberedEvent(**_with_seq(answers.event(event), seq), delivery_id=delivery.id, state=delivery.state)
        for seq, delivery, event in found[: query.limit]
    ]
    return answer({"data": shown, "next": str(shown[-1]["seq"]) if len(found) > query.limit else None})


async def public_keys(request: web.Request) -> web.Response:
    """The public keys that verify `v1a` signatures, of all endpoints or of one. Needs no API key."""
    query = parsed_query(request, KeysQuery)
    keys = await request.app[need.PUBLIC_KEYS](query.endpoint)
    listed = [PublicKey(kid=key_id_of(key), alg="ed25519", key=key) for key in keys]
    response = answer(PublicKeys(keys=listed))
    response.headers["Cache-Control"] = "public, max-age=300"
    return response


async def delete(request: web.Request) -> web.Response:
    """Unsubscribe; what is on its way to it is canceled."""
    endpoint = await _existing(request)
    rows = request.app[need.ENDPOINT_ROWS]
    await _keep(request, rows.deleted(endpoint.tenant, endpoint.id), rows.unnumbered(endpoint.tenant, endpoint.id))
    await request.app[need.ENDPOINT_RENEWED](endpoint)  # nothing is remembered of it
    return web.Response(status=204)


async def _keep(request: web.Request, change: Change, *then: Change) -> None:
    await request.app[need.COMMIT](change, *then)
    await request.app[need.ENDPOINTS_CHANGED]()


async def _check_connection(request: web.Request, connection_id: str | None) -> None:
    if connection_id and await request.app[need.CONNECTIONS].get(key_of(request).tenant, connection_id) is None:
        raise InvalidInput(FieldError("connection_id", "there is no such connection"))


async def _existing(request: web.Request) -> Endpoint:
    endpoint_id = request.match_info["id"]
    endpoint = await request.app[need.ENDPOINT_ROWS].get(key_of(request).tenant, endpoint_id)
    if endpoint is None or not visible(request, endpoint.connection_id):
        raise NotFound(f"there is no endpoint {endpoint_id}")
    return endpoint


def _with_secret(endpoint: Endpoint) -> EndpointWithSecret:
    shared = [secret for secret in newest(endpoint) if not secret.startswith(PRIVATE)]
    return EndpointWithSecret(**answers.endpoint(endpoint), secret=shared[0] if shared else None)


def _try(made: Answer) -> TryAnswer:
    failure = made.failure
    return TryAnswer(
        taken=failure is None,
        status=made.status,
        duration_ms=made.duration_ms,
        phases=made.phases,
        failure=failure.kind if failure else None,
        owner=failure.owner if failure else None,
        error=failure.error if failure else None,
    )
