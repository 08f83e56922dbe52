"""The composition root: every part of the process, in the order in which each needs the others. Only this file builds.

How the parts start and stop is in `lifecycle.py`; which queue runs which work is in `App._build_work`. The file is long
because it only lists: a builder for each part, no decisions. Read `App.__init__` for the order.
"""

import asyncio
import os
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson
import structlog
from prometheus_client.registry import Collector

from zapd import __version__, first_start
from zapd.announce import Announcer
from zapd.backoff import Backoff
from zapd.config import Config
from zapd.cron import Cron, CronMetrics, Schedule
from zapd.errors import Unavailable
from zapd.ids import Ids
from zapd.janitor import Janitor
from zapd.jobs.broker import Broker
from zapd.jobs.client import connect
from zapd.jobs.dispatcher import Dispatcher
from zapd.jobs.embedded import EmbeddedRedis
from zapd.jobs.epoch import Epoch
from zapd.jobs.job import Done, Handler, Job, Outcome
from zapd.jobs.metrics import JobMetrics
from zapd.jobs.pool import OnDead, Pool
from zapd.jobs.scripts import Scripts
from zapd.jobs.server import RedisServer
from zapd.jobs.settings import QueueSettings
from zapd.jobs.upkeep import Upkeep
from zapd.lifecycle import Lifecycle
from zapd.messaging.metrics import MessageMetrics
from zapd.messaging.receipts import Receipts
from zapd.messaging.receive import Receiver
from zapd.messaging.send import Sender
from zapd.messaging.submit import Messaging
from zapd.model.session import Connection, TransportName
from zapd.operations import Operations
from zapd.outbox import Outbox, OutboxMetrics
from zapd.sampler import Disk, Sampler, SqlSamples
from zapd.sessions import Kind, Sessions
from zapd.state import State
from zapd.store.connections import ConnectionStore
from zapd.store.database import Database
from zapd.store.deliveries import DeliveryStore
from zapd.store.endpoints import EndpointStore
from zapd.store.events import EventStore
from zapd.store.idempotency import IdempotencyStore
from zapd.store.inbox import InboxStore
from zapd.store.keys import KeyStore
from zapd.store.ledger import LedgerStore
from zapd.store.messages import MessageStore
from zapd.store.metrics import StoreMetrics
from zapd.store.outbox import OutboxStore
from zapd.store.purge import Purge
from zapd.store.reader import Reader
from zapd.store.settings import CronStore
from zapd.store.vault import Vault, load_keys
from zapd.store.writer import Writer
from zapd.supervisor import Service, Supervisor
from zapd.telemetry.exposition import Exposition
from zapd.telemetry.loop_lag import LoopLag
from zapd.telemetry.metrics import DaemonMetrics, HttpMetrics, ServiceCollector, new_registry
from zapd.web.application import build
from zapd.web.auth import Access
from zapd.web.dependencies import SessionPace
from zapd.web.keyring import Keyring
from zapd.web.limits import Pace
from zapd.web.server import Server
from zapd.webhooks.client import Client
from zapd.webhooks.delivery import Deliverer
from zapd.webhooks.endpoints import Endpoints
from zapd.webhooks.fanout import Fanout
from zapd.webhooks.guard import Guard
from zapd.webhooks.metrics import WebhookMetrics
from zapd.webhooks.resolver import Resolver
from zapd.whatsapp import cloud_webhook, content, numbers, sandbox_wire
from zapd.whatsapp.cloud import CloudConfig, CloudTransport
from zapd.whatsapp.manager import SessionManager
from zapd.whatsapp.metrics import SessionMetrics
from zapd.whatsapp.sandbox import SandboxTransport
from zapd.whatsapp.sandbox_ledger import SqlLedger
from zapd.whatsapp.sandbox_network import SandboxNetwork

log = structlog.get_logger("zapd.app")

DELIVERY_GRACE = 5.0  #: seconds a delivery has beyond its POST, to be loaded and recorded


