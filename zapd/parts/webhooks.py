"""Events and their delivery to endpoints."""

import os
import random
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from zapd.announce import PUBLIC, Announcer, iso
from zapd.backoff import Backoff
from zapd.errors import Unavailable
from zapd.jobs.job import Job
from zapd.model.webhook import Endpoint, Event
from zapd.parts.basis import Basis, now_ms
from zapd.parts.engine import Engine
from zapd.parts.network import Network
from zapd.parts.storage import Storage
from zapd.store.commands import Change
from zapd.webhooks.delivery import Deliverer
from zapd.webhooks.endpoints import Endpoints, public_keys_of
from zapd.webhooks.fanout import QUEUE, Fanout
from zapd.webhooks.hanging import Hanging
from zapd.webhooks.metrics import WebhookMetrics
from zapd.webhooks.pacing import Pacing
from zapd.webhooks.parcels import Packer
from zapd.webhooks.ping import Pinger
from zapd.webhooks.resend import Resender
from zapd.webhooks.standing import Standing

FanOut = Callable[[Event], tuple[Sequence[Change], Sequence[Job]]]


def both(fanout: Fanout, routed: FanOut) -> Callable[[Event, Sequence[str]], tuple[Sequence[Change], Sequence[Job]]]:
    """What is committed with an event: its deliveries, and its way through the hub's rules."""

    def fan_out(event: Event, also: Sequence[str]) -> tuple[Sequence[Change], Sequence[Job]]:
        (changes, jobs), (more, others) = fanout.changes(event, also), routed(event)
        return [*changes, *more], [*jobs, *others]

    return fan_out


class Webhooks:
    """What announces events, and what delivers them. `routed` gives an event's way through the hub's rules."""

    def __init__(self, basis: Basis, storage: Storage, network: Network, engine: Engine, *, routed: FanOut) -> None:
        queue = basis.config.queues["webhook:delivery"]
        self.metrics = WebhookMetrics(registry=basis.registry)
        self.endpoints = Endpoints(
            guard=network.guard, resolver=network.resolver, ids=basis.ids, now_ms=now_ms, random_bytes=os.urandom
        )
        self.pinger = Pinger(client=network.client, ids=basis.ids, now_ms=now_ms, random_bytes=os.urandom, iso=iso)
        self._broker, self._wake_lane = engine.broker, engine.wake_lane
        self.fanout = Fanout(
            endpoints=storage.endpoints,
            deliveries=storage.deliveries,
            ids=basis.ids,
            priority=queue.priority,
            metrics=self.metrics,
            limit=lambda endpoint: self._limit(endpoint, self.pacing.cap(endpoint)),
        )
        self.announcer = Announcer(events=storage.events, fan_out=both(self.fanout, routed), ids=basis.ids)
        self.pacing = Pacing(
            set_cap=self._set_cap,
            rows=storage.endpoint_waits,
            commit=storage.writer.commit_all,
            default_cap=basis.config.webhooks.endpoint_concurrency,
            now_ms=now_ms,
            random=random.random,
        )
        self.metrics.endpoints.labels("held").set_function(lambda: self.pacing.held)
        self.deliverer = self._deliverer(basis, storage, network, engine)
        self.resender = Resender(
            deliveries=storage.deliveries,
            endpoints=storage.endpoints,
            events=storage.events,
            fanout=self.fanout,
            commit=engine.outbox.commit,
            now_ms=now_ms,
            ids=basis.ids,
            priority=queue.priority,
            public=PUBLIC.__contains__,
        )

    def _deliverer(self, basis: Basis, storage: Storage, network: Network, engine: Engine) -> Deliverer:
        queue, commit = basis.config.queues["webhook:delivery"], engine.outbox.commit
        standing = Standing(
            endpoints=storage.endpoints,
            fanout=self.fanout,
            commit=commit,
            announce=self.announcer.announce,
            budget=basis.config.webhooks.failure_budget,
            now_ms=now_ms,
        )
        return Deliverer(
            deliveries=storage.deliveries,
            endpoints=storage.endpoints,
            fanout=self.fanout,
            client=network.client,
            commit=commit,
            announce=self.announcer.announce,
            packer=Packer(deliveries=storage.deliveries, commit=commit, now_ms=now_ms),
            pacing=self.pacing,
            hanging=Hanging(slots=queue.max_concurrency, clock=time.monotonic),
            standing=standing,
            now_ms=now_ms,
            backoff=Backoff(base=queue.backoff, factor=queue.backoff_factor),
            metrics=self.metrics,
        )

    async def _limit(self, endpoint: Endpoint, cap: int | None) -> None:
        """Let an endpoint's own rate, and so many POSTs at once, hold in the queue; None: its own number."""
        rate = endpoint.options.rate_per_minute
        burst = None if rate is None else max(1, rate // 60)
        await self._broker.limit_lane(
            QUEUE, endpoint.id, per_minute=rate, burst=burst, cap=cap or endpoint.options.concurrency
        )

    async def open(self) -> None:
        """Know the endpoints, and which of them are spared. Raises Unavailable."""
        await self.fanout.refresh()
        await self.pacing.restore(self.fanout.all_enabled())

    async def limits_lost(self) -> None:
        """The queue lost its data: give it the endpoints' limits again. Raises Unavailable."""
        await self.fanout.limits_lost()
        await self.pacing.limits_lost(self.fanout.all_enabled())

    async def renewed(self, endpoint: Endpoint) -> None:
        """It was changed through the API: it gets a new chance at once."""
        await self.pacing.forget(endpoint)
        await self.resender.hurry(endpoint)
        await self._wake_lane(QUEUE, endpoint.id)

    async def public_keys(self, endpoint_id: str | None) -> list[str]:
        """The public keys that sign for enabled endpoints; of one of them, if it is named."""
        return [
            key
            for endpoint in self.fanout.all_enabled()
            if endpoint_id in (None, endpoint.id)
            for key in public_keys_of(endpoint)
        ]

    async def _set_cap(self, endpoint: Endpoint, cap: int | None) -> None:
        with suppress(Unavailable):  # Redis is away: nothing is sent either
            await self._limit(endpoint, cap)
