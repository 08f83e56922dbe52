"""Deliveries of webhooks: list, one with its attempts, send again."""

from aiohttp import web

from zapd.errors import NotFound
from zapd.model.webhook import Delivery, DeliveryState
from zapd.web import answers
from zapd.web import dependencies as need
from zapd.web.answers import AttemptAnswer, DeliveryAnswer, answer
from zapd.web.auth import key_of, visible
from zapd.web.pages import PageQuery, page, parsed_query


class DeliveriesQuery(PageQuery):
    """Which deliveries; the oldest first."""

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
    return answer(page(found, query.limit, answers.delivery, lambda delivery: delivery.id))


async def show(request: web.Request) -> web.Response:
    """One delivery with its attempts."""
    delivery = await _visible_delivery(request)
    attempts = await request.app[need.DELIVERIES].attempts(delivery.tenant, delivery.id)
    return answer(DeliveryWithAttempts(**answers.delivery(delivery), tries=[answers.attempt(a) for a in attempts]))


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
