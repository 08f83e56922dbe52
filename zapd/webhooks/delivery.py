"""The handler of queue `webhook:delivery`: load, sign, POST, record what came of it.

The attempt and the delivery's new state are one commit after the POST. A crash before that commit POSTs again with the
same `webhook-id`, which receivers use to drop doubles; a crash after it finds the state and does nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import orjson
import structlog

from zapd import failpoint
from zapd.backoff import Backoff
from zapd.errors import Conflict, NotFound
from zapd.ids import Ids
from zapd.jobs.job import Done, Job, Outcome, Retry, Snooze
from zapd.model.webhook import Attempt, Delivery, DeliveryState, Endpoint, Severity, sources
from zapd.store.commands import Change, Row
from zapd.store.deliveries import DeliveryStore
from zapd.store.endpoints import EndpointStore
from zapd.webhooks import request
from zapd.webhooks.client import Answer, Client
from zapd.webhooks.fanout import Fanout, job_of
from zapd.webhooks.metrics import WebhookMetrics
from zapd.webhooks.retry_after import seconds_of

log = structlog.get_logger("zapd.webhooks")

EXHAUSTED = "delivery.exhausted"
DISABLED = "endpoint.disabled"
MAX_AGE = 72 * 3600.0  #: seconds after which a receiver that only ever says "later" burns attempts like any other
_GONE = 410
_LATER = frozenset({429, 503})
_OVER = frozenset({DeliveryState.DELIVERED, DeliveryState.CANCELED})
_SOURCES = {state: sources(state) for state in DeliveryState}
_EARLY = 1000  # milliseconds that a job may run before its delivery's `next_at`: clocks differ
#: At least this long is an endpoint parked at its n-th "later": a receiver that always names one second is asked less
#: and less often.
_PARK = Backoff(base=1.0, factor=2.0, cap=3600.0)


class Commit(Protocol):
    """The outbox's door: changes and jobs in one transaction, None when the guard did not take effect."""

    async def __call__(self, guard: Change, *then: Change, jobs: Sequence[Job] = ()) -> Row | None: ...


class Announcement(Protocol):
    """What must be committed for an event to have happened."""

    @property
    def changes(self) -> Sequence[Change]: ...

    @property
    def jobs(self) -> Sequence[Job]: ...


