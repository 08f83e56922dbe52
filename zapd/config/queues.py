"""The queues: one table of defaults for those that zapd brings, and what an operator may set for each.

webhook:delivery has `attempts = 3`: three tries in all, 10 s and 30 s apart (10 s × 3^(n-1), the series 10, 30, 90 s).
The design's table says "attempts is the total number of tries", the issue says "retry 3 × (10 s, 30 s, 90 s)". Both
hold with three tries on that series; a fourth try, which alone would use the 90 s, would break the table.
"""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from zapd.config.values import Duration, Rate

ACTIONS = ("noop",)  #: what a job of an operator's own queue can do so far; webhook call, listener and flow come later
NAME = r"^[a-z][a-z0-9_.-]*(:[a-z0-9_.-]+)*$"  #: no braces: the name is the hash tag of the queue's Redis keys
MAX_NAME = 64

Count = Annotated[int, Field(ge=1, le=10_000)]


class QueueConfig(BaseModel):
    """One queue. Durations in seconds, rates per minute; None means no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    priority: Annotated[int, Field(ge=1, le=10)] = 5
    """1 to 10; the higher is the more urgent."""
    concurrency: Count = 5
    """Jobs at once that the pool falls back to when the queue is short."""
    max_concurrency: Count = 50
    """Jobs at once that the pool grows to while the queue is long."""
    attempts: Annotated[int, Field(ge=1, le=100)] = 3
    """Tries in all; after the last one the job is a dead letter."""
    backoff: Duration = 2.0
    """Wait after the first failure."""
    backoff_factor: Annotated[float, Field(ge=1, le=10)] = 3.0
    """What each further wait is multiplied by."""
    timeout: Annotated[Duration, Field(gt=0)] = 30.0
    """Time for one try."""
    rate: Rate = None
    """Starts of jobs over the whole queue, such as "600/min"; "" for no limit."""
    burst: Count = 1
    """Jobs that may start at once before the rate holds them back."""
    lane_cap: Count = 1
    """Jobs of one lane at once; 1 keeps a lane's order."""
    lane_rate: Rate = None
    """Starts of jobs of one lane; "" for no limit."""
    lane_burst: Count = 1
    """Jobs of one lane that may start at once before its rate holds them back."""
    action: str = ""
    """What a job does; only for queues of your own, where it must be given: "noop" ends at once."""


# The design's table. webhook:delivery takes its lane cap from [webhooks] endpoint_concurrency, message:send its lane
# rate and burst from [limits].
_ROWS = {
    # name: priority, concurrency, max_concurrency, attempts, backoff, timeout
    "session:init": (10, 3, 10, 3, "5s", "120s"),
    "session:close": (8, 3, 10, 2, "5s", "30s"),
    "message:receive": (7, 10, 50, 3, "2s", "30s"),
    "event:process": (7, 10, 50, 3, "2s", "30s"),
    "message:send": (5, 5, 100, 5, "2s", "60s"),
    "flow:run": (4, 5, 50, 3, "2s", "60s"),
    "message:status": (4, 5, 20, 3, "2s", "30s"),
    # Eleven tries at 10 s × 3^(n-1) end after three and a half days; Meta keeps a received file for seven.
    "media:download": (3, 2, 10, 11, "10s", "600s"),
    "webhook:delivery": (3, 3, 100, 3, "10s", "30s"),
    "notification:send": (3, 2, 10, 2, "5s", "15s"),
    "maintenance:cleanup": (1, 1, 1, 1, "0s", "600s"),
}
_COLUMNS = ("priority", "concurrency", "max_concurrency", "attempts", "backoff", "timeout")

BUILT_IN: Mapping[str, QueueConfig] = {
    name: QueueConfig.model_validate(dict(zip(_COLUMNS, row, strict=True))) for name, row in _ROWS.items()
}
