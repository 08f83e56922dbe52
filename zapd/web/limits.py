"""The pace of each caller, by the generic cell rate algorithm: one number per caller, no windows, no counters.

The number is the time at which a caller that goes on at its rate would be free again. A caller may run ahead of the
clock by `burst` requests; who is further ahead waits.
"""

from collections.abc import Callable

MAX_CALLERS = 10_000  #: callers remembered per limit; the longest unseen are forgotten first


class Pace:
    """At most `rate` a second on average and `burst` at once, for each caller. A rate of 0: no limit."""

    def __init__(self, *, rate: float, burst: int, clock: Callable[[], float]) -> None:
        self.burst = burst
        self._interval = 1 / rate if rate > 0 else 0.0
        self._ahead = self._interval * burst
        self._clock = clock
        self._free_at: dict[str, float] = {}

    def take(self, caller: str, per_minute: int | None = None) -> float:
        """0.0 when the caller may go on (and this request counts), else the seconds to wait.

        `per_minute`: a caller's own rate, with a minute's worth at once.
        """
        interval, ahead = (60 / per_minute, 60.0) if per_minute else (self._interval, self._ahead)
        if not interval:
            return 0.0
        now = self._clock()
        free_at = max(self._free_at.get(caller, 0.0), now) + interval
        if free_at - now > ahead + 1e-9:
            return free_at - now - ahead
        self._remember(caller, free_at)
        return 0.0

    def wait(self, caller: str) -> float:
        """The seconds that `take` would answer now; nothing is counted."""
        if not self._interval:
            return 0.0
        now = self._clock()
        free_at = max(self._free_at.get(caller, 0.0), now) + self._interval
        return max(0.0, free_at - now - self._ahead)

    def _remember(self, caller: str, free_at: float) -> None:
        # Taken out and put back: the dict then stands in the order of last sight.
        self._free_at.pop(caller, None)
        if len(self._free_at) >= MAX_CALLERS:
            del self._free_at[next(iter(self._free_at))]
        self._free_at[caller] = free_at