class Announce(Protocol):
    """Makes an event and its own deliveries; writes nothing."""

    def __call__(
        self, event_type: str, *, tenant: str, at: int, data: Mapping[str, Any], severity: Severity
    ) -> Announcement: ...


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
        now_ms: Callable[[], int],
        random: Callable[[], float],
        ids: Ids,
        priority: int,
        backoff: Backoff,
        metrics: WebhookMetrics,
    ) -> None:
        self._deliveries = deliveries
        self._endpoints = endpoints
        self._fanout = fanout
        self._client = client
        self._commit = commit
        self._announce = announce
        self._now_ms = now_ms
        self._random = random
        self._ids = ids
        self._priority = priority
        self._backoff = backoff
        self._metrics = metrics

    async def deliver(self, job: Job) -> Outcome:
        """Make one attempt, unless the delivery is over or its endpoint is gone.

        Raises Unavailable without a database; the pool then waits and burns none of the receiver's tries.
        """
        loaded = await self._deliveries.load(*_names(job))
        if loaded is None or loaded.delivery.state in _OVER:
            return Done()
        delivery = loaded.delivery
        endpoint = await self._enabled(delivery.tenant, delivery.endpoint_id)
        if endpoint is None:
            await self._commit(self._moved(delivery, DeliveryState.CANCELED, last_error="the endpoint is off or gone"))
            return Done()
        started = self._now_ms()
        if delivery.next_at is not None and delivery.next_at > started + _EARLY:
            return Snooze((delivery.next_at - started) / 1000)  # Redis lost its schedule; SQL keeps it
        if delivery.state is DeliveryState.DEAD:  # a person took the job back from the dead letters
            await self._commit(self._moved(delivery, DeliveryState.PENDING))
        body = request.body_for(endpoint.format, loaded.payload)
        headers = request.headers_for(endpoint, delivery, body, now_ms=started)
        answer = await self._client.post(endpoint.url, headers=headers, body=body)
        failpoint.reached("delivery.posted")
        self._observe(delivery, answer)
        return await self._settle(job, endpoint, _attempted(delivery, answer), started, answer)

    async def dead(self, job: Job, reason: str, error: str) -> None:
        """The queue gives this job up. SQL and the tenant's endpoints hear it before the dead letters do."""
        delivery = await self._deliveries.get(*_names(job))
        if delivery is None:
            return
        last_error = delivery.last_error or error or reason
        moved = self._moved(delivery, DeliveryState.DEAD, last_error=last_error)
        if delivery.event_type == EXHAUSTED:  # two dead endpoints would tell each other for ever
            await self._commit(moved)
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
                "attempts": delivery.attempts,
                "last_status": delivery.last_status,
                "last_error": last_error,
                "reason": reason,
            },
            severity=Severity.ERROR,
        )
        await self._commit(moved, *told.changes, jobs=told.jobs)
        log.warning("delivery.exhausted", delivery=delivery.id, endpoint=delivery.endpoint_id, reason=reason)

    async def retry(self, tenant: str, delivery_id: str) -> Delivery:
        """Deliver once more, at a person's wish, also what was delivered already. Returns the delivery as it is now.

        The job's id is new, or the broker would take it for the old job and drop it.
        Raises NotFound; Conflict while a first attempt is under way or when the endpoint is off.
        """
        delivery = await self._deliveries.get(tenant, delivery_id)
        if delivery is None:
            raise NotFound("there is no such delivery")
        if await self._enabled(tenant, delivery.endpoint_id) is None:
            raise Conflict("the endpoint is off or gone")
        again = replace(delivery, state=DeliveryState.PENDING, next_at=None, finished_at=None, last_error=None)
        job = job_of(again, id=self._ids.new("job"), priority=self._priority, created_at=self._now_ms())
        if await self._commit(self._moved(again, DeliveryState.PENDING), jobs=[job]) is None:
            raise Conflict("it is being delivered already")
        return again

    async def _settle(self, job: Job, endpoint: Endpoint, delivery: Delivery, started: int, answer: Answer) -> Outcome:
        recorded = self._deliveries.attempted(_attempt(delivery, started, answer))
        if answer.failure is None:
            await self._commit(self._moved(delivery, DeliveryState.DELIVERED), recorded)
            failpoint.reached("delivery.recorded")
            return Done()
        if answer.status == _GONE and await self._disable(endpoint, delivery, recorded):
            return Done()
        outcome, wait = self._later(job, delivery, answer, answer.failure.error)
        next_at = self._now_ms() + round(wait * 1000)
        await self._commit(self._moved(replace(delivery, next_at=next_at), DeliveryState.RETRYING), recorded)
        return outcome

    def _later(self, job: Job, delivery: Delivery, answer: Answer, error: str) -> tuple[Outcome, float]:
        now = self._now_ms()
        hint = seconds_of(answer.retry_after, now_ms=now)
        young = now - delivery.created_at < MAX_AGE * 1000
        if answer.status in _LATER and hint is not None and young:
            # Nobody's fault: the whole endpoint waits, and the delivery keeps its tries.
            wait = max(hint, _PARK.delay(delivery.attempts, random=self._random))
            return Snooze(wait, park_lane=True), wait
        wait = max(hint or 0.0, self._backoff.delay(job.attempt, random=_floor))  # the pool adds its jitter to this
        return Retry(error, after=wait), wait

    async def _disable(self, endpoint: Endpoint, delivery: Delivery, recorded: Change) -> bool:
        """False: it was off already, or its URL was changed during the POST: then a 410 says nothing of the new one."""
        reason = "answered 410 Gone"
        told = self._announce(
            DISABLED,
            tenant=endpoint.tenant,
            at=self._now_ms(),
            data={"endpoint_id": endpoint.id, "reason": reason},
            severity=Severity.ERROR,
        )
        off, over = self._endpoints.disabled(endpoint, reason), self._moved(delivery, DeliveryState.CANCELED)
        if await self._commit(off, over, recorded, *told.changes, jobs=told.jobs) is None:
            return False
        await self._fanout.refresh()
        log.warning("endpoint.disabled", endpoint=endpoint.id, reason=reason)
        return True

    async def _enabled(self, tenant: str, endpoint_id: str) -> Endpoint | None:
        known = self._fanout.enabled(tenant, endpoint_id)
        if known is not None:
            return known
        stored = await self._endpoints.get(tenant, endpoint_id)  # perhaps newer than our memory
        return stored if stored is not None and stored.enabled else None

    def _moved(self, delivery: Delivery, to: DeliveryState, *, last_error: str | None = None) -> Change:
        return self._deliveries.moved(
            delivery.tenant,
            delivery.id,
            to=to,
            frm=_SOURCES[to],
            at=self._now_ms(),
            attempts=delivery.attempts,
            last_status=delivery.last_status,
            last_error=last_error or delivery.last_error,
            next_at=delivery.next_at if to is DeliveryState.RETRYING else None,
        )

    def _observe(self, delivery: Delivery, answer: Answer) -> None:
        failure = answer.failure
        self._metrics.results[failure.kind if failure else "ok"].inc()
        self._metrics.duration.observe(answer.duration_ms / 1000)
        if failure is None:
            self._metrics.lag.observe((self._now_ms() - delivery.created_at) / 1000)
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


def _attempted(delivery: Delivery, answer: Answer) -> Delivery:
    """The delivery as it is after this attempt, but for its state."""
    return replace(
        delivery,
        attempts=delivery.attempts + 1,
        last_status=answer.status,
        last_error=answer.failure.error if answer.failure else None,
    )


def _attempt(delivery: Delivery, started_at: int, answer: Answer) -> Attempt:
    failure = answer.failure
    return Attempt(
        tenant=delivery.tenant,
        delivery_id=delivery.id,
        number=delivery.attempts,
        started_at=started_at,
        duration_ms=answer.duration_ms,
        phases=answer.phases,
        status=answer.status,
        response=answer.body,
        failure=failure.kind if failure else None,
        owner=failure.owner if failure else None,
        error=failure.error if failure else None,
    )
