"""Deliver again: one delivery at a person's wish, or what an endpoint missed in a time."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from zapd.errors import Conflict, NotFound
from zapd.ids import Ids
from zapd.model.webhook import ERASED, SOURCES, Category, Delivery, DeliveryState, Endpoint, Event
from zapd.store.commands import Change
from zapd.store.deliveries import DeliveryStore
from zapd.store.endpoints import EndpointStore
from zapd.store.events import EventStore
from zapd.webhooks.fanout import Fanout, job_of, why_not
from zapd.webhooks.standing import Commit

PAGE = 200  #: rows in one look
MAX_AT_ONCE = 10_000  #: deliveries in one call; the answer says when there are more

_FAILED = frozenset({DeliveryState.DEAD, DeliveryState.CANCELED})


@dataclass(frozen=True, kw_only=True, slots=True)
class Recover:
    """What to bring back: events from `since` to before `until` (ms).

    `only_failed`: deliveries that are dead or canceled. Else also events that the endpoint would want and has no
    delivery of: from before it was made, or while it was off. `rate`: deliveries a minute; None: as fast as it takes.
    """

    since: int
    until: int
    only_failed: bool = True
    dry_run: bool = False
    rate: int | None = None


@dataclass(frozen=True, slots=True)
class Recovered:
    """How many deliveries come back (or would): failed ones, and events it never had. `more`: call again."""

    failed: int
    missed: int
    more: bool


class Resender:
    """Queues deliveries again. Their order is that of the events."""

    def __init__(
        self,
        *,
        deliveries: DeliveryStore,
        endpoints: EndpointStore,
        events: EventStore,
        fanout: Fanout,
        commit: Commit,
        now_ms: Callable[[], int],
        ids: Ids,
        priority: int,
        public: Callable[[str], bool],
    ) -> None:
        """`public` says which event types of zapd's own receivers may get."""
        self._deliveries = deliveries
        self._endpoints = endpoints
        self._events = events
        self._fanout = fanout
        self._commit = commit
        self._now_ms = now_ms
        self._ids = ids
        self._priority = priority
        self._public = public

    async def retry(self, tenant: str, delivery_id: str) -> Delivery:
        """Deliver once more, at a person's wish, also what was delivered already. Returns the delivery as it is now.

        The job's id is new, or the broker would take it for the old job and drop it.
        Raises NotFound; Conflict while a first attempt is under way or when the endpoint is off.
        """
        delivery = await self._deliveries.get(tenant, delivery_id)
        if delivery is None:
            raise NotFound("there is no such delivery")
        endpoint = await self._endpoints.get(tenant, delivery.endpoint_id)
        if endpoint is None or not endpoint.enabled:
            raise Conflict("the endpoint is off or gone")
        loaded = await self._deliveries.load(tenant, delivery_id)
        if loaded is not None and loaded.payload == ERASED:
            raise Conflict("its body is past its time, [privacy] bodies: there is nothing left to send")
        again = await self._again(delivery, due_at=0)
        if again is None:
            raise Conflict("it is being delivered already")
        return again

    async def revive(self, tenant: str, delivery_id: str) -> Delivery:
        """Deliver what was given up; not what somebody has brought back since. Raises NotFound, Conflict."""
        delivery = await self._deliveries.get(tenant, delivery_id)
        if delivery is not None and delivery.state not in _FAILED:
            raise Conflict(f"the delivery is {delivery.state}")
        return await self.retry(tenant, delivery_id)

    async def hurry(self, endpoint: Endpoint) -> None:
        """What waits for another try is tried now: the endpoint was changed, and its waits were for what it was."""
        after = None
        while endpoint.enabled:
            page = await self._deliveries.listed(
                endpoint.tenant, endpoint_id=endpoint.id, state=DeliveryState.RETRYING, after=after, limit=PAGE
            )
            await asyncio.gather(*[self._again(delivery, due_at=0) for delivery in page])
            if len(page) < PAGE:
                return
            after = page[-1].id

    async def recover(self, tenant: str, endpoint_id: str, what: Recover) -> Recovered:
        """Queue what the endpoint missed. Safe to call again: what is on its way already is left alone.

        Raises NotFound; Conflict when the endpoint is off: enable it first.
        """
        endpoint = await self._endpoints.get(tenant, endpoint_id)
        if endpoint is None:
            raise NotFound(f"there is no endpoint {endpoint_id}")
        if not endpoint.enabled and not what.dry_run:
            raise Conflict("the endpoint is off: enable it first")
        clock = _Schedule(self._now_ms(), what.rate)
        failed = await self._recover_failed(endpoint, what, clock)
        missed = 0
        if not what.only_failed and failed < MAX_AT_ONCE:
            missed = await self._recover_missed(endpoint, what, clock, MAX_AT_ONCE - failed)
        return Recovered(failed, missed, more=failed + missed >= MAX_AT_ONCE)

    async def _recover_failed(self, endpoint: Endpoint, what: Recover, clock: "_Schedule") -> int:
        found = await self._deliveries.of_period(
            endpoint.tenant, endpoint.id, states=_FAILED, since=what.since, until=what.until, limit=MAX_AT_ONCE
        )
        if what.dry_run:
            return len(found)
        count = 0
        for start in range(0, len(found), PAGE):  # together they are one commit, or a few
            some = found[start : start + PAGE]
            again = await asyncio.gather(*[self._again(delivery, due_at=clock.next()) for delivery in some])
            count += sum(delivery is not None for delivery in again)
        return count

    async def _recover_missed(self, endpoint: Endpoint, what: Recover, clock: "_Schedule", most: int) -> int:
        count, after = 0, ""
        while count < most:
            page = await self._events.undelivered_to(
                endpoint.tenant, endpoint.id, since=what.since, until=what.until, after=after, limit=PAGE
            )
            wanted = [event for event in page if self._wanted(endpoint, event)][: most - count]
            if what.dry_run:
                count += len(wanted)
            else:
                count += sum(await asyncio.gather(*[self._deliver(endpoint, event, clock) for event in wanted]))
            if len(page) < PAGE:
                break
            after = page[-1].id
        return count

    def _wanted(self, endpoint: Endpoint, event: Event) -> bool:
        own = event.category in (Category.OWN, Category.INBOUND)
        return (own or self._public(event.type)) and why_not(endpoint, event) is None

    async def _deliver(self, endpoint: Endpoint, event: Event, clock: "_Schedule") -> bool:
        (added,), (job,) = self._fanout.changes_to(event, [endpoint])
        return await self._commit(added, jobs=[replace(job, due_at=clock.next())]) is not None

    async def _again(self, delivery: Delivery, *, due_at: int) -> Delivery | None:
        again = replace(
            delivery,
            state=DeliveryState.PENDING,
            next_at=None,
            finished_at=None,
            last_error=None,
            batch_id=None,
        )
        job = job_of(again, id=self._ids.new("job"), priority=self._priority, created_at=self._now_ms())
        guard = self._moved(again)
        return again if await self._commit(guard, jobs=[replace(job, due_at=due_at)]) is not None else None

    def _moved(self, again: Delivery) -> Change:
        return self._deliveries.moved(
            again.tenant,
            again.id,
            to=DeliveryState.PENDING,
            frm=SOURCES[DeliveryState.PENDING],
            at=self._now_ms(),
        )


class _Schedule:
    """When each of a row of deliveries is due: all at once, or so many a minute."""

    def __init__(self, now: int, rate: int | None) -> None:
        self._at = float(now)
        self._step = 60_000 / rate if rate else 0.0

    def next(self) -> int:
        """When the next one is due (ms); 0: at once."""
        if not self._step:
            return 0
        self._at += self._step
        return round(self._at)
