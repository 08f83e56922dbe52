"""The limits over all queues, as the scripts take them: of all jobs together, and of each tenant."""

import hashlib
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from zapd.errors import Unavailable
from zapd.jobs.scripts import ScriptFailed
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
        self._uncounted: set[str] = set()  # whose jobs may run that were claimed before there was such a limit
        self._counted = False  # jobs were claimed that count; their ends must be told though the limits may be gone

    @property
    def limits(self) -> SharedLimits:
        """As they are now."""
        return self._limits

    @limits.setter
    def limits(self, limits: SharedLimits) -> None:
        self._limits = limits
        self._counted = self._counted or limits.in_flight
        if limits.in_flight:
            self._uncounted.update(self._queues)
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

    async def count_running(self, call: Callable[..., Awaitable[Any]], consumer: str) -> None:
        """Let what this daemon runs count in a limit that is new: it was claimed while nobody counted."""
        while self._uncounted:
            queue = self._uncounted.pop()
            try:
                await call("count", queue, consumer, self._runs_at_most(queue), shared=True)
            except ScriptFailed:
                continue  # it is in the log; the trouble is with that queue, whose claims fail as well
            except Unavailable:
                self._uncounted.add(queue)
                raise

    def args(self, queue: str) -> tuple[float | str, ...]:
        """What `claim.lua` takes, from its twelfth on."""
        limits = self._limits
        tenant = _numbers(limits.tenant)
        return (limits.rate_per_minute or 0, limits.burst, *tenant, self._runs_at_most(queue), self._version)

    def _runs_at_most(self, queue: str) -> int:
        return round(self._queues[queue].timeout * 1000) + self._lease_ms + _GRACE_MS

    def own(self) -> list[str | int]:
        """What `own.lua` takes: the limits of single tenants."""
        args: list[str | int] = [self._version, _KEPT_MS]
        for tenant, limits in self._limits.own.items():
            args += [tenant, "|".join(f"{number:.15g}" for number in _numbers(limits))]
        return args


def _numbers(limits: TenantLimits) -> tuple[float, int, int]:
    return limits.rate_per_minute or 0, limits.burst, limits.max_in_flight or 0
