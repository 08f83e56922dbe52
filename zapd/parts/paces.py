"""The paces of what comes in and of what goes out."""

import time
from collections.abc import Callable

from zapd.web.limits import Pace


def burst_of_a_minute(per_minute: float) -> Callable[[str], float]:
    """For what comes in: a minute's worth may come at once."""
    return Pace(rate=per_minute / 60, burst=max(1, round(per_minute)), clock=time.monotonic).take


def burst_of_a_second(per_minute: float) -> Callable[[str], float]:
    """For what goes out: never more than its rate in any second, or one."""
    return Pace(rate=per_minute / 60, burst=max(1, round(per_minute / 60)), clock=time.monotonic).take
