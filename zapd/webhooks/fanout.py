"""Who wants an event: one delivery and one job for each endpoint that does.

Enabled endpoints are kept in memory, because every event asks for them. After an endpoint changed here, call
`refresh`; a change made by another daemon is seen within seconds (`refresher.py`).
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from hashlib import sha256
from typing import Any

import orjson
import structlog

from zapd.errors import Unavailable
from zapd.expressions import BadExpression, ExpressionFailed, compiled
from zapd.ids import Ids
from zapd.jobs.job import Job
from zapd.model.webhook import Delivery, DeliveryState, Endpoint, Event, wants
from zapd.refresher import Refresher
from zapd.store.commands import Change
from zapd.store.deliveries import DeliveryStore
from zapd.store.endpoints import EndpointStore
from zapd.webhooks.metrics import WebhookMetrics

log = structlog.get_logger("zapd.webhooks")

QUEUE = "webhook:delivery"


class Fanout:
    """The endpoints in memory. A Service: it refreshes them."""

    name = "fanout"

    def __init__(
        self,
        *,
        endpoints: EndpointStore,
        deliveries: DeliveryStore,
        ids: Ids,
        priority: int,
        metrics: WebhookMetrics,
        limit: Callable[[Endpoint], Awaitable[None]],
    ) -> None:
        """`limit` lets an endpoint's own rate and number at once hold in the queue."""
        self._limit = limit
        self._limited: dict[
            str, tuple[int | None, int | None]
        ] = {}  # endpoint → rate, number at once, as the queue has
        self._endpoints = endpoints
        self._deliveries = deliveries
        self._ids = ids
        self._priority = priority
        self._metrics = metrics
        self._enabled: dict[str, dict[str, Endpoint]] = {}  # tenant → id → endpoint
        self._failing: set[str] = set()  # ids of enabled endpoints whose last attempt failed
        self._refresher = Refresher(what="endpoints", refresh=self.refresh)

    async def run(self) -> None:
        """Refresh every few seconds until `stop`."""
        await self._refresher.run()

    async def stop(self) -> None:
        """End `run`."""
        self._refresher.stop()

    async def refresh(self) -> None:
        """Read the enabled endpoints of all tenants again. Raises Unavailable."""
        enabled: dict[str, dict[str, Endpoint]] = {}
        for endpoint in await self._endpoints.all_enabled():
            enabled.setdefault(endpoint.tenant, {})[endpoint.id] = endpoint
        self._enabled = enabled
        ids = {endpoint_id for of_tenant in enabled.values() for endpoint_id in of_tenant}
        self._failing &= ids
        self._metrics.endpoints.labels("enabled").set(len(ids))
        self._metrics.endpoints.labels("failing").set(len(self._failing))
        self._limited = {endpoint_id: own for endpoint_id, own in self._limited.items() if endpoint_id in ids}
        for of_tenant in enabled.values():
            for endpoint in of_tenant.values():
                with suppress(Unavailable):  # the queue is away: it is told at the next look
                    await self._limit_if_new(endpoint)

    async def limits_lost(self) -> None:
        """The queue lost its data: give it the endpoints' own limits again. Raises Unavailable."""
        self._limited.clear()
        for of_tenant in self._enabled.values():
            for endpoint in of_tenant.values():
                await self._limit_if_new(endpoint)

    async def _limit_if_new(self, endpoint: Endpoint) -> None:
        own = endpoint.options.rate_per_minute, endpoint.options.concurrency
        if self._limited.get(endpoint.id, (None, None)) != own:
            await self._limit(endpoint)
            self._limited[endpoint.id] = own

    def attempted(self, endpoint_id: str, *, failed: bool) -> None:
        """An attempt ended: keep the number of failing endpoints."""
        if failed != (endpoint_id in self._failing):
            (self._failing.add if failed else self._failing.discard)(endpoint_id)
            self._metrics.endpoints.labels("failing").set(len(self._failing))

    def enabled(self, tenant: str, endpoint_id: str) -> Endpoint | None:
        """The endpoint, if it is known to be enabled."""
        return self._enabled.get(tenant, {}).get(endpoint_id)

    def all_enabled(self) -> list[Endpoint]:
        """The enabled endpoints of all tenants."""
        return [endpoint for of_tenant in self._enabled.values() for endpoint in of_tenant.values()]

    def matching(self, event: Event) -> list[Endpoint]:
        """The enabled endpoints of the event's tenant that want it."""
        return [e for e in self._enabled.get(event.tenant, {}).values() if why_not(e, event) is None]

    def changes(self, event: Event, also: Sequence[str] = ()) -> tuple[Sequence[Change], Sequence[Job]]:
        """The delivery rows of an event and their jobs, to be committed together with the event.

        `also` are ids of endpoints that get it though they did not ask for its type.
        """
        named = [self.enabled(event.tenant, endpoint_id) for endpoint_id in also]
        wanted = {endpoint.id: endpoint for endpoint in (*self.matching(event), *named) if endpoint is not None}
        return self.changes_to(event, list(wanted.values())) if wanted else ((), ())

    def changes_to(self, event: Event, endpoints: Sequence[Endpoint]) -> tuple[Sequence[Change], Sequence[Job]]:
        """The same for these endpoints, whether they would want the event or not."""
        pairs = [self._delivery(event, endpoint) for endpoint in endpoints]
        jobs = [job_of(delivery, id=first_job_id(delivery.id), priority=self._priority) for delivery in pairs]
        return [self._deliveries.added(delivery) for delivery in pairs], jobs

    def only(self, event: Event, endpoint_id: str) -> tuple[Sequence[Change], Sequence[Job]]:
        """The delivery of an event to this endpoint, whatever types it asked for. Nothing when it is off or gone."""
        endpoint = self.enabled(event.tenant, endpoint_id)
        if endpoint is None:
            return (), ()
        return self.changes_to(event, [endpoint])

    def _delivery(self, event: Event, endpoint: Endpoint) -> Delivery:
        return Delivery(
            tenant=event.tenant,
            id=self._ids.new("dlv"),
            endpoint_id=endpoint.id,
            event_id=event.id,
            event_type=event.type,
            connection_id=event.connection_id,
            message_id=event.message_id,
            state=DeliveryState.PENDING,
            attempts=0,
            created_at=event.created_at,
            order_key=_order_key(endpoint, event),
        )


