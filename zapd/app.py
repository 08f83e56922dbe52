"""The composition root: every part of the process, in the order in which each needs the others.

An area's parts are built in `zapd/parts/`, one file each; only this file and those build. Read `App.__init__` for the
order, `App._work` for which queue runs which work, and `lifecycle.py` for how the parts start and stop.
"""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import structlog
from prometheus_client.registry import Collector

from zapd import __version__, first_start
from zapd.config import Config
from zapd.config.reload import needs_restart
from zapd.config.schedules import RESERVED
from zapd.errors import ConfigError
from zapd.events.desk import Desk
from zapd.events.envelope import ACT
from zapd.ids import Ids
from zapd.janitor import Janitor
from zapd.lifecycle import Lifecycle
from zapd.model.access import DEFAULT_TENANT
from zapd.offline import Offline
from zapd.operations import Operations
from zapd.parts import upkeep
from zapd.parts.accounts import Accounts
from zapd.parts.api import Api
from zapd.parts.basis import Basis, now_ms
from zapd.parts.engine import Engine
from zapd.parts.hub import Hub
from zapd.parts.jobs import Jobs
from zapd.parts.media import Media
from zapd.parts.messages import Messages
from zapd.parts.network import Network
from zapd.parts.privacy import Privacy
from zapd.parts.queues import Work, WorkTable, by_kind
from zapd.parts.storage import Storage
from zapd.parts.webhooks import Webhooks
from zapd.state import State
from zapd.supervisor import Service, Supervisor
from zapd.telemetry.loop_lag import LoopLag
from zapd.telemetry.metrics import DaemonMetrics, ServiceCollector, new_registry

log = structlog.get_logger("zapd.app")

R = TypeVar("R")


