"""The limits over all queues, as the scripts take them: of all jobs together, and of each tenant."""

import hashlib
from collections.abc import Iterable

from zapd.jobs.settings import QueueSettings, SharedLimits, TenantLimits

_GRACE_MS = 30_000  # beyond a job's timeout and its daemon's lease, until one that nobody ended no longer counts
_KEPT_MS = 3_600_000  # for so long Redis knows the tenants' own limits; then it is told again


class Shared:
    """Which queues they are for, and what a script is told of them. While there is none it is told nothing."""

    def __init__(self, queues: Iterable[QueueSettings], *, lease_ms: int) -> None:
        self._lease_ms = lease_ms
        self._queues = {queue.name: queue for queue in queues if queue.shared}
        self._limits = SharedLimits()
        self._version = ""
        self._counted = False  # jobs were claimed that count; their ends must be told though the limits may be gone

    @property
    def limits(self) -> SharedLimits:
        """As they are now."""
        return self._limits

    @limits.setter
    def limits(self, limits: SharedLimits) -> None:
        self._limits = limits
        self._counted = self._counted or limits.in_flight
        told = repr(sorted(limits.own.items())).encode()
        self._version = hashlib.sha1(told).hexdigest()[:16] if limits.own else ""

    def configure(self, queue: QueueSettings) -> None:
        """Other settings of a queue."""
        if queue.name in self._queues:
            self._queues[queue.name] = queue

    def applies(self, queue: str) -> bool:
        """Whether claims of the queue must look at them."""
        return self._limits.set and queue in self._queues

    def counts(self, queue: str) -> bool:
        """Whether the end of a job of the queue must be told to them."""
        return queue in self._queues and self._counted

    def takes_part(self, queue: str) -> bool:
        """Whether jobs of the queue may count: another daemon, or start of this one, may have claimed them."""
        return queue in self._queues

    def args(self, queue: str) -> tuple[float | str, ...]:
        """What `claim.lua` takes, from its twelfth on."""
        runs_at_most = round(self._queues[queue].timeout * 1000) + self._lease_ms + _GRACE_MS
        limits = self._limits
        return (limits.rate_per_minute or 0, limits.burst, *_numbers(limits.tenant), runs_at_most, self._version)

    def own(self) -> list[str | int]:
        """What `own.lua` takes: the limits of single tenants."""
        args: list[str | int] = [self._version, _KEPT_MS]
        for tenant, limits in self._limits.own.items():
            args += [tenant, "|".join(f"{number:.15g}" for number in _numbers(limits))]
        return args


def _numbers(limits: TenantLimits) -> tuple[float, int, int]:
    return limits.rate_per_minute or 0, limits.burst, limits.max_in_flight or 0
