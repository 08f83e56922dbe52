"""What one POST carries: a delivery alone, or several of an endpoint that asked for batches.

A batch is put together in SQL before it is sent, so that each retry sends the same events under the same `webhook-id`.
The job of the delivery that its id names, the lead, answers for all of them; the jobs of the others end.
"""

from collections.abc import Callable

from zapd.jobs.job import Done, Snooze
from zapd.model.webhook import Delivery, Endpoint
from zapd.records import record
from zapd.store.deliveries import DeliveryStore, LoadedDelivery
from zapd.webhooks import request
from zapd.webhooks.standing import Commit

PREFIX = "bat_"


@record
class Parcel:
    """One POST: the deliveries in it, the lead first, and its `webhook-id`."""

    members: tuple[LoadedDelivery, ...]
    message_id: str
    batched: bool

    @property
    def lead(self) -> Delivery:
        """The delivery whose attempts these are."""
        return self.members[0].delivery

    @property
    def seq(self) -> str:
        """The numbers in it, as ranges: `7`, `3-8`, `3-5,9`."""
        numbers = sorted(m.delivery.seq for m in self.members if m.delivery.seq is not None)
        ranges: list[list[int]] = []
        for number in numbers:
            if ranges and ranges[-1][1] == number - 1:
                ranges[-1][1] = number
            else:
                ranges.append([number, number])
        return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)

    def body(self, endpoint: Endpoint) -> bytes:
        """Its bytes. Raises request.Untransformable."""
        if not self.batched:
            return request.body_for(endpoint, self.members[0].payload)
        # In the order in which they happened, whichever job was the first.
        envelopes = [member.payload for member in sorted(self.members, key=lambda member: member.delivery.id)]
        return request.batch_body(endpoint, self.message_id, envelopes)


class Packer:
    """Puts parcels together."""

    def __init__(self, *, deliveries: DeliveryStore, commit: Commit, now_ms: Callable[[], int]) -> None:
        self._deliveries = deliveries
        self._commit = commit
        self._now_ms = now_ms

    async def pack(self, endpoint: Endpoint, loaded: LoadedDelivery) -> Parcel | Done | Snooze:
        """The parcel that this delivery leads; Done: another one answers for it; Snooze: it waits for company."""
        delivery = loaded.delivery
        if delivery.batch_id is None:
            if not endpoint.options.batched:
                return Parcel(members=(loaded,), message_id=delivery.event_id, batched=False)
            return await self._gather(endpoint, delivery)
        if not delivery.batch_id.startswith(_batch_of(delivery)):
            return Done()
        return await self._parcel(delivery, delivery.batch_id)

    async def _gather(self, endpoint: Endpoint, lead: Delivery) -> Parcel | Done | Snooze:
        size = endpoint.options.batch_size or 1
        waiting = await self._deliveries.waiting(lead.tenant, endpoint.id, size)
        oldest = min([lead.created_at, *[delivery.created_at for delivery in waiting]])
        left = oldest / 1000 + endpoint.options.batch_wait - self._now_ms() / 1000
        if len(waiting) < size and left > 0:
            return Snooze(left)
        batch_id = f"{_batch_of(lead)}{lead.attempts}"
        others = [delivery for delivery in waiting if delivery.id != lead.id][: size - 1]
        guard, *then = [self._deliveries.batched(lead.tenant, d.id, batch_id) for d in (lead, *others)]
        if await self._commit(guard, *then) is None:  # another job took it into its batch
            return Done()
        return await self._parcel(lead, batch_id)

    async def _parcel(self, lead: Delivery, batch_id: str) -> Parcel | Done:
        found = await self._deliveries.in_batch(lead.tenant, batch_id)
        members = [m for m in found if m.delivery.id == lead.id] + [m for m in found if m.delivery.id != lead.id]
        return Parcel(members=tuple(members), message_id=batch_id, batched=True) if members else Done()


def _batch_of(lead: Delivery) -> str:
    return f"{PREFIX}{lead.id.removeprefix('dlv_')}_"
