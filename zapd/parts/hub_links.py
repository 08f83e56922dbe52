"""What the event hub asks of the rest of zapd: to send, to POST, to deliver again, to seal."""

import base64
import contextlib
from collections.abc import Callable, Sequence

from zapd.config import Config
from zapd.events.targets import CallFailed
from zapd.jobs.job import Job
from zapd.messaging.submit import Messaging, Submit
from zapd.model.webhook import DeliveryState, Event
from zapd.parts.network import Network
from zapd.parts.storage import Storage
from zapd.parts.webhooks import Webhooks
from zapd.store.commands import Change
from zapd.webhooks.target import target_of

_GIVEN_UP = frozenset({DeliveryState.DEAD, DeliveryState.CANCELED})


class Links:
    """Callables for the hub's parts."""

    def __init__(
        self, config: Config, storage: Storage, network: Network, webhooks: Webhooks, messaging: Callable[[], Messaging]
    ) -> None:
        self._config = config
        self._storage = storage
        self._network = network
        self._webhooks = webhooks
        self._messaging = messaging

    def own_queues(self) -> frozenset[str]:
        """The queues of the operator's."""
        return frozenset(name for name, queue in self._config.queues.items() if queue.action)

    def seal(self, text: str) -> str:
        """What an action keeps of a secret URL."""
        return base64.b64encode(self._storage.vault.seal(text.encode(), place="actions.url")).decode()

    def unseal(self, text: str) -> str:
        """The other way round."""
        return self._storage.vault.open(base64.b64decode(text), place="actions.url").decode()

    async def submit(self, tenant: str, connection: str, to: str, type_: str, payload: bytes, message: str) -> None:
        """Send a WhatsApp message, accepted or refused when this returns."""
        request = Submit(
            tenant=tenant, connection_id=connection, to=to, type=type_, payload=payload, message_id=message
        )
        await self._messaging().submit(request)

    async def submitted(self, tenant: str, message_id: str) -> bool:
        """Whether an earlier try has sent it already."""
        return await self._storage.messages.get(tenant, message_id) is not None

    async def post(self, tenant: str, url: str, body: bytes) -> None:
        """POST to an incoming webhook, of Slack for example. Raises CallFailed."""
        answer = await self._network.client.post(url, headers=(), body=body, tenant=tenant)
        if answer.failure is not None:
            raise CallFailed(answer.failure.error, final=answer.status in (400, 403, 404, 410))

    async def vet(self, tenant: str, url: str) -> None:
        """Raises Blocked for a URL that no call may go to. A name that is not known yet may be one day."""
        with contextlib.suppress(OSError):
            await self._network.resolver.addresses(target_of(url).host, tenant=tenant)

    async def redeliver(self, event: Event) -> tuple[Sequence[Change], Sequence[Job]]:
        """Its deliveries that were given up again, and those that it never had."""
        fanout, had = self._webhooks.fanout, set[str]()
        for delivery in await self._storage.deliveries.of_event(event.tenant, event.id):
            had.add(delivery.endpoint_id)
            if delivery.state in _GIVEN_UP and fanout.enabled(event.tenant, delivery.endpoint_id):
                await self._webhooks.resender.retry(event.tenant, delivery.id)
        # One that is there already would make nothing of the whole commit.
        return fanout.changes_to(event, [endpoint for endpoint in fanout.matching(event) if endpoint.id not in had])
