"""What runs by the clock: the cleanup, cron, and gauges that are counted."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from zapd.config import Config
from zapd.cron import Cron, CronMetrics, Schedule
from zapd.janitor import Janitor
from zapd.jobs.server import RedisServer
from zapd.parts.accounts import Accounts
from zapd.parts.basis import Basis, now_ms
from zapd.parts.engine import Engine
from zapd.parts.jobs import Jobs
from zapd.parts.media import Media
from zapd.parts.messages import Messages
from zapd.parts.storage import Storage
from zapd.parts.webhooks import Webhooks
from zapd.sampler import Disk, Sampler, SqlSamples
from zapd.store.purge import Purge
from zapd.store.settings import CronStore


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


def cron(basis: Basis, engine: Engine) -> Cron:
    """What enqueues jobs by the clock."""
    cleanup = Schedule(name="cleanup", when=basis.config.cron.cleanup, queue="maintenance:cleanup", priority=1)
    return Cron(
        schedules=[cleanup],
        claim=CronStore.claimed,
        commit=engine.outbox.commit,
        ids=basis.ids,
        now_ms=now_ms,
        metrics=CronMetrics(registry=basis.registry),
    )


def sampler(
    basis: Basis, storage: Storage, engine: Engine, webhooks: Webhooks, accounts: Accounts, messages: Messages
) -> Sampler:
    """What counts, for the metrics."""
    sql = SqlSamples(
        connections=storage.connections,
        messages=storage.messages,
        outbox_rows=storage.outbox,
        deliveries=storage.deliveries,
        endpoints=storage.endpoints,
        session_metrics=accounts.metrics,
        message_metrics=messages.metrics,
        outbox_metrics=engine.outbox_metrics,
        webhook_metrics=webhooks.metrics,
    )
    server = RedisServer(redis=engine.commands, metrics=engine.metrics, now_ms=now_ms)
    disk = Disk(directory=basis.config.state.dir, registry=basis.registry)
    samples: dict[str, Callable[[], Awaitable[Any]]] = {
        "sessions": sql.sessions,
        "messages": sql.messages,
        "outbox": sql.outbox,
        "webhooks": sql.webhooks,
        "database": storage.database.size_bytes,
        "redis": server.look,
        "disk": disk.look,
    }
    return Sampler(samples=samples)


def retention_of(config: Config) -> dict[str, int]:
    """Table → milliseconds that its finished rows are kept."""
    kept = config.retention
    return {table: round(getattr(kept, table) * 1000) for table in sorted(Purge.TABLES)}