class App:
    """Every part of the daemon. What a part needs of a later one it gets as a callable, looked up when called."""

    def __init__(
        self, *, config: Config, on_failed: Callable[[str, str], None], collectors: Sequence[Collector] = ()
    ) -> None:
        self._config = config
        self._on_failed = on_failed
        registry = self._registry = new_registry(version=__version__)
        for collector in collectors:
            registry.register(collector)
        self._ids = Ids(clock_ms=now_ms, random_bytes=os.urandom)
        basis = self._basis = Basis(config=config, ids=self._ids, registry=registry)
        self._storage = Storage(basis)
        self._network = Network(basis)
        self._engine = Engine(
            basis,
            self._storage,
            on_dead=lambda job, reason, error: self._jobs_of[job.queue].dead(job, reason, error),
            on_lost=self._limits_lost,
        )
        self._webhooks = Webhooks(
            basis, self._storage, self._network, self._engine, routed=lambda event: self._hub.processor.routed(event)
        )
        self._accounts = Accounts(
            basis,
            self._storage,
            self._network,
            self._engine,
            self._webhooks,
            intake=lambda connection, raw, key: self._messages.receiver.intake(connection, raw, key),
            limit_lane=lambda connection: self._operations.limit_lane(connection),
            fetch=lambda url: self._media.fetched(url),
            read_media=lambda tenant, media_id: self._media.library.read(tenant, media_id),
            forget=lambda connection: self._messages.forget(connection),
        )
        self._media = Media(
            basis,
            self._storage,
            self._network,
            self._engine,
            self._webhooks,
            download=self._accounts.wires.download,
        )
        self._messages = Messages(basis, self._storage, self._engine, self._webhooks, self._accounts, self._media)
        self._jobs = Jobs(
            basis,
            self._storage,
            self._network,
            self._engine,
            self._webhooks,
            self._messages,
            retry_action=lambda tenant, action_id: self._hub.actor.retry(tenant, action_id),
        )
        self._hub = Hub(
            basis,
            self._storage,
            self._network,
            self._engine,
            self._webhooks,
            messaging=lambda: self._messages.messaging,
        )
        self._privacy = Privacy(basis, self._storage, self._engine, self._accounts)
        self._cron = upkeep.cron(basis, self._storage, self._engine, self._hub)
        self._jobs_of = self._work()
        self._engine.staff(self._jobs_of)
        self._operations = self._build_operations()
        self._draining = asyncio.Event()
        self._build_services()
        self.lifecycle = self._build_lifecycle()

    def _work(self) -> WorkTable:
        """Who does the work of each queue, and who hears when a job of it is given up."""
        sessions, receiver = self._accounts.sessions, self._messages.receiver
        sender, deliverer = self._messages.sender, self._webhooks.deliverer
        plain = {
            "session:init": Work(sessions.init, sessions.init_dead),
            "session:close": Work(sessions.finish_close),
            "message:send": Work(sender.send, sender.dead),
            "message:receive": Work(receiver.receive, receiver.dead),
            "message:status": Work(receiver.receive, receiver.dead),
            "media:download": Work(self._media.downloads.run, self._media.downloads.dead),
        }
        work = {
            **{queue: by_kind({"": its}) for queue, its in plain.items()},
            "event:process": self._hub.process_work(),
            "webhook:delivery": by_kind({"": Work(deliverer.deliver, deliverer.dead), ACT: self._hub.acting()}),
            "notification:send": by_kind({ACT: self._hub.acting()}),
            "maintenance:cleanup": by_kind({RESERVED: Work(self._janitor().clean), **self._privacy.work()}),
            **self._jobs.work(),
        }
        return {queue: self._jobs.guarded(its) for queue, its in work.items()}

    def _janitor(self) -> Janitor:
        sweeps = [self._privacy.sweep]
        return upkeep.janitor(self._basis, self._storage, self._engine, self._media, self._jobs, sweeps=sweeps)

    def _build_operations(self) -> Operations:
        return Operations(
            broker=self._engine.broker,
            commit=self._storage.writer.commit,
            outbox_rows=self._storage.outbox,
            connections=self._storage.connections,
            redeliver=self._webhooks.resender.retry,
            session_states=lambda: dict(self._accounts.manager.states()),
        )

    def _build_services(self) -> None:
        """What runs, in the order of its start."""
        engine = self._engine
        resources: list[Service] = [self._storage.writer, self._storage.reader, LoopLag(registry=self._registry)]
        if engine.embedded is not None:
            resources.append(engine.embedded)
        parts: list[Service] = [self._webhooks.fanout, self._hub.registry, self._accounts.web.pool]
        parts += [self._accounts.manager, engine.upkeep, engine.dispatcher, engine.notes, engine.outbox]
        parts += [self._jobs.batches, self._cron]
        parts.append(
            upkeep.sampler(
                self._basis, self._storage, engine, self._webhooks, self._accounts, self._messages, self._hub
            )
        )
        parts.insert(0, engine.controls)  # what is paused and limited is known before the first claim
        self._resources, self._parts = self._supervisor(resources), self._supervisor(parts)
        self._state = State(
            version=__version__,
            services=lambda: {**self._resources.status(), **self._parts.status()},
            parts={
                "queues": self._operations.queue_numbers,
                "sessions": self._operations.session_numbers,
                "outbox": self._operations.outbox_numbers,
            },
            paused=self._engine.controls.paused,
        )
        self._registry.register(ServiceCollector(status=self._state.services))
        self._metrics = DaemonMetrics(registry=self._registry)
        self._metrics.ready.set_function(lambda: self._state.not_ready() is None)
        self._metrics.draining.set_function(self._draining.is_set)

    def _supervisor(self, services: Sequence[Service]) -> Supervisor:
        return Supervisor(services=services, random=random.random, on_failed=self._on_failed)

    def _build_lifecycle(self) -> Lifecycle:
        api = Api(
            self._basis,
            self._storage,
            self._engine,
            self._webhooks,
            self._accounts,
            self._media,
            self._messages,
            self._hub,
            self._jobs,
            self._privacy,
            self._cron,
            operations=self._operations,
            state=self._state,
            draining=self._draining,
        )
        return Lifecycle(
            resources=self._resources,
            parts=self._parts,
            pools=self._engine.pools,
            dispatcher=self._engine.dispatcher,
            pause_all=self._engine.controls.pause_all,
            outbox=self._engine.outbox,
            server=api.server,
            state=self._state,
            draining=self._draining,
            open_database=self._storage.open,
            prepare=self._prepare,
            close_connections=self._close_connections,
            close_database=self._storage.database.close,
        )

    # --- what must happen around start and stop ---

    async def _prepare(self) -> None:
        key_file = self._config.state.dir / "admin.key"
        made = await first_start.ensure_admin_key(
            key_file,
            keys=self._storage.keys,
            writer=self._storage.writer,
            ids=self._ids,
            random_bytes=os.urandom,
            now_ms=now_ms,
        )
        log.info("admin_key.written" if made else "admin_key.found", path=str(key_file.absolute()))
        await self._storage.writer.commit(self._storage.tenants.ensured(DEFAULT_TENANT, "operator", now_ms()))
        await self._webhooks.open()
        await self._hub.open()
        await self._cron.open()
        if self._engine.embedded is not None and not await self._engine.embedded.ready():
            log.error("redis.not_ready")

    async def _limits_lost(self, at: int) -> None:
        """Redis had lost its data by then (ms): the limits of single sessions and endpoints are put back first."""
        await self._operations.limit_lanes(at)
        await self._webhooks.limits_lost()

    async def offline(self, use: Callable[[Offline, Desk], Awaitable[R]]) -> R:
        """Let `use` work with the event hub while no daemon runs: only the database and the way out are open."""
        needed = self._supervisor([self._storage.writer, self._storage.reader])
        await self._storage.open()
        await needed.start()
        queues = ("event:process", "notification:send", "webhook:delivery")
        try:
            await self._webhooks.open()
            await self._hub.open()
            offline = Offline(
                rows=self._storage.outbox,
                commit=self._storage.writer.commit,
                work={name: self._jobs_of[name] for name in queues},
                process=self._hub.process_default,
                pending=self._hub.pending,
                now_ms=now_ms,
            )
            return await use(offline, self._hub.desk)
        finally:
            await self._close_connections()
            await needed.stop()
            await self._storage.database.close()

    async def _close_connections(self) -> None:
        await self._hub.close()
        await self._media.fetcher.close()
        await self._network.close()
        await self._engine.close()

    async def apply(self, config: Config) -> None:
        """Take from a new configuration what can change while running: queues that exist, schedules for them, rules.

        Raises ConfigError, and takes nothing then.
        """
        if problems := await self._hub.problems(config):
            raise ConfigError(*problems)
        later = needs_restart(self._config, config)
        wanted = upkeep.schedules_of(config)
        known = {
            name: each for name, each in wanted.items() if not each[1].queue or each[1].queue in self._config.queues
        }
        later += [f"schedules.{name}" for name in wanted if name not in known]
        if later:
            log.warning("config.needs_restart", keys=later)
        self._engine.apply(config)
        self._cron.configure(known)
        self._hub.registry.configure(config.definitions)
        self._metrics.reload_at.set_to_current_time()

    def reloaded(self, *, ok: bool) -> None:
        """Whether the last reload was taken, for the metrics."""
        self._metrics.reload_ok.set(ok)

    def summary(self) -> str:
        """One line for `systemctl status`."""
        return self._state.summary()

    def services(self) -> Mapping[str, Mapping[str, Any]]:
        """Per part: `up`, `restarts`, `failed`."""
        return self._state.services()
