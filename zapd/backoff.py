"""Delays between tries: `base * factor^(n-1)`, with jitter on top, never below that floor.

Jitter only adds: a herd spreads out, and a provider's "wait at least" is kept.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Backoff:
    """How long to wait after a failed try. Times in seconds."""

    base: float
    factor: float = 3.0
    jitter: float = 0.1  #: share of the floor that is added at most
    cap: float = 3600.0

    def delay(self, failures: int, *, random: Callable[[], float]) -> float:
        """Seconds to wait after the `failures`-th failure (counted from 1). `random` gives 0 ≤ x < 1."""
        try:
            floor = min(self.cap, self.base * self.factor ** max(0, failures - 1))
        except OverflowError:  # an outage of hours: 2.0 ** 1024 is no float any more, and whoever waits must go on
            floor = self.cap
        return floor * (1 + self.jitter * random())
