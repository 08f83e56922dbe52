"""What the operator says of one queue."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class RetryRule:
    """What is different for one class of errors; None: as the queue says. One attempt in all means no retry."""

    attempts: int | None = None
    backoff: float | None = None


_AS_QUEUE = RetryRule()


@dataclass(frozen=True, kw_only=True)
class QueueSettings:
    """One queue. Times in seconds, rates per minute; a rate of None is no limit."""

    name: str
    priority: int  #: of the queue among queues, 1 to 10; the higher is the more urgent
    concurrency: int  #: handlers at once while there is little to do
    max_concurrency: int  #: handlers at once under backlog
    clear_within: float = 1.0  #: grow while what is ready would take longer than this
    waits_after: float | None = None  #: a job that runs for longer waits for a stranger: one more may run beside it
    hangs_after: float | None = None  #: one that runs for longer counts for no limit of jobs at once, see `slots.py`
    attempts: int  #: tries in total, then the job is dead
    backoff: float  #: after the first failure; then times `backoff_factor` each
    backoff_factor: float = 3.0
    timeout: float = 30.0  #: of one try
    rate_per_minute: float | None = None  #: starts of the whole queue, over all daemons
    burst: int = 1
    max_in_flight: int | None = None  #: jobs at once over all daemons
    shared: bool = True  #: whether its jobs count for the limits over all queues, and wait for them
    lane_cap: int = 1  #: jobs of one lane at once; 1 keeps their order
    lane_rate_per_minute: float | None = None
    lane_burst: int = 1
    retry: Mapping[str, RetryRule] = field(default_factory=dict)  #: by class of the error
    jitter: float = 0.1  #: share of a wait that is added at most
    deadline: float | None = None  #: from when it is due; no try starts later

    def rule(self, kinds: str) -> RetryRule:
        """The rule for an error whose class and ancestors are `kinds`, the nearest first."""
        if not self.retry:
            return _AS_QUEUE
        return next((self.retry[kind] for kind in kinds.split() if kind in self.retry), _AS_QUEUE)


@dataclass(frozen=True, kw_only=True)
class TenantLimits:
    """What one tenant may do, over all queues and daemons. A rate per minute; None is no limit."""

    rate_per_minute: float | None = None
    burst: int = 1
    max_in_flight: int | None = None


@dataclass(frozen=True, kw_only=True)
class SharedLimits:
    """The limits over all queues and daemons: of all jobs together, and of each tenant. `own`: of single tenants."""

    rate_per_minute: float | None = None
    burst: int = 1
    tenant: TenantLimits = TenantLimits()
    own: Mapping[str, TenantLimits] = field(default_factory=dict)

    @property
    def set(self) -> bool:
        """Whether there is any."""
        return self.rate_per_minute is not None or self.tenant != TenantLimits() or bool(self.own)

    @property
    def in_flight(self) -> bool:
        """Whether any of them counts what runs."""
        return any(each.max_in_flight for each in (self.tenant, *self.own.values()))
