"""Queues as a whole."""

from typing import Any

from pydantic import Field

from zapd.web.bodies.body import ONE_LINE, Body


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
    """A limit over all queues of each daemon; `null` takes the file's value again."""

    max_in_flight: int | None


class CleanQueues(Body):
    """Which queues to clean: completed jobs and dead ones past their retention go. None named: all."""

    queue: str | None = None
