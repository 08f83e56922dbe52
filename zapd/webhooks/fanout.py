"""Who wants an event: one delivery and one job for each endpoint that does.

Enabled endpoints are kept in memory, because every event asks for them. After an endpoint changed here, call
`refresh`; a change made by another daemon is seen within `REFRESH_EVERY`.
"""

import asyncio
from collections.abc import Sequence

import orjson
import structlog

from zapd.errors import Unavailable
from zapd.ids import Ids
from zapd.jobs.job import Job
from zapd.model.webhook import Delivery, DeliveryState, Endpoint, Event, wants
from zapd.store.commands import Change
from zapd.store.deliveries import DeliveryStore
from zapd.store.endpoints import EndpointStore
from zapd.webhooks.metrics import WebhookMetrics

log = structlog.get_logger("zapd.webhooks")

QUEUE = "webhook:delivery"
REFRESH_EVERY = 5.0  #: seconds


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
    ) -> None:
        self._endpoints = endpoints
        self._deliveries = deliveries
        self._ids = ids
        self._priority = priority
        self._metrics = metrics
        self._enabled: dict[str, dict[str, Endpoint]] = {}  # tenant → id → endpoint
        self._failing: set[str] = set()  # ids of enabled endpoints whose last attempt failed
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Refresh every few seconds until `stop`."""
        self._stopping.clear()
        while not self._stopping.is_set():
            try:
                await self.refresh()
            except Unavailable as error:
                log.warning("endpoints.stale", reason=str(error))  # what is in memory goes on being served
            try:
                async with asyncio.timeout(REFRESH_EVERY):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    async def stop(self) -> None:
        """End `run`."""
        self._stopping.set()

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

    def attempted(self, endpoint_id: str, *, failed: bool) -> None:
        """An attempt ended: keep the number of failing endpoints."""
        if failed != (endpoint_id in self._failing):
            (self._failing.add if failed else self._failing.discard)(endpoint_id)
            self._metrics.endpoints.labels("failing").set(len(self._failing))

    def enabled(self, tenant: str, endpoint_id: str) -> Endpoint | None:
        """The endpoint, if it is known to be enabled."""
        return self._enabled.get(tenant, {}).get(endpoint_id)

    def matching(self, event: Event) -> list[Endpoint]:
        """The enabled endpoints of the event's tenant that want it."""
        return [
            endpoint
            for endpoint in self._enabled.get(event.tenant, {}).values()
            if endpoint.connection_id in (None, event.connection_id) and wants(endpoint.types, event.type)
        ]

    def changes(self, event: Event, also: Sequence[str] = ()) -> tuple[Sequence[Change], Sequence[Job]]:
        """The delivery rows of an event and their jobs, to be committed together with the event.

        `also` are ids of endpoints that get it though they did not ask for its type.
        """
        named = [self.enabled(event.tenant, endpoint_id) for endpoint_id in also]
        wanted = {endpoint.id: endpoint for endpoint in (*self.matching(event), *named) if endpoint is not None}
        pairs = [self._delivery(event, endpoint) for endpoint in wanted.values()]
        jobs = [job_of(delivery, id=first_job_id(delivery.id), priority=self._priority) for delivery in pairs]
        return [self._deliveries.added(delivery) for delivery in pairs], jobs

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
        )


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
