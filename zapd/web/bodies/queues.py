"""Queues as a whole."""

from typing import Any

from pydantic import Field

from zapd.web.bodies.body import ONE_LINE, Body, Id


class PauseQueue(Body):
    """What to pause or resume: one kind of jobs, or, without it, the whole queue."""

    kind: str | None = Field(default=None, max_length=64, pattern=ONE_LINE)


class ChangeQueue(Body):
    """Limits from now on, written as in the configuration; `null` takes the file's value again."""

    priority: Any = None
    concurrency: Any = None
    max_concurrency: Any = None
    clear_within: Any = None
    attempts: Any = None
    backoff: Any = None
    backoff_factor: Any = None
    timeout: Any = None
    rate: Any = None
    burst: Any = None
    max_in_flight: Any = None
    lane_cap: Any = None
    lane_rate: Any = None
    lane_burst: Any = None


class ChangeQueues(Body):
    """Limits over all queues, written as in `[jobs]`; `null` takes the file's value again, also for one tenant.

    `max_in_flight` is of each daemon, the others hold over all of them.
    """

    max_in_flight: Any = None
    rate: Any = None
    burst: Any = None
    tenant_rate: Any = None
    tenant_burst: Any = None
    tenant_max_in_flight: Any = None
    tenants: dict[Id, dict[str, Any] | None] | None = None


class CleanQueues(Body):
    """Which queues to clean: completed jobs and dead ones past their retention go. None named: all."""

    queue: str | None = None
