"""What runs by the clock: the cleanup, cron, and gauges that are counted."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import orjson

from zapd.config import Config
from zapd.config.schedules import RESERVED, SELFTEST
from zapd.cron import Cron, CronMetrics
from zapd.janitor import Janitor
from zapd.jobs.server import RedisServer
from zapd.model.schedule import Spec
from zapd.parts.accounts import Accounts
from zapd.parts.basis import Basis, now_ms
from zapd.parts.engine import Engine
from zapd.parts.hub import Hub
from zapd.parts.jobs import Jobs
from zapd.parts.media import Media
from zapd.parts.messages import Messages
from zapd.parts.storage import Storage
from zapd.parts.webhooks import Webhooks
from zapd.sampler import Disk, Sampler, SqlSamples
from zapd.store.purge import Purge


def janitor(
    basis: Basis,
    storage: Storage,
    engine: Engine,
    media: Media,
    jobs: Jobs,
    *,
    sweeps: Sequence[Callable[[], Awaitable[int]]],
) -> Janitor:
    """What deletes the old. `sweeps` do the same for what is not a row of a table."""

    async def clean_queue(queue: str) -> int:
        return sum(await engine.broker.clean(queue)) + await jobs.dead.clean(queue)

    return Janitor(
        retention=retention_of(basis.config),
        purge=storage.purge.purge,
        queues=list(basis.config.queues),
        clean_queue=clean_queue,
        sweeps=[lambda: media.files.sweep(storage.media.known), *sweeps],
        now_ms=now_ms,
        registry=basis.registry,
    )


def cron(basis: Basis, storage: Storage, engine: Engine, hub: Hub) -> Cron:
    """What fires by the clock."""
    return Cron(
        rows=storage.schedules,
        configured=schedules_of(basis.config),
        commit=engine.outbox.commit,
        emit=hub.announced,
        ids=basis.ids,
        now_ms=now_ms,
        metrics=CronMetrics(registry=basis.registry),
    )


def schedules_of(config: Config) -> dict[str, tuple[str, Spec]]:
    """The operator's schedules and zapd's own: id → source and what it is."""
    cleanup = Spec(
        cron=config.cron.cleanup, misfire="once", queue="maintenance:cleanup", priority=1, kind=RESERVED, lane=RESERVED
    )
    process = config.queues["event:process"]
    selftest = Spec(
        cron=config.cron.selftest,
        misfire="once",
        queue="event:process",
        priority=process.priority,
        kind=SELFTEST,
    )
    found = {RESERVED: ("zapd", cleanup), SELFTEST: ("zapd", selftest)}
    for name, wanted in config.schedules.items():
        priority = wanted.priority or (config.queues[wanted.queue].priority if wanted.queue else 0)
        found[name] = (
            "config",
            Spec(
                cron=wanted.cron or "",
                every=wanted.every or 0,
                timezone=wanted.timezone,
                jitter=wanted.jitter,
                misfire=wanted.misfire,
                queue=wanted.queue,
                kind=wanted.kind,
                lane=wanted.lane,
                priority=priority,
                emit=wanted.emit,
                payload=orjson.dumps(wanted.payload),
            ),
        )
    return found


def sampler(
    basis: Basis, storage: Storage, engine: Engine, webhooks: Webhooks, accounts: Accounts, messages: Messages, hub: Hub
) -> Sampler:
    """What counts, for the metrics."""
    sql = SqlSamples(
        connections=storage.connections,
        messages=storage.messages,
        parked=storage.parked,
        outbox_rows=storage.outbox,
        deliveries=storage.deliveries,
        endpoints=storage.endpoints,
        session_metrics=accounts.metrics,
        message_metrics=messages.metrics,
        outbox_metrics=engine.outbox_metrics,
        webhook_metrics=webhooks.metrics,
    )

    async def dead() -> None:
        counts = await storage.dead_letters.by_queue()
        for name, numbers in engine.metrics.queues.items():
            numbers.jobs["dead"] = counts.get(name, 0)

    server = RedisServer(redis=engine.commands, metrics=engine.metrics, now_ms=now_ms)
    disk = Disk(directory=basis.config.state.dir, registry=basis.registry)
    samples: dict[str, Callable[[], Awaitable[Any]]] = {
        "sessions": sql.sessions,
        "messages": sql.messages,
        "outbox": sql.outbox,
        "dead": dead,
        "webhooks": sql.webhooks,
        "database": storage.database.size_bytes,
        "redis": server.look,
        "disk": disk.look,
        "hub": hub.look,
    }
    return Sampler(samples=samples)


def retention_of(config: Config) -> dict[str, int]:
    """Table → milliseconds that its finished rows are kept."""
    kept = config.retention
    return {table: round(getattr(kept, table) * 1000) for table in sorted(Purge.TABLES)}
