"""Queues as a whole."""

from typing import Annotated

from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

from zapd.web.bodies.body import ONE_LINE, Body, Id

# Their bounds are the configuration's, checked where the file's values and these come together.
Span = Annotated[str | None, Field(description='such as "30s", "5m" or "2h"')]
Speed = Annotated[str | None, Field(description='such as "10/s"; "" for no limit')]


class TenantLimits(TypedDict, total=False):
    """Limits of one tenant over all queues."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)  # type: ignore[misc]  # pydantic reads it

    rate: Speed
    burst: int | None
    max_in_flight: int | None


class PauseQueue(Body):
    """What to pause or resume: one kind of jobs, or, without it, the whole queue."""

    kind: str | None = Field(default=None, max_length=64, pattern=ONE_LINE)


class ChangeQueue(Body):
    """Limits from now on, written as in the configuration; `null` takes the file's value again."""

    priority: int | None = None
    concurrency: int | None = None
    max_concurrency: int | None = None
    clear_within: Span = None
    attempts: int | None = None
    backoff: Span = None
    backoff_factor: float | None = None
    timeout: Span = None
    rate: Speed = None
    burst: int | None = None
    max_in_flight: int | None = None
    lane_cap: int | None = None
    lane_rate: Speed = None
    lane_burst: int | None = None


class ChangeQueues(Body):
    """Limits over all queues, written as in `[jobs]`; `null` takes the file's value again, also for one tenant.

    `max_in_flight` is of each daemon, the others hold over all of them.
    """

    max_in_flight: int | None = None
    rate: Speed = None
    burst: int | None = None
    tenant_rate: Speed = None
    tenant_burst: int | None = None
    tenant_max_in_flight: int | None = None
    tenants: dict[Id, TenantLimits | None] | None = None


class CleanQueues(Body):
    """Which queues to clean: completed jobs and dead ones past their retention go. None named: all."""

    queue: str | None = None
