"""Everything between an event and its receiver, built by hand on a real database; jobs are run by the test."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
from prometheus_client import CollectorRegistry

from tests.support import FakeClock, make_ids
from zapd.announce import PUBLIC, Announcer, iso
from zapd.backoff import Backoff
from zapd.jobs.job import Job, Outcome
from zapd.model.webhook import Delivery, Endpoint
from zapd.store.commands import Change, Row
from zapd.store.database import Database
from zapd.store.deliveries import DeliveryStore
from zapd.store.endpoint_waits import EndpointWaitStore
from zapd.store.endpoints import EndpointStore
from zapd.store.events import EventStore
from zapd.store.reader import Reader
from zapd.store.vault import Vault
from zapd.store.writer import Writer
from zapd.webhooks.client import Client
from zapd.webhooks.delivery import Deliverer
from zapd.webhooks.endpoints import Endpoints
from zapd.webhooks.fanout import Fanout
from zapd.webhooks.guard import Guard
from zapd.webhooks.hanging import Hanging
from zapd.webhooks.metrics import WebhookMetrics
from zapd.webhooks.pacing import Pacing
from zapd.webhooks.parcels import Packer
from zapd.webhooks.ping import Pinger
from zapd.webhooks.resend import Resender
from zapd.webhooks.resolver import Resolver
from zapd.webhooks.standing import Standing

TENANT = "t1"


class World:
    """Parts by name; `jobs` holds every job that was committed and not run."""

    def __init__(self, database: Database, *, backoff: float, budget: int, timeout: float) -> None:
        self.clock = FakeClock(time.time_ns() // 1_000_000)
        self.jobs: list[Job] = []
        self.registry = CollectorRegistry()
        self.reader = Reader(database=database)
        self.writer = Writer(database=database)
        self.events = EventStore(database=database, reader=self.reader)
        self.deliveries = DeliveryStore(database=database, reader=self.reader)
        vault = Vault(keys=[bytes(32)], random_bytes=os.urandom)
        self.endpoints = EndpointStore(database=database, reader=self.reader, vault=vault)
        guard = Guard(allow_loopback=True)
        self.resolver = Resolver(guard=guard)
        self.client = Client(resolver=self.resolver, timeout=timeout)
        ids = make_ids(self.clock.now_ms)
        self.rules = Endpoints(
            guard=guard, resolver=self.resolver, ids=ids, now_ms=self.clock.now_ms, random_bytes=os.urandom
        )
        metrics = WebhookMetrics(registry=self.registry)
        self.limits: list[tuple[str, int | None]] = []  # what the queue was told: endpoint, POSTs at once
        self.fanout = Fanout(
            endpoints=self.endpoints,
            deliveries=self.deliveries,
            ids=ids,
            priority=3,
            metrics=metrics,
            limit=lambda endpoint: self._set_cap(endpoint, None),
        )
        self.announcer = Announcer(events=self.events, fan_out=self.fanout.changes, ids=ids)
        now_ms = self.clock.now_ms
        self.database = database
        self.pacing = self._made_pacing()
        standing = Standing(
            endpoints=self.endpoints,
            fanout=self.fanout,
            commit=self.commit,
            announce=self.announcer.announce,
            budget=budget,
            now_ms=now_ms,
        )
        self.deliverer = Deliverer(
            deliveries=self.deliveries,
            endpoints=self.endpoints,
            fanout=self.fanout,
            client=self.client,
            commit=self.commit,
            announce=self.announcer.announce,
            packer=Packer(deliveries=self.deliveries, commit=self.commit, now_ms=now_ms),
            pacing=self.pacing,
            hanging=Hanging(slots=4, clock=lambda: self.clock.now_ms() / 1000),
            standing=standing,
            now_ms=now_ms,
            backoff=Backoff(base=backoff),
            metrics=metrics,
        )
        self.resender = Resender(
            deliveries=self.deliveries,
            endpoints=self.endpoints,
            events=self.events,
            fanout=self.fanout,
            commit=self.commit,
            now_ms=now_ms,
            ids=ids,
            priority=3,
            public=PUBLIC.__contains__,
        )
        self.pinger = Pinger(client=self.client, ids=ids, now_ms=now_ms, random_bytes=os.urandom, iso=iso)

    def _made_pacing(self) -> Pacing:
        return Pacing(
            set_cap=self._set_cap,
            rows=EndpointWaitStore(database=self.database),
            commit=self.writer.commit_all,
            default_cap=4,
            now_ms=self.clock.now_ms,
            random=lambda: 0.0,
        )

    def new_pacing(self) -> None:
        """Forget who is spared, as a restart does."""
        self.pacing = self.deliverer._pacing = self._made_pacing()

    async def _set_cap(self, endpoint: Endpoint, cap: int | None) -> None:
        self.limits.append((endpoint.id, cap))

    async def commit(self, guard: Change, *then: Change, jobs: Sequence[Job] = ()) -> Row | None:
        """What the outbox does, without Redis."""
        row = await self.writer.commit(guard, *then)
        if row is not None:
            self.jobs.extend(jobs)
        return row

    async def endpoint(self, url: str, **given: Any) -> Endpoint:
        """A new endpoint."""
        endpoint = await self.rules.made(**{"tenant": TENANT, "url": url, **given})
        await self.change(self.endpoints.added(endpoint))
        return endpoint

    async def change(self, change: Change) -> None:
        """Commit a change of an endpoint, as the API does."""
        await self.writer.commit(change)
        await self.fanout.refresh()

    async def happens(
        self,
        event_type: str = "message.sent",
        *,
        tenant: str = TENANT,
        connection_id: str | None = "con_1",
        data: Mapping[str, Any] | None = None,
    ) -> list[Job]:
        """An event; gives the jobs that deliver it."""
        told = self.announcer.announce(
            event_type, tenant=tenant, at=self.clock.now_ms(), data=data or {}, connection_id=connection_id
        )
        await self.commit(*told.changes, jobs=told.jobs)
        return self.take_jobs()

    def take_jobs(self) -> list[Job]:
        """The jobs committed since the last look."""
        jobs, self.jobs = self.jobs, []
        return jobs

    async def run(self, job: Job) -> Outcome:
        """Let the handler have a job."""
        return await self.deliverer.deliver(job)

    async def only_delivery(self) -> Delivery:
        """The delivery, when there is one."""
        (delivery,) = await self.deliveries.listed(TENANT)
        return delivery

    async def delivery_of(self, job: Job) -> Delivery:
        """The delivery that a job is for."""
        delivery = await self.deliveries.get(TENANT, orjson.loads(job.payload)["delivery_id"])
        assert delivery is not None
        return delivery

    def count(self, name: str, **labels: str) -> float:
        """A metric's value."""
        return self.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def world_on(
    url: str, *, backoff: float = 10.0, budget: int = 100, timeout: float = 10.0
) -> AsyncIterator[World]:
    """A world on a fresh database; `backoff` is in seconds after a first failure."""
    database = Database(url=url)
    await database.migrate()
    world = World(database, backoff=backoff, budget=budget, timeout=timeout)
    services = [
        asyncio.create_task(world.writer.run(), name="writer"),
        asyncio.create_task(world.reader.run(), name="reader"),
    ]
    yield world
    world.client.close()
    world.resolver.close()
    await world.writer.stop()
    await world.reader.stop()
    await asyncio.gather(*services)
    await database.close()
