"""The job engine, and what runs by the clock."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from zapd.config.queues import MaybeCount, TenantLimits
from zapd.config.sections.section import Few, Positive, Section
from zapd.config.values import (
    CronLine,
    Integer,
    Rate,
    Size,
)


class JobsConfig(Section):
    """The job engine as a whole; each queue has a section of its own."""

    max_in_flight: Annotated[Integer, Field(ge=1, le=1_000_000)] = 400
    """Jobs that run at once in this daemon over all queues; the urgent queues get the slots first."""
    rate: Rate = None
    """Starts of jobs over all queues and daemons, such as "6000/min"; "" for no limit."""
    burst: Few = 1
    """Jobs that may start at once before that rate holds them back."""
    tenant_rate: Rate = None
    """Starts of jobs of each tenant, over all queues and daemons; "" for no limit."""
    tenant_burst: Few = 1
    """Jobs of a tenant that may start at once before its rate holds them back."""
    tenant_max_in_flight: MaybeCount = None
    """Jobs of each tenant at once, over all queues and daemons; "" for no limit."""
    tenants: Mapping[str, TenantLimits] = {}
    """The same for single tenants instead: { acme = { rate = "600/min", burst = 10, max_in_flight = 5 } }."""
    heartbeat: Positive = 4.0
    """How often a daemon says in Redis that it is alive."""
    lease: Positive = 15.0
    """A daemon that was silent this long is taken for dead and its jobs run elsewhere; at least three heartbeats."""
    payload_limit: Annotated[Size, Field(ge=1024, le=16 * 1024**2)] = 256 * 1024
    """Largest payload of a job from the API; a larger one is refused, the others of the call are taken."""
    bulk_limit: Annotated[Size, Field(ge=64 * 1024, le=256 * 1024**2)] = 32 * 1024**2
    """Largest request body with jobs, which may be 10,000 at once; a larger one is answered with 413."""
    retry_rate: Annotated[Rate, Field(gt=0)] = 3000.0
    """How fast dead letters that are retried together start again, so that an outage does not end in a herd."""


class CronConfig(Section):
    """What runs by the clock, in UTC."""

    cleanup: CronLine = "*/5 * * * *"
    """When the cleanup runs (minute hour day month weekday)."""
    selftest: CronLine = "0 4 * * 0"
    """When stored events are run through today's rules, without doing anything, to see whether they still fit."""