async def noop(_job: Job) -> Outcome:
    """The action of a queue that exists for measuring."""
    return Done()


async def no_mourning(_job: Job, _reason: str, _error: str) -> None:
    """Nobody but the dead letters needs to know."""


def check_cloud_config(config: Mapping[str, Any]) -> None:
    """Raises InvalidInput naming every wrong key."""
    CloudConfig.read(orjson.dumps(dict(config)))


SANDBOX = Kind(
    capabilities=SandboxTransport.capabilities,
    check_config=lambda _config: None,
    parse=lambda _connection, raw: sandbox_wire.parse(raw),
)
CLOUD = Kind(
    capabilities=CloudTransport.capabilities,
    check_config=check_cloud_config,
    parse=lambda connection, raw: cloud_webhook.parse(
        raw, phone_number_id=CloudConfig.read(connection.config).phone_number_id
    ),
)


KINDS = {TransportName.SANDBOX: SANDBOX, TransportName.CLOUD: CLOUD}


@dataclass(frozen=True)
class Work:
    """What the jobs of one queue do; `dead` hears of a job that is given up, before it goes to the dead letters."""

    handler: Handler
    dead: OnDead = no_mourning


def now_ms() -> int:
    """The wall clock, in milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000


class App:
    """Every part of the daemon, built in the order in which each needs the others."""

    def __init__(
        self, *, config: Config, on_failed: Callable[[str, str], None], collectors: Sequence[Collector] = ()
    ) -> None:
        self._config = config
        self._on_failed = on_failed
        self._ids = Ids(clock_ms=now_ms, random_bytes=os.urandom)
        self._registry = new_registry(version=__version__)
        for collector in collectors:
            self._registry.register(collector)
        self._draining = asyncio.Event()
        self._open_store()
        self._open_redis()
        self._open_network()
        self._build_relay()
        self._build_webhooks()
        self._build_sessions()
        self._build_messages()
        self._build_work()
        self._build_pools()
        self._build_operations()
        self._build_services()
        self._build_web()

    # --- resources ---

    def _open_store(self) -> None:
        metrics = StoreMetrics(registry=self._registry)
        self._database = Database(url=self._config.database_url, metrics=metrics)
        self._writer = Writer(database=self._database, metrics=metrics)
        reader = self._reader = Reader(database=self._database)
        keys = load_keys(self._config.data_key_file, random_bytes=os.urandom)
        vault = Vault(keys=keys, random_bytes=os.urandom)
        self._keys = KeyStore(database=self._database, reader=reader)
        self._connections = ConnectionStore(database=self._database, reader=reader, vault=vault)
        self._messages = MessageStore(database=self._database, reader=reader)
        self._events = EventStore(database=self._database, reader=reader)
        self._endpoint_rows = EndpointStore(database=self._database, reader=reader, vault=vault)
        self._deliveries = DeliveryStore(database=self._database, reader=reader)
        self._outbox_rows = OutboxStore(database=self._database)
        self._inbox = InboxStore(reader=reader)

    def _open_redis(self) -> None:
        config = self._config.redis
        self._redis: EmbeddedRedis | None = None
        url = config.server_url
        if url == "embedded":
            directory = self._config.state.dir / "redis"
            self._redis = EmbeddedRedis(directory=directory, binary=config.binary or None)
            url = self._redis.url
        self._commands = connect(url, name="zapd:commands")
        self._beats = connect(url, name="zapd:heartbeat", connections=1)

    def _open_network(self) -> None:
        allow = self._config.webhooks.allow_networks
        guard = Guard(allow_networks=allow, allow_loopback=self._config.http.loopback_only)
        self._resolver = Resolver(guard=guard)
        self._client = Client(resolver=self._resolver, timeout=self._config.webhooks.timeout)
        self._endpoints = Endpoints(
            guard=guard, resolver=self._resolver, ids=self._ids, now_ms=now_ms, random_bytes=os.urandom
        )
        self._http: aiohttp.ClientSession | None = None  # needs the running loop, see `start`

    # --- the way of a job: SQL → Redis → pool → handler ---

    def _build_relay(self) -> None:
        names = list(self._config.queues)
        self._job_metrics = JobMetrics(registry=self._registry, queues=names)
        self._broker = Broker(
            scripts=Scripts(client=self._commands, metrics=self._job_metrics, prefix=self._config.redis.prefix),
            heartbeats=Scripts(client=self._beats, metrics=self._job_metrics, prefix=self._config.redis.prefix),
            queues=[settings_of(name, self._config) for name in names],
            node=first_start.node_id(self._config.state.dir / "node.id", ids=self._ids),
            boot=self._ids.ulid(),
            metrics=self._job_metrics,
            heartbeat_ttl=self._config.jobs.lease,
            completed_for=self._config.retention.completed_jobs,
            dead_for=self._config.retention.dead_jobs,
        )
        self._outbox_metrics = OutboxMetrics(registry=self._registry)
        self._outbox = Outbox(
            writer=self._writer,
            rows=self._outbox_rows,
            broker=self._broker,
            wake=lambda queue: self._dispatcher.wake(queue),  # the dispatcher is built after its handlers
            on_dead=lambda job, reason, error: self._work[job.queue].dead(job, reason, error),
            lost_data=Epoch(redis=self._commands, prefix=self._config.redis.prefix, mark=self._ids.ulid()).lost,
            on_lost=lambda at: self._operations.limit_lanes(at),
            now_ms=now_ms,
            metrics=self._outbox_metrics,
        )

    def _build_webhooks(self) -> None:
        metrics = self._webhook_metrics = WebhookMetrics(registry=self._registry)
        queue = self._config.queues["webhook:delivery"]
        self._fanout = Fanout(
            endpoints=self._endpoint_rows,
            deliveries=self._deliveries,
            ids=self._ids,
            priority=queue.priority,
            metrics=metrics,
        )
        self._announcer = Announcer(events=self._events, fan_out=self._fanout.changes, ids=self._ids)
        self._deliverer = Deliverer(
            deliveries=self._deliveries,
            endpoints=self._endpoint_rows,
            fanout=self._fanout,
            client=self._client,
            commit=self._outbox.commit,
            announce=self._announcer.announce,
            now_ms=now_ms,
            random=random.random,
            ids=self._ids,
            priority=queue.priority,
            backoff=Backoff(base=queue.backoff, factor=queue.backoff_factor),
            metrics=metrics,
        )

    def _build_sessions(self) -> None:
        sandbox = self._config.sandbox
        self._sandbox = SandboxNetwork(
            ledger=SqlLedger(store=LedgerStore(database=self._database), writer=self._writer),
            now_ms=now_ms,
            ids=self._ids,
            pair_after=sandbox.pair_after,
            latency=sandbox.latency,
            auto_reply=sandbox.auto_reply,
        )
        metrics = self._session_metrics = SessionMetrics(registry=self._registry, transports=list(KINDS))
        self._manager = SessionManager(
            transports={TransportName.SANDBOX: self._sandbox_transport, TransportName.CLOUD: self._cloud_transport},
            wanted=self._connections.wanted,
            on_state=lambda connection, change: self._sessions.on_state(connection, change),
            on_raw=self._take_raw,
            on_up=lambda connection: self._sessions.on_up(connection),
            random=random.random,
            calls=metrics.calls,
        )
        self._sessions = Sessions(
            connections=self._connections,
            manager=self._manager,
            kinds=KINDS,
            announcer=self._announcer,
            commit=self._outbox.commit,
            new_endpoint=self._endpoints.made,
            endpoint_added=self._endpoint_rows.added,
            endpoints_changed=self._fanout.refresh,
            wake_lane=self._wake_lane,
            limit_lane=lambda connection: self._operations.limit_lane(connection),
            ids=self._ids,
            now_ms=now_ms,
            metrics=metrics,
        )

    def _sandbox_transport(self, connection: Connection) -> SandboxTransport:
        return SandboxTransport(connection=connection, network=self._sandbox)

    async def _take_raw(self, connection: Connection, raw: bytes) -> None:
        # A transport's bytes have no key of their own: what they tell is dropped or ignored when it comes twice.
        await self._receiver.intake(connection, raw, self._ids.ulid())

    async def _wake_lane(self, queue: str, lane: str) -> None:
        with suppress(Unavailable):  # a parked lane looks again by itself within seconds
            await self._broker.wake_lane(queue, lane)
        self._dispatcher.wake(queue)

    def _cloud_transport(self, connection: Connection) -> CloudTransport:
        assert self._http is not None
        cloud = self._config.cloud
        return CloudTransport(
            connection=connection,
            http=self._http,
            now_ms=now_ms,
            random=random.random,
            base_url=cloud.base_url,
            version=cloud.version,
        )

    def _build_messages(self) -> None:
        metrics = self._message_metrics = MessageMetrics(
            registry=self._registry,
            transports=list(KINDS),
            types=[*content.PAYLOADS, "unknown"],
            transport_of=self._sessions.transport_of,
        )
        receipts = Receipts(
            messages=self._messages,
            announcer=self._announcer,
            commit=self._outbox.commit,
            now_ms=now_ms,
            metrics=metrics,
        )
        self._messaging = Messaging(
            accounts=self._sessions,
            messages=self._messages,
            outbox_rows=self._outbox_rows,
            idempotency=IdempotencyStore(reader=self._reader),
            announcer=self._announcer,
            commit=self._outbox.commit,
            cancel_job=self._broker.cancel,
            recipient=numbers.recipient,
            check_content=content.validate,
            ids=self._ids,
            now_ms=now_ms,
            metrics=metrics,
        )
        self._sender = Sender(
            accounts=self._sessions,
            messages=self._messages,
            receipts=receipts,
            announcer=self._announcer,
            commit=self._outbox.commit,
            now_ms=now_ms,
            metrics=metrics,
        )
        self._receiver = Receiver(
            accounts=self._sessions,
            messages=self._messages,
            inbox=self._inbox,
            receipts=receipts,
            announcer=self._announcer,
            commit=self._outbox.commit,
            ids=self._ids,
            now_ms=now_ms,
            metrics=metrics,
        )

    def _build_work(self) -> None:
        """Who does the work of each queue, and who hears when a job of it is given up."""
        purge = Purge(database=self._database, writer=self._writer)
        janitor = Janitor(
            retention=retention_of(self._config),
            purge=purge.purge,
            queues=list(self._config.queues),
            clean_queue=self._clean_queue,
            now_ms=now_ms,
            registry=self._registry,
        )
        sessions, receiver = self._sessions, self._receiver
        self._work = {
            "session:init": Work(sessions.init, sessions.init_dead),
            "session:close": Work(sessions.finish_close),
            "message:send": Work(self._sender.send, self._sender.dead),
            "message:receive": Work(receiver.receive, receiver.dead),
            "message:status": Work(receiver.receive, receiver.dead),
            "webhook:delivery": Work(self._deliverer.deliver, self._deliverer.dead),
            "maintenance:cleanup": Work(janitor.clean),
            **{name: Work(noop) for name, queue in self._config.queues.items() if queue.action == "noop"},
        }

    async def _clean_queue(self, queue: str) -> int:
        return sum(await self._broker.clean(queue))

    def _build_pools(self) -> None:
        # A queue whose work comes in a later release has no pool: its jobs wait, they are not lost.
        self._pools = [
            Pool(
                queue=settings_of(name, self._config),
                broker=self._broker,
                handler=work.handler,
                on_dead=work.dead,
                on_finished=self._outbox.finished,
                now_ms=now_ms,
                random=random.random,
                numbers=self._job_metrics.queues[name],
            )
            for name, work in self._work.items()
        ]
        self._dispatcher = Dispatcher(
            broker=self._broker, pools=self._pools, max_in_flight=self._config.jobs.max_in_flight
        )

    # --- the process ---

    def _build_operations(self) -> None:
        self._operations = Operations(
            broker=self._broker,
            outbox=self._outbox,
            commit=self._writer.commit,
            outbox_rows=self._outbox_rows,
            connections=self._connections,
            redeliver=self._deliverer.retry,
            session_states=lambda: dict(self._manager.states()),
        )

    def _build_services(self) -> None:
        jobs = self._config.jobs
        self._upkeep = Upkeep(
            broker=self._broker,
            metrics=self._job_metrics,
            random=random.random,
            beat_every=jobs.heartbeat,
            heartbeat_ttl=jobs.lease,
        )
        cleanup = Schedule(name="cleanup", when=self._config.cron.cleanup, queue="maintenance:cleanup", priority=1)
        self._cron = Cron(
            schedules=[cleanup],
            claim=CronStore.claimed,
            commit=self._outbox.commit,
            ids=self._ids,
            now_ms=now_ms,
            metrics=CronMetrics(registry=self._registry),
        )
        resources: list[Service] = [self._writer, self._reader, LoopLag(registry=self._registry)]
        if self._redis is not None:
            resources.append(self._redis)
        self._resources = self._supervisor(resources)
        parts: list[Service] = [self._fanout, self._manager, self._upkeep, self._dispatcher, self._outbox, self._cron]
        self._parts = self._supervisor([*parts, self._build_sampler()])
        operations = self._operations
        self._state = State(
            version=__version__,
            services=lambda: {**self._resources.status(), **self._parts.status()},
            parts={
                "queues": operations.queue_numbers,
                "sessions": operations.session_numbers,
                "outbox": operations.outbox_numbers,
            },
        )
        self._registry.register(ServiceCollector(status=self._state.services))
        self._metrics = DaemonMetrics(registry=self._registry)
        self._metrics.ready.set_function(lambda: self._state.not_ready() is None)
        self._metrics.draining.set_function(self._draining.is_set)

    def _build_sampler(self) -> Sampler:
        sql = SqlSamples(
            connections=self._connections,
            messages=self._messages,
            outbox_rows=self._outbox_rows,
            deliveries=self._deliveries,
            endpoints=self._endpoint_rows,
            session_metrics=self._session_metrics,
            message_metrics=self._message_metrics,
            outbox_metrics=self._outbox_metrics,
            webhook_metrics=self._webhook_metrics,
        )
        server = RedisServer(redis=self._commands, metrics=self._job_metrics, now_ms=now_ms)
        disk = Disk(directory=self._config.state.dir, registry=self._registry)
        samples: dict[str, Callable[[], Awaitable[Any]]] = {
            "sessions": sql.sessions,
            "messages": sql.messages,
            "outbox": sql.outbox,
            "webhooks": sql.webhooks,
            "database": self._database.size_bytes,
            "redis": server.look,
            "disk": disk.look,
        }
        return Sampler(samples=samples)

    def _supervisor(self, services: Sequence[Service]) -> Supervisor:
        return Supervisor(services=services, random=random.random, on_failed=self._on_failed)

    def _build_web(self) -> None:
        limits, http = self._config.limits, self._config.http
        keyring = Keyring(
            rows=self._keys,
            commit=self._writer.commit,
            ids=self._ids,
            random_bytes=os.urandom,
            now_ms=now_ms,
            clock=time.monotonic,
        )
        access = Access(
            keyring=keyring,
            per_key=pace(limits.key_per_minute),
            per_address=pace(limits.ip_per_minute),
            wrong_keys=pace(limits.failed_auth_per_minute),
            trusted_proxies=http.trusted_proxies,
        )
        application = build(
            messaging=self._messaging,
            intake=self._receiver.intake,
            sessions=self._sessions,
            connections=self._connections,
            messages=self._messages,
            events=self._events,
            endpoint_rows=self._endpoint_rows,
            endpoints=self._endpoints,
            endpoints_changed=self._fanout.refresh,
            deliveries=self._deliveries,
            retry_delivery=self._operations.retry_delivery,
            jobs=self._broker,
            queues=self._config.queues,
            enqueue=self._operations.enqueue,
            cancel_job=self._operations.cancel_job,
            next_send_at=self._operations.next_send_at,
            session_pace=SessionPace(per_minute=limits.session_per_minute, burst=limits.session_burst),
            sandbox=self._sandbox,
            system=self._state,
            metrics=HttpMetrics(registry=self._registry),
            render_metrics=Exposition(registry=self._registry).render,
            open_metrics=http.loopback_only,
            keyring=keyring,
            access=access,
            commit=self._writer.commit,
            draining=self._draining,
            ids=self._ids,
            now_ms=now_ms,
            body_limit=http.body_limit,
        )
        host, port = http.address
        self.lifecycle = Lifecycle(
            resources=self._resources,
            parts=self._parts,
            pools=self._pools,
            dispatcher=self._dispatcher,
            outbox=self._outbox,
            server=Server(app=application, host=host, port=port),
            state=self._state,
            draining=self._draining,
            open_database=self._open_database,
            prepare=self._prepare,
            close_connections=self._close_connections,
            close_database=self._database.close,
        )

    # --- what must happen around start and stop ---

    async def _open_database(self) -> None:
        if self._config.database_url.startswith("sqlite"):
            await self._database.migrate()
        await self._database.check_version()

    async def _prepare(self) -> None:
        self._http = aiohttp.ClientSession()
        key_file = self._config.state.dir / "admin.key"
        made = await first_start.ensure_admin_key(
            key_file, keys=self._keys, writer=self._writer, ids=self._ids, random_bytes=os.urandom, now_ms=now_ms
        )
        log.info("admin_key.written" if made else "admin_key.found", path=str(key_file.absolute()))
        await self._fanout.refresh()
        if self._redis is not None and not await self._redis.ready():
            log.error("redis.not_ready")

    async def _close_connections(self) -> None:
        self._client.close()
        self._resolver.close()
        if self._http is not None:
            await self._http.close()
        await self._commands.aclose()
        await self._beats.aclose()

    def apply(self, config: Config) -> None:
        """Take from a new configuration what can change while running: the queues that exist."""
        for pool in self._pools:
            if pool.queue.name not in config.queues:
                continue  # taken out of the file: it goes on as it is until a restart
            settings = settings_of(pool.queue.name, config)
            pool.configure(settings)
            self._broker.configure(settings)
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


def settings_of(name: str, config: Config) -> QueueSettings:
    """A queue's settings for the engine, with the limits that other sections set for it."""
    queue = config.queues[name]
    lane_rate, lane_burst, lane_cap, timeout = queue.lane_rate, queue.lane_burst, queue.lane_cap, queue.timeout
    if name == "message:send":
        lane_rate, lane_burst = config.limits.session_per_minute, config.limits.session_burst
    if name == "webhook:delivery":
        lane_cap = config.webhooks.endpoint_concurrency
        # The POST's own timeout must come first: it records the attempt, a canceled handler records nothing.
        timeout = max(timeout, config.webhooks.timeout + DELIVERY_GRACE)
    return QueueSettings(
        name=name,
        priority=queue.priority,
        concurrency=queue.concurrency,
        max_concurrency=queue.max_concurrency,
        attempts=queue.attempts,
        backoff=queue.backoff,
        backoff_factor=queue.backoff_factor,
        timeout=timeout,
        rate_per_minute=queue.rate,
        burst=queue.burst,
        lane_cap=lane_cap,
        lane_rate_per_minute=lane_rate,
        lane_burst=lane_burst,
    )


def retention_of(config: Config) -> dict[str, int]:
    """Table → milliseconds that its finished rows are kept."""
    kept = config.retention
    return {table: round(getattr(kept, table) * 1000) for table in sorted(Purge.TABLES)}


def pace(per_minute: int) -> Pace:
    """A pace whose burst is one minute's worth."""
    return Pace(rate=per_minute / 60, burst=per_minute, clock=time.monotonic)