def why_not(endpoint: Endpoint, event: Event) -> str | None:
    """Why the endpoint does not get the event; None: it does. In the words that are shown to its owner."""
    options = endpoint.options
    if endpoint.connection_id not in (None, event.connection_id):
        return f"it is of another connection than {endpoint.connection_id}"
    if not wants(endpoint.types, event.type):
        return f"its type is none of {', '.join(endpoint.types)}"
    if options.channels and not _in_channel(options.channels, event):
        return f"it is in none of the channels {', '.join(options.channels)}"
    if options.filter is not None:
        try:
            if not compiled(options.filter).holds(orjson.loads(event.payload)):
                return "the filter does not hold"
        except (BadExpression, ExpressionFailed) as error:
            # What a filter cannot judge is delivered: a lost event hurts more than one too many.
            log.info("endpoint.filter_failed", endpoint_id=endpoint.id, event_type=event.type, reason=str(error))
    return None


def _in_channel(channels: Sequence[str], event: Event) -> bool:
    if event.connection_id in channels:
        return True
    data: Any = orjson.loads(event.payload).get("data")
    named = data.get("channels") if isinstance(data, dict) else None
    return isinstance(named, list) and any(channel in channels for channel in named if isinstance(channel, str))


def _order_key(endpoint: Endpoint, event: Event) -> str | None:
    """A short name of what `order_by` finds; an event in which it finds nothing shares the key of all such."""
    if endpoint.options.order_by is None:
        return None
    try:
        found = compiled(endpoint.options.order_by).search(orjson.loads(event.payload))
    except (BadExpression, ExpressionFailed):
        found = None
    return sha256(orjson.dumps(found, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def first_job_id(delivery_id: str) -> str:
    """The id of the job that an event's fan-out makes: a repeated enqueue of it is refused by the broker."""
    return "job_" + delivery_id.removeprefix("dlv_")


def job_of(delivery: Delivery, *, id: str, priority: int, created_at: int | None = None) -> Job:
    """A job that delivers. Its lane is the endpoint, so that a slow one holds up only itself."""
    return Job(
        id=id,
        queue=QUEUE,
        payload=orjson.dumps({"tenant": delivery.tenant, "delivery_id": delivery.id}),
        priority=priority,
        created_at=delivery.created_at if created_at is None else created_at,
        lane=delivery.endpoint_id,
        tenant=delivery.tenant,
    )
