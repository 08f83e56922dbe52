"""The handler of queue `webhook:delivery`: load, sign, POST, record what came of it.

The attempt and the delivery's new state are one commit after the POST. A crash before that commit POSTs again with the
same `webhook-id`, which receivers use to drop doubles; a crash after it finds the state and does nothing.
"""

from collections.abc import Callable
from dataclasses import replace

import orjson
import structlog

from zapd import failpoint
from zapd.backoff import Backoff
from zapd.jobs.job import Discard, Done, Job, Outcome, Retry, Snooze
from zapd.model.webhook import ERASED, SOURCES, Attempt, Delivery, DeliveryState, Endpoint, Owner, Severity
from zapd.store.commands import Change
from zapd.store.deliveries import DeliveryStore, LoadedDelivery
from zapd.store.endpoints import EndpointStore
from zapd.webhooks import request
from zapd.webhooks.client import Answer, Client
from zapd.webhooks.failure import Failure
from zapd.webhooks.fanout import Fanout
from zapd.webhooks.hanging import Hanging
from zapd.webhooks.metrics import WebhookMetrics
from zapd.webhooks.pacing import Pacing
from zapd.webhooks.parcels import Packer, Parcel
from zapd.webhooks.retry_after import seconds_of
from zapd.webhooks.standing import Announce, Commit, Standing

log = structlog.get_logger("zapd.webhooks")

EXHAUSTED = "delivery.exhausted"
BODY_GONE = "its body is gone: [privacy] bodies, or its tenant's key, has ended"
TRANSFORM = "transform"  #: the failure of an endpoint's own transformation
MAX_AGE = 72 * 3600.0  #: seconds after which a receiver that only ever says "later" burns attempts like any other
_GONE = 410
_LATER = frozenset({429, 503})
_OVER = frozenset({DeliveryState.DELIVERED, DeliveryState.CANCELED})
_EARLY = 1000  # milliseconds that a job may run before its delivery's `next_at`: clocks differ
_CARRY = 3000  # milliseconds in which one job goes on with the deliveries that follow; a POST more fits its timeout
_AHEAD = 600  # deliveries before one that are counted
_TURN = 0.05  # seconds that each of them is reckoned with
_CROWDED = 5.0  # seconds until an endpoint is looked at again that must wait because too many do not answer
_TURN_WAIT = (1.0, 30.0)  # seconds at least and at most between two looks whether an ordered delivery's turn has come


