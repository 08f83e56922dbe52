"""What the operator says of one queue."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class QueueSettings:
    """One queue. Times in seconds, rates per minute; a rate of None is no limit."""

    name: str
    priority: int  #: of the queue among queues, 1 to 10; the higher is the more urgent
    concurrency: int  #: handlers at once while there is little to do
    max_concurrency: int  #: handlers at once under backlog
    attempts: int  #: tries in total, then the job is dead
    backoff: float  #: after the first failure; then times `backoff_factor` each
    backoff_factor: float = 3.0
    timeout: float = 30.0  #: of one try
    rate_per_minute: float | None = None  #: starts of the whole queue, over all daemons
    burst: int = 1
    max_in_flight: int | None = None  #: jobs at once over all daemons
    lane_cap: int = 1  #: jobs of one lane at once; 1 keeps their order
    lane_rate_per_minute: float | None = None
    lane_burst: int = 1
