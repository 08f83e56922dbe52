"""What every builder is given: the configuration, ids, the clock and the registry of metrics."""

import time
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from zapd.config import Config
from zapd.ids import Ids


@dataclass(frozen=True, kw_only=True)
class Basis:
    """Given to each area's builder."""

    config: Config
    ids: Ids
    registry: CollectorRegistry


def now_ms() -> int:
    """The wall clock, in milliseconds since 1970 UTC."""
    return time.time_ns() // 1_000_000