class Deliverer:
    """Delivers events. `backoff` is the schedule of the queue, so that a delivery can say when it is tried again."""

    def __init__(
        self,
        *,
        deliveries: DeliveryStore,
        endpoints: EndpointStore,
        fanout: Fanout,
        client: Client,
        commit: Commit,
        announce: Announce,
        packer: Packer,
        pacing: Pacing,
        hanging: Hanging,
        standing: Standing,
        now_ms: Callable[[], int],
        backoff: Backoff,
        metrics: WebhookMetrics,
    ) -> None:
        self._deliveries = deliveries
        self._endpoints = endpoints
        self._fanout = fanout
        self._client = client
        self._commit = commit
        self._announce = announce
        self._packer = packer
        self._pacing = pacing
        self._hanging = hanging
        self._standing = standing
        self._now_ms = now_ms
        self._backoff = backoff
        self._metrics = metrics
        self._under_way: set[str] = set()  # deliveries with an order, so that two jobs do not send the same one

    async def deliver(self, job: Job) -> Outcome:
        """Make one attempt, unless the delivery is over or its endpoint is gone.

        After one with an order the job goes on with those that follow it: each of their own jobs would have to ask
        again and again whether its turn has come.
        Raises Unavailable without a database; the pool then waits and burns none of the receiver's tries.
        """
        loaded = await self._deliveries.load(*_names(job))
        if loaded is None:
            return Done()
        outcome = await self._turn(job, loaded)
        if loaded.delivery.order_key is None or not isinstance(outcome, Done):
            return outcome
        until = self._now_ms() + _CARRY
        while following := await self._deliveries.following(loaded.delivery):
            if following.attempts:  # its own job counts its tries
                break
            if self._now_ms() >= until:
                return Snooze(0.0)  # and goes on from here
            more = await self._deliveries.load(following.tenant, following.id)
            if more is None or not isinstance(await self._turn(job, more), Done):
                break
        return outcome

    async def _turn(self, job: Job, loaded: LoadedDelivery) -> Outcome:
        """One delivery; with an order, never twice at once."""
        if loaded.delivery.order_key is None:
            return await self._attempt(job, loaded)
        if loaded.delivery.id in self._under_way:
            return Snooze(_TURN_WAIT[0])
        self._under_way.add(loaded.delivery.id)
        try:
            return await self._attempt(job, loaded)
        finally:
            self._under_way.discard(loaded.delivery.id)

    async def _attempt(self, job: Job, loaded: LoadedDelivery) -> Outcome:
        if loaded.delivery.state in _OVER:
            return Done()
        delivery = loaded.delivery
        endpoint = await self._enabled(delivery.tenant, delivery.endpoint_id)
        if endpoint is None:
            await self._commit(self._moved(delivery, DeliveryState.CANCELED, last_error="the endpoint is off or gone"))
            return Done()
        if loaded.payload == ERASED:  # somebody brought it back too late
            await self._commit(self._moved(delivery, DeliveryState.CANCELED, last_error=BODY_GONE))
            return Done()
        not_yet = await self._not_yet(endpoint, delivery)
        if not_yet is not None:
            return not_yet
        if delivery.state is DeliveryState.DEAD:  # a person took the job back from the dead letters
            await self._commit(self._moved(delivery, DeliveryState.PENDING))
            loaded = replace(loaded, delivery=replace(delivery, state=DeliveryState.PENDING, batch_id=None))
        parcel = await self._packer.pack(endpoint, loaded)
        return await self._send(job, endpoint, parcel) if isinstance(parcel, Parcel) else parcel

    async def dead(self, job: Job, reason: str, error: str) -> None:
        """The queue gives this job up. SQL and the tenant's endpoints hear it before the dead letters do."""
        delivery = await self._deliveries.get(*_names(job))
        if delivery is None:
            return
        last_error = delivery.last_error or error or reason
        moved, *others = [
            self._moved(member, DeliveryState.DEAD, last_error=last_error) for member in await self._together(delivery)
        ]
        if delivery.event_type == EXHAUSTED:  # two dead endpoints would tell each other for ever
            await self._commit(moved, *others)
            return
        told = self._announce(
            EXHAUSTED,
            tenant=delivery.tenant,
            at=self._now_ms(),
            data={
                "delivery_id": delivery.id,
                "endpoint_id": delivery.endpoint_id,
                "event_id": delivery.event_id,
                "event_type": delivery.event_type,
                "deliveries": len(others) + 1,
                "attempts": delivery.attempts,
                "last_status": delivery.last_status,
                "last_error": last_error,
                "reason": reason,
            },
            severity=Severity.ERROR,
        )
        await self._commit(moved, *others, *told.changes, jobs=told.jobs)
        log.warning("delivery.exhausted", delivery_id=delivery.id, endpoint_id=delivery.endpoint_id, reason=reason)

    async def _together(self, delivery: Delivery) -> list[Delivery]:
        """This delivery and those that share its POST."""
        if delivery.batch_id is None:
            return [delivery]
        found = [m.delivery for m in await self._deliveries.in_batch(delivery.tenant, delivery.batch_id)]
        return [delivery, *[other for other in found if other.id != delivery.id]]

    async def _not_yet(self, endpoint: Endpoint, delivery: Delivery) -> Snooze | None:
        """Why this is not the time: its own schedule, the endpoint is spared, or one with the same key goes first."""
        now = self._now_ms()
        if delivery.next_at is not None and delivery.next_at > now + _EARLY:
            return Snooze((delivery.next_at - now) / 1000)  # Redis lost its schedule; SQL keeps it
        wait = self._pacing.wait(endpoint)
        if wait:
            return Snooze(wait, park_lane=True)
        if self._hanging.shuts_out(endpoint.id, silent=self._pacing.silent(endpoint)):
            return Snooze(_CROWDED, park_lane=True, given_back=True)
        if delivery.order_key is None or not (ahead := await self._deliveries.ahead(delivery, _AHEAD)):
            return None
        wait = max(((ahead[0].next_at or now) - now) / 1000, len(ahead) * _TURN)
        return Snooze(min(max(wait, _TURN_WAIT[0]), _TURN_WAIT[1]))

    async def _send(self, job: Job, endpoint: Endpoint, parcel: Parcel) -> Outcome:
        started = self._now_ms()
        try:
            body = parcel.body(endpoint)
        except request.Untransformable as error:
            return await self._untransformable(endpoint, parcel, started, str(error))
        headers = request.headers_for(
            endpoint, parcel.lead, body, now_ms=started, message_id=parcel.message_id, seq=parcel.seq
        )
        with self._hanging.under_way(endpoint.id, silent=self._pacing.silent(endpoint)):
            answer = await self._client.post(endpoint.url, headers=headers, body=body, tenant=endpoint.tenant)
        failpoint.reached("delivery.posted")
        self._observe(parcel.lead, answer)
        return await self._settle(job, endpoint, parcel, started, answer)

    async def _untransformable(self, endpoint: Endpoint, parcel: Parcel, started: int, error: str) -> Outcome:
        """Trying again would not help; when the expression is mended, `recover` or `retry` does."""
        failure = Failure(TRANSFORM, Owner.OURS, error)
        answer = Answer(status=None, body=b"", retry_after=None, duration_ms=0, phases={}, failure=failure)
        self._observe(parcel.lead, answer)
        first, *others = self._all_moved(parcel, answer, DeliveryState.RETRYING)
        await self._commit(first, *others, self._deliveries.attempted(_attempt(parcel.lead, started, answer)))
        log.warning("delivery.untransformable", endpoint_id=endpoint.id, delivery_id=parcel.lead.id)
        return Discard(TRANSFORM, error)

    async def _settle(self, job: Job, endpoint: Endpoint, parcel: Parcel, started: int, answer: Answer) -> Outcome:
        recorded = self._deliveries.attempted(_attempt(parcel.lead, started, answer))
        if answer.failure is None:
            await self._standing.took(endpoint, *self._all_moved(parcel, answer, DeliveryState.DELIVERED), recorded)
            failpoint.reached("delivery.recorded")
            await self._pacing.took(endpoint, parcel.lead.id)
            return Done()
        if answer.status == _GONE:
            over = self._all_moved(parcel, answer, DeliveryState.CANCELED)
            if await self._standing.disable(endpoint, "answered 410 Gone", *over, recorded):
                return Done()
        outcome, wait = await self._later(job, endpoint, parcel.lead, started, answer)
        at = self._now_ms() + round(wait * 1000)
        changes = (*self._all_moved(parcel, answer, DeliveryState.RETRYING, at), recorded)
        if answer.status in _LATER:  # it works, and said when to come again
            await self._commit(*changes)
        else:
            await self._standing.failed(endpoint, *changes)
        return outcome

    async def _later(
        self, job: Job, endpoint: Endpoint, delivery: Delivery, started: int, answer: Answer
    ) -> tuple[Outcome, float]:
        """When to try again. "Later" and silence are the endpoint's state: all of it waits, and no try is burnt."""
        assert answer.failure is not None
        now = self._now_ms()
        hint = seconds_of(answer.retry_after, now_ms=now)
        young = now - delivery.created_at < MAX_AGE * 1000
        if answer.status in _LATER and young:
            wait = await self._pacing.later(endpoint, hint, started=started)
            return Snooze(wait, park_lane=True), wait
        if answer.failure.kind == "timeout" and young and not self._pacing.poisonous(endpoint, delivery.id):
            wait = await self._pacing.later(endpoint, None, started=started)
            if delivery.order_key is not None:
                return Snooze(wait, park_lane=True), wait
            # The canary is another one then: if it is this event that the receiver chokes on, the rest goes on.
            return Snooze(wait * 2), wait * 2
        await self._pacing.failed(endpoint, hint, started=started)
        wait = max(hint or 0.0, self._backoff.delay(job.attempt, random=_floor))  # the pool adds its jitter to this
        return Retry(answer.failure.error, after=wait), wait

    async def _enabled(self, tenant: str, endpoint_id: str) -> Endpoint | None:
        known = self._fanout.enabled(tenant, endpoint_id)
        if known is not None:
            return known
        stored = await self._endpoints.get(tenant, endpoint_id)  # perhaps newer than our memory
        return stored if stored is not None and stored.enabled else None

    def _all_moved(self, parcel: Parcel, answer: Answer, to: DeliveryState, next_at: int | None = None) -> list[Change]:
        """The deliveries of a POST after this attempt."""
        now, error = self._now_ms(), answer.failure.error if answer.failure else None
        return [
            self._deliveries.moved(
                member.delivery.tenant,
                member.delivery.id,
                to=to,
                frm=SOURCES[to],
                at=now,
                attempts=member.delivery.attempts + 1,
                last_status=member.delivery.last_status if answer.status is None else answer.status,
                last_error=error,
                next_at=next_at,
            )
            for member in parcel.members
        ]

    def _moved(self, delivery: Delivery, to: DeliveryState, *, last_error: str | None = None) -> Change:
        return self._deliveries.moved(
            delivery.tenant,
            delivery.id,
            to=to,
            frm=SOURCES[to],
            at=self._now_ms(),
            attempts=delivery.attempts,
            last_status=delivery.last_status,
            last_error=last_error or delivery.last_error,
            next_at=delivery.next_at if to is DeliveryState.RETRYING else None,
        )

    def _observe(self, delivery: Delivery, answer: Answer) -> None:
        failure = answer.failure
        self._metrics.attempted(failure.kind if failure else "ok", answer.duration_ms / 1000)
        if failure is None:
            self._metrics.took((self._now_ms() - delivery.created_at) / 1000)
        else:
            log.info(
                "delivery.failed",
                delivery=delivery.id,
                endpoint=delivery.endpoint_id,
                attempt=delivery.attempts + 1,
                failure=failure.kind,
                owner=failure.owner,
                status=answer.status,
                duration_ms=answer.duration_ms,
            )
        self._fanout.attempted(delivery.endpoint_id, failed=failure is not None)


def _floor() -> float:
    return 0.0


def _names(job: Job) -> tuple[str, str]:
    payload = orjson.loads(job.payload)
    return payload["tenant"], payload["delivery_id"]


def _attempt(delivery: Delivery, started_at: int, answer: Answer) -> Attempt:
    failure = answer.failure
    return Attempt(
        tenant=delivery.tenant,
        delivery_id=delivery.id,
        number=delivery.attempts + 1,
        started_at=started_at,
        duration_ms=answer.duration_ms,
        phases=answer.phases,
        status=answer.status,
        response=answer.body,
        failure=failure.kind if failure else None,
        owner=failure.owner if failure else None,
        error=failure.error if failure else None,
    )
