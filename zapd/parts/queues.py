"""Queues: their settings for the engine, and what the jobs of each do."""

from collections.abc import Awaitable, Collection, Mapping
from dataclasses import dataclass

from zapd.config import Config
from zapd.config.queues import QueueConfig
from zapd.config.sections import JobsConfig
from zapd.jobs.job import Handler, Job, Outcome, UnknownKind
from zapd.jobs.settings import QueueSettings, RetryRule, SharedLimits, TenantLimits
from zapd.jobs.verdict import OnDead
from zapd.webhooks.hanging import HANGS_AFTER

DELIVERY_GRACE = 5.0  #: seconds a delivery has beyond its POST, to be loaded and recorded
RECEIVER_SLOW = 0.02  #: seconds after which a POST gives its slot to others: it is only a socket that waits


async def no_mourning(_job: Job, _reason: str, _error: str) -> None:
    """Nobody but the dead letters needs to know."""


@dataclass(frozen=True)
class Work:
    """What the jobs of one queue do; `dead` hears of a job that is given up, before it goes to the dead letters."""

    handler: Handler
    dead: OnDead = no_mourning


def by_kind(works: Mapping[str, Work]) -> Work:
    """The work of each kind of job; "" are those without one. Another kind is a newer release's, on this Redis too: it
    is parked.
    """

    def handle(job: Job) -> Awaitable[Outcome]:  # no coroutine of its own: each step of a job would pass through it
        if job.kind not in works:
            raise UnknownKind(job.kind)
        return works[job.kind].handler(job)

    async def mourn(job: Job, reason: str, error: str) -> None:
        if job.kind in works:
            await works[job.kind].dead(job, reason, error)

    return Work(handle, mourn)


WorkTable = Mapping[str, Work]  #: queue → its work


def settings_of(
    name: str, config: Config, queue: QueueConfig | None = None, changed: Collection[str] = ()
) -> QueueSettings:
    """A queue's settings for the engine, with the limits that other sections set for it.

    `queue`: as it is now, where operators have `changed` it while zapd runs; those win over the other sections.
    """
    queue = queue or config.queues[name]
    lane_rate, lane_burst, lane_cap, timeout = queue.lane_rate, queue.lane_burst, queue.lane_cap, queue.timeout
    if name == "message:send":
        lane_rate = lane_rate if "lane_rate" in changed else config.limits.session_per_minute
        lane_burst = lane_burst if "lane_burst" in changed else config.limits.session_burst
    if name == "webhook:delivery":
        lane_cap = lane_cap if "lane_cap" in changed else config.webhooks.endpoint_concurrency
        # The POST's own timeout must come first: it records the attempt, a canceled handler records nothing.
        timeout = max(timeout, config.webhooks.timeout + DELIVERY_GRACE)
    return QueueSettings(
        name=name,
        priority=queue.priority,
        concurrency=queue.concurrency,
        max_concurrency=queue.max_concurrency,
        clear_within=queue.clear_within,
        waits_after=RECEIVER_SLOW if name == "webhook:delivery" else None,
        hangs_after=HANGS_AFTER if name == "webhook:delivery" else None,
        max_in_flight=queue.max_in_flight,
        shared=queue.shared_limits,
        attempts=queue.attempts,
        backoff=queue.backoff,
        backoff_factor=queue.backoff_factor,
        timeout=timeout,
        rate_per_minute=queue.rate,
        burst=queue.burst,
        lane_cap=lane_cap,
        lane_rate_per_minute=lane_rate,
        lane_burst=lane_burst,
        jitter=queue.jitter,
        deadline=queue.deadline,
        retry={kind: RetryRule(attempts=rule.attempts, backoff=rule.backoff) for kind, rule in queue.retry.items()},
    )


def shared_of(jobs: JobsConfig) -> SharedLimits:
    """The limits over all queues, for the engine."""
    return SharedLimits(
        rate_per_minute=jobs.rate,
        burst=jobs.burst,
        tenant=TenantLimits(
            rate_per_minute=jobs.tenant_rate, burst=jobs.tenant_burst, max_in_flight=jobs.tenant_max_in_flight
        ),
        own={
            name: TenantLimits(rate_per_minute=its.rate, burst=its.burst, max_in_flight=its.max_in_flight)
            for name, its in jobs.tenants.items()
        },
    )
