"""Gauges that are counted in SQL and Redis: too dear at every change, and true for all daemons."""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Gauge

from zapd.errors import Unavailable
from zapd.messaging.metrics import MessageMetrics
from zapd.outbox import OutboxMetrics
from zapd.store.connections import ConnectionStore
from zapd.store.deliveries import DeliveryStore
from zapd.store.endpoints import EndpointStore
from zapd.store.messages import MessageStore
from zapd.store.outbox import OutboxStore
from zapd.store.parked import ParkedStore
from zapd.webhooks.metrics import WebhookMetrics
from zapd.whatsapp.metrics import SessionMetrics

log = structlog.get_logger("zapd.sampler")

EVERY = 15.0  #: seconds between two rounds
SHARE = 0.05  #: of the time at most: on a large database the rounds come less often

Sample = Callable[[], Awaitable[Any]]


class Sampler:
    """A Service: takes the samples, one after another, at once and then every `every` seconds."""

    name = "sampler"

    def __init__(self, *, samples: Mapping[str, Sample], every: float = EVERY) -> None:
        self._samples = samples
        self._every = every
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Sample until `stop`."""
        while not self._stopping.is_set():
            started = time.monotonic()
            for name, sample in self._samples.items():
                try:
                    await sample()
                except (Unavailable, OSError) as error:  # the gauges keep their last value
                    log.debug("sample.failed", sample=name, reason=str(error))
            took = time.monotonic() - started
            await self._wait(max(self._every, took / SHARE))

    async def stop(self) -> None:
        """End `run`."""
        self._stopping.set()

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return


class SqlSamples:
    """What is counted in SQL; each in one query that an index answers or whose table is small."""

    def __init__(
        self,
        *,
        connections: ConnectionStore,
        messages: MessageStore,
        parked: ParkedStore,
        outbox_rows: OutboxStore,
        deliveries: DeliveryStore,
        endpoints: EndpointStore,
        session_metrics: SessionMetrics,
        message_metrics: MessageMetrics,
        outbox_metrics: OutboxMetrics,
        webhook_metrics: WebhookMetrics,
    ) -> None:
        self._connections = connections
        self._messages = messages
        self._parked = parked
        self._outbox_rows = outbox_rows
        self._deliveries = deliveries
        self._endpoints = endpoints
        self._session_metrics = session_metrics
        self._message_metrics = message_metrics
        self._outbox_metrics = outbox_metrics
        self._webhook_metrics = webhook_metrics

    async def sessions(self) -> None:
        """`zapd_sessions`, `zapd_sessions_down`."""
        self._session_metrics.sampled(await self._connections.counts())

    async def messages(self) -> None:
        """`zapd_messages_held`, `zapd_receipts_parked`."""
        held, parked = await self._messages.held_count(), await self._parked.count()
        self._message_metrics.sampled(held=held, parked=parked)

    async def outbox(self) -> None:
        """`zapd_outbox_rows`."""
        self._outbox_metrics.rows.set(await self._outbox_rows.count())

    async def webhooks(self) -> None:
        """`zapd_deliveries`, `zapd_endpoints`."""
        deliveries, disabled = await self._deliveries.unfinished_counts(), await self._endpoints.disabled_count()
        self._webhook_metrics.sampled(deliveries=deliveries, disabled_endpoints=disabled)


class Disk:
    """`zapd_disk_free_bytes`, `zapd_disk_size_bytes`: the disk that the state directory is on."""

    def __init__(self, *, directory: Path, registry: CollectorRegistry) -> None:
        self._directory = directory
        self._free = Gauge("zapd_disk_free_bytes", "Free on the disk of the state directory.", registry=registry)
        self._size = Gauge("zapd_disk_size_bytes", "Size of the disk of the state directory.", registry=registry)

    async def look(self) -> None:
        """Bring the gauges up to date. Raises OSError."""
        usage = await asyncio.to_thread(shutil.disk_usage, self._directory)  # a network disk may take its time
        self._free.set(usage.free)
        self._size.set(usage.total)
