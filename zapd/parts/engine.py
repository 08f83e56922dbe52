"""The way of a job: SQL → outbox → Redis → dispatcher → pool → handler."""

import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from zapd import first_start
from zapd.config import Config
from zapd.config.queues import QueueConfig
from zapd.config.sections import JobsConfig
from zapd.controls import Controls
from zapd.errors import Unavailable
from zapd.jobs.broker import Broker
from zapd.jobs.client import connect
from zapd.jobs.dispatcher import Dispatcher
from zapd.jobs.embedded import EmbeddedRedis
from zapd.jobs.epoch import Epoch
from zapd.jobs.metrics import JobMetrics
from zapd.jobs.notes import Notes
from zapd.jobs.pool import Pool
from zapd.jobs.rates import Rates
from zapd.jobs.scripts import Scripts
from zapd.jobs.suspects import Suspects
from zapd.jobs.upkeep import Upkeep
from zapd.jobs.verdict import OnDead
from zapd.outbox import Outbox, OutboxMetrics
from zapd.parts.basis import Basis, now_ms
from zapd.parts.queues import WorkTable, settings_of, shared_of
from zapd.parts.storage import Storage


class Engine:
    """Everything that speaks to Redis. `staff` gives it handlers, once they are built.

    `on_dead` hears of each job that is given up; `on_lost` hears when Redis had lost its data, before it is refilled.
    """

    def __init__(
        self,
        basis: Basis,
        storage: Storage,
        *,
        on_dead: OnDead,
        on_lost: Callable[[int], Awaitable[None]],
    ) -> None:
        self._config = config = basis.config
        self.embedded: EmbeddedRedis | None = None
        url = config.redis.server_url
        if url == "embedded":
            self.embedded = EmbeddedRedis(directory=config.state.dir / "redis", binary=config.redis.binary or None)
            url = self.embedded.url
        self.commands = connect(url, name="zapd:commands")
        self._beats = connect(url, name="zapd:heartbeat", connections=1)
        self.metrics = JobMetrics(registry=basis.registry, queues=list(config.queues))
        self.broker = self._broker(basis)
        self.broker.limit_all(shared_of(config.jobs))
        self._epoch = Epoch(redis=self.commands, prefix=config.redis.prefix, mark=basis.ids.ulid())
        self.outbox_metrics = OutboxMetrics(registry=basis.registry)
        self.outbox = Outbox(
            writer=storage.writer,
            rows=storage.outbox,
            broker=self.broker,
            on_dead=on_dead,
            lost_data=self._lost_data,
            on_lost=self._lost,
            now_ms=now_ms,
            lease=config.jobs.lease,
            metrics=self.outbox_metrics,
        )
        self.notes = Notes(
            scripts=Scripts(client=self.commands, metrics=self.metrics, prefix=config.redis.prefix), now_ms=now_ms
        )
        self.rates = Rates(metrics=self.metrics, clock=time.monotonic)
        self.upkeep = Upkeep(
            broker=self.broker,
            metrics=self.metrics,
            random=random.random,
            sampled=self.rates.sample,
            beat_every=config.jobs.heartbeat,
            heartbeat_ttl=config.jobs.lease,
            on_cancel=self._cancel,
        )
        self._on_lost = on_lost
        self.settings = {name: settings_of(name, config) for name in config.queues}  #: as they are now
        self.pools: list[Pool] = []
        self.dispatcher: Dispatcher
        self.controls = Controls(
            config=config,
            settings=storage.settings,
            commit=storage.writer.commit,
            broker=self.broker,
            dispatcher=lambda: self.dispatcher,
            apply=self._configure,
            apply_all=self._configure_all,
        )

    def _broker(self, basis: Basis) -> Broker:
        config, prefix = basis.config, basis.config.redis.prefix
        return Broker(
            scripts=Scripts(client=self.commands, metrics=self.metrics, prefix=prefix),
            heartbeats=Scripts(client=self._beats, metrics=self.metrics, prefix=prefix),
            queues=[settings_of(name, config) for name in config.queues],
            node=first_start.node_id(config.state.dir / "node.id", ids=basis.ids),
            boot=basis.ids.ulid(),
            metrics=self.metrics,
            heartbeat_ttl=config.jobs.lease,
            completed_for=config.retention.completed_jobs,
            dead_for=config.retention.dead_jobs,
            on_ready=self.wake,
        )

    def staff(self, work: WorkTable) -> None:
        """Make a pool for each queue that has work. A queue without has none: its jobs wait, they are not lost."""
        suspects = Suspects()
        self.pools = [
            Pool(
                queue=settings_of(name, self._config),
                broker=self.broker,
                handler=its.handler,
                on_dead=its.dead,
                on_finished=self.outbox.finished,
                now_ms=now_ms,
                random=random.random,
                numbers=self.metrics.queues[name],
                on_retry=self.notes.failed,
                suspects=suspects,
            )
            for name, its in work.items()
        ]
        self.dispatcher = Dispatcher(
            broker=self.broker, pools=self.pools, max_in_flight=self._config.jobs.max_in_flight
        )

    async def stop_job(self, queue: str, job_id: str) -> bool:
        """Take a job out of Redis; one that runs is canceled, here at once, elsewhere at the next heartbeat."""
        there = await self.broker.stop_running(queue, job_id)
        self._cancel(queue, job_id, None)
        return there

    async def runs(self, queue: str, job_id: str) -> bool:
        """Whether a handler has the job now, on any daemon."""
        view = await self.broker.job(queue, job_id)
        return view is not None and view.state == "active"

    def started(self, queue: str, job_id: str) -> float | None:
        """For how many seconds the job runs here; None: it does not."""
        pool = self._pool(queue)
        return pool.started(job_id) if pool else None

    def _cancel(self, queue: str, job_id: str, fence: int | None) -> None:
        pool = self._pool(queue)
        if pool:
            pool.cancel(job_id, fence)

    def _pool(self, queue: str) -> Pool | None:
        return next((pool for pool in self.pools if pool.queue.name == queue), None)

    async def _lost_data(self) -> bool:
        """Whether Redis came back as another. What it holds may be older than what we know, also of our claims."""
        lost = await self._epoch.lost()
        if lost:
            self.dispatcher.doubt()
        return lost

    def wake(self, queue: str) -> None:
        """Something is to be claimed on this queue."""
        self.dispatcher.wake(queue)

    async def wake_lane(self, queue: str, lane: str) -> None:
        """The lane may go on: whatever parked it is over."""
        with suppress(Unavailable):  # a parked lane looks again by itself within seconds
            await self.broker.wake_lane(queue, lane)
        self.wake(queue)

    def apply(self, config: Config) -> None:
        """Take the settings of the queues that exist from a new configuration."""
        self._config = config
        self.controls.reload(config)

    def _configure(self, name: str, queue: QueueConfig, changed: frozenset[str]) -> None:
        settings = settings_of(name, self._config, queue, changed)
        if settings == self.settings[name]:
            return
        self.settings[name] = settings
        self.broker.configure(settings)
        for pool in self.pools:
            if pool.queue.name == name:
                pool.configure(settings)
        self.wake(name)

    def _configure_all(self, jobs: JobsConfig) -> None:
        self.broker.limit_all(shared_of(jobs))
        self.dispatcher.limit(jobs.max_in_flight)
        for name in self.settings:
            self.wake(name)

    async def _lost(self, at: int) -> None:
        await self.controls.restore()
        await self._on_lost(at)

    async def close(self) -> None:
        """Close the connections to Redis."""
        await self.commands.aclose()
        await self._beats.aclose()
