"""How fast jobs come and go, from the counters that Redis keeps for all daemons."""

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from zapd.jobs.inspect import QueueStats
from zapd.jobs.metrics import JobMetrics

WINDOW = 60.0  #: seconds that the rates are taken over
_LEAST = 1.0  # seconds between two counts that make a rate


class _Count(NamedTuple):
    at: float
    came: int
    left: int
    tries: int
    failed: int
    busy: float  # seconds that handlers of this daemon worked


@dataclass(frozen=True, kw_only=True)
class QueuePace:
    """Rates are jobs a second. `utilisation` is of this daemon; `time_to_clear` in seconds, None: nothing leaves."""

    rate_in: float
    rate_out: float
    failure_rate: float
    utilisation: float
    time_to_clear: float | None


class Rates:
    """Remembers counts of the last minute. `clock` gives seconds."""

    def __init__(self, *, metrics: JobMetrics, clock: Callable[[], float]) -> None:
        self._metrics = metrics.queues
        self._clock = clock
        self._counts: defaultdict[str, deque[_Count]] = defaultdict(deque)

    def sample(self, queue: str, stats: QueueStats) -> None:
        """Remember these counts; to be called every few seconds."""
        counts, new = self._counts[queue], self._count(queue, stats)
        if counts and (new.came < counts[-1].came or new.tries < counts[-1].tries):
            counts.clear()  # Redis lost its data and counts from 0
        counts.append(new)
        while len(counts) > 1 and counts[1].at <= new.at - WINDOW:
            counts.popleft()

    def pace(self, queue: str, stats: QueueStats) -> QueuePace:
        """Over the last minute, up to these counts."""
        now, counts, numbers = self._count(queue, stats), self._counts[queue], self._metrics[queue]
        before = counts[0] if counts and counts[0].came <= now.came and counts[0].tries <= now.tries else now
        seconds = now.at - before.at
        per_second = 1 / seconds if seconds >= _LEAST else 0.0
        tries, slots = now.tries - before.tries, max(1, numbers.slots)
        out = (now.left - before.left) * per_second
        ready = stats.waiting + stats.staged
        worked = (now.busy - before.busy) * per_second / slots
        return QueuePace(
            rate_in=round((now.came - before.came) * per_second, 3),
            rate_out=round(out, 3),
            failure_rate=round((now.failed - before.failed) / tries, 4) if tries else 0.0,
            # What runs now has not ended, so it is not in the seconds yet.
            utilisation=round(min(1.0, max(worked, numbers.slots_used / slots)), 4),
            time_to_clear=0.0 if not ready else round(ready / out, 3) if out else None,
        )

    def _count(self, queue: str, stats: QueueStats) -> _Count:
        return _Count(
            at=self._clock(),
            came=stats.enqueued,
            left=stats.completed + stats.died,
            tries=stats.completed + stats.failed,
            failed=stats.failed,
            busy=self._metrics[queue].run.total,
        )
