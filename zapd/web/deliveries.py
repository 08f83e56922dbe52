"""Deliveries of webhooks: list, one with its attempts, send again."""

from aiohttp import web

from zapd.errors import Conflict, NotFound
from zapd.model.webhook import Delivery, DeliveryState
from zapd.web import answers
from zapd.web import dependencies as need
from zapd.web.answers import AttemptAnswer, DeliveryAnswer, answer
from zapd.web.auth import key_of, visible
from zapd.web.pages import IdPage, after_id, by_id, page, parsed_query
from zapd.webhooks.curl import command
from zapd.webhooks.request import Untransformable, body_for, headers_for


class DeliveriesQuery(IdPage):
    """Which deliveries; the oldest first."""

    after: str | None = after_id("dlv")
    endpoint_id: str | None = None
    state: DeliveryState | None = None


class DeliveryWithAttempts(DeliveryAnswer):
    """One delivery and every try."""

    tries: list[AttemptAnswer]


async def index(request: web.Request) -> web.Response:
    """The deliveries."""
    query = parsed_query(request, DeliveriesQuery)
    found = await request.app[need.DELIVERIES].listed(
        key_of(request).tenant,
        endpoint_id=query.endpoint_id,
        state=query.state,
        after=query.after,
        limit=query.limit + 1,
    )
    return answer(page(found, query.limit, answers.delivery, by_id("dlv")))


async def show(request: web.Request) -> web.Response:
    """One delivery with its attempts."""
    delivery = await _visible_delivery(request)
    attempts = await request.app[need.DELIVERIES].attempts(delivery.tenant, delivery.id)
    return answer(DeliveryWithAttempts(**answers.delivery(delivery), tries=[answers.attempt(a) for a in attempts]))


async def curl(request: web.Request) -> web.Response:
    """The delivery as a curl command, signed now; values of the endpoint's own headers are left out."""
    delivery = await _visible_delivery(request)
    endpoint = await request.app[need.ENDPOINT_ROWS].get(delivery.tenant, delivery.endpoint_id)
    loaded = await request.app[need.DELIVERIES].load(delivery.tenant, delivery.id)
    if endpoint is None or loaded is None:
        raise NotFound("its endpoint or its event is gone")
    try:
        body = body_for(endpoint, loaded.payload)
    except Untransformable as error:
        raise Conflict(str(error)) from None
    headers = headers_for(endpoint, delivery, body, now_ms=request.app[need.NOW_MS]())
    text = command(endpoint.url, headers, body, hidden=[name for name, _ in endpoint.headers])
    return web.Response(text=text, content_type="text/plain")


async def retry(request: web.Request) -> web.Response:
    """Send it again."""
    delivery = await _visible_delivery(request)
    return answer(answers.delivery(await request.app[need.RETRY_DELIVERY](delivery.tenant, delivery.id)), 202)


async def _visible_delivery(request: web.Request) -> Delivery:
    delivery_id = request.match_info["id"]
    delivery = await request.app[need.DELIVERIES].get(key_of(request).tenant, delivery_id)
    if delivery is None or not visible(request, delivery.connection_id):
        raise NotFound(f"there is no delivery {delivery_id}")
    return delivery
