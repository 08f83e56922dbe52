"""Events, endpoints, deliveries."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from aiohttp import web

from zapd.model.webhook import Attempt, BodyFormat, Category, Delivery, DeliveryState, Endpoint, Event, Options
from zapd.store.commands import Change
from zapd.store.deliveries import LoadedDelivery
from zapd.webhooks.ping import Pinger
from zapd.webhooks.resend import Resender


class EventRows(Protocol):
    """The event log."""

    async def get(self, tenant: str, event_id: str) -> Event | None: ...
    async def listed(
        self,
        tenant: str,
        *,
        type: str | None,
        category: Category | None,
        connection_id: str | None,
        source: str | None = None,
        since: int | None = None,
        until: int | None = None,
        after: str | None,
        limit: int,
    ) -> Sequence[Event]: ...
    async def of_message(self, tenant: str, message_id: str) -> Sequence[Event]: ...
    async def after(self, seq: int, limit: int, tenant: str) -> Sequence[Event]: ...
    async def last_seq(self) -> int: ...


class EndpointRows(Protocol):
    """The stored endpoints."""

    def added(self, endpoint: Endpoint) -> Change: ...
    def updated(self, endpoint: Endpoint) -> Change: ...
    def deleted(self, tenant: str, endpoint_id: str) -> Change: ...
    def unnumbered(self, tenant: str, endpoint_id: str) -> Change: ...
    async def get(self, tenant: str, endpoint_id: str) -> Endpoint | None: ...
    async def listed(self, tenant: str, *, after: str | None, limit: int) -> Sequence[Endpoint]: ...
    async def with_url(self, tenant: str, url: str) -> list[str]: ...


class EndpointRules(Protocol):
    """Makes and changes endpoints; stores nothing."""

    async def made(
        self,
        *,
        tenant: str,
        url: str,
        types: Sequence[str],
        connection_id: str | None,
        format: BodyFormat,
        headers: Mapping[str, str],
        secret: str | None,
        signing: Sequence[str],
        options: Options,
    ) -> Endpoint: ...
    async def changed(
        self,
        endpoint: Endpoint,
        *,
        url: str | None,
        types: Sequence[str] | None,
        headers: Mapping[str, str] | None,
        enabled: bool | None,
        options: Mapping[str, Any],
    ) -> Endpoint: ...
    def rotated(self, endpoint: Endpoint, *, secret: str | None, overlap: float) -> Endpoint: ...
    def without_old_secrets(self, endpoint: Endpoint, *, force: bool) -> Endpoint: ...


class DeliveryRows(Protocol):
    """The stored deliveries."""

    async def get(self, tenant: str, delivery_id: str) -> Delivery | None: ...
    async def load(self, tenant: str, delivery_id: str) -> LoadedDelivery | None: ...
    async def events_after(
        self, tenant: str, endpoint_id: str, seq: int, limit: int
    ) -> Sequence[tuple[int, Delivery, Event]]: ...
    async def listed(
        self,
        tenant: str,
        *,
        endpoint_id: str | None,
        state: DeliveryState | None,
        after: str | None,
        limit: int,
    ) -> Sequence[Delivery]: ...
    async def of_message(self, tenant: str, message_id: str) -> Sequence[Delivery]: ...
    async def attempts(self, tenant: str, delivery_id: str) -> Sequence[Attempt]: ...


EVENTS = web.AppKey("events", EventRows)
ENDPOINT_ROWS = web.AppKey("endpoint_rows", EndpointRows)
ENDPOINTS = web.AppKey("endpoints", EndpointRules)
DELIVERIES = web.AppKey("deliveries", DeliveryRows)
#: Refreshes the memory of endpoints after a change.
ENDPOINTS_CHANGED: web.AppKey[Callable[[], Awaitable[None]]] = web.AppKey("endpoints_changed")
PINGER = web.AppKey("pinger", Pinger)
RESENDER = web.AppKey("resender", Resender)
#: An endpoint was changed: it gets a new chance at once.
ENDPOINT_RENEWED: web.AppKey[Callable[[Endpoint], Awaitable[None]]] = web.AppKey("endpoint_renewed")
#: The public keys in use, of all endpoints or of one.
PUBLIC_KEYS: web.AppKey[Callable[[str | None], Awaitable[Sequence[str]]]] = web.AppKey("public_keys")
#: (tenant, delivery id) → the delivery, queued again.
RETRY_DELIVERY: web.AppKey[Callable[[str, str], Awaitable[Delivery]]] = web.AppKey("retry_delivery")
