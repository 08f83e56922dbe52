"""The queues: one table of defaults for those that zapd brings, and what an operator may set for each.

webhook:delivery has `attempts = 3`: three tries in all, 10 s and 30 s apart (10 s × 3^(n-1), the series 10, 30, 90 s).
The design's table says "attempts is the total number of tries", the issue says "retry 3 × (10 s, 30 s, 90 s)". Both
hold with three tries on that series; a fourth try, which alone would use the 90 s, would break the table.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from zapd.config.values import Duration, HttpUrl, Integer, Number, Rate, duration, none_if_empty

ACTIONS = ("noop", "webhook", "listener")  #: what a job of an operator's own queue can do; flows come later
LISTENER = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"
NAME = r"^[a-z][a-z0-9_.-]*(:[a-z0-9_.-]+)*$"  #: no braces: the name is the hash tag of the queue's Redis keys
MAX_NAME = 64

Count = Annotated[Integer, Field(ge=1, le=10_000)]


def _maybe_count(value: object) -> object:
    if value == "" or value is None:
        return None
    number = int(value) if isinstance(value, str) and value.isdecimal() else value  # the environment holds text
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= 10_000:
        raise ValueError('should be a number from 1 to 10,000, or "" for no limit')
    return number


MaybeCount = Annotated[int | None, BeforeValidator(_maybe_count)]


def _duration_or_none(value: object) -> object:
    return None if value == "" else duration(value)


class RetryRule(BaseModel):
    """How errors of one class are tried again; None: as the queue says. `never` is one attempt in all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    attempts: Annotated[Integer, Field(ge=1, le=100)] | None = None
    backoff: Annotated[float | None, BeforeValidator(_duration_or_none)] = None

    @model_validator(mode="before")
    @classmethod
    def _never(cls, value: object) -> object:
        if value == "never":
            return {"attempts": 1}
        if not isinstance(value, dict):
            raise ValueError('should be "never" or a table such as { attempts = 10, backoff = "30s" }')
        return value


class TenantLimits(BaseModel):
    """What one tenant may do, over all queues. A rate per minute; None means no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rate: Rate = None
    burst: Count = 1
    max_in_flight: MaybeCount = None


class QueueConfig(BaseModel):
    """One queue. Durations in seconds, rates per minute; None means no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    priority: Annotated[Integer, Field(ge=1, le=10)] = 5
    """1 to 10; the higher is the more urgent."""
    concurrency: Count = 5
    """Jobs at once that the pool falls back to when the queue is short."""
    max_concurrency: Count = 50
    """Jobs at once that the pool grows to while the queue is long."""
    clear_within: Annotated[Duration, Field(gt=0)] = 1.0
    """The pool grows while what is ready would take longer than this to work off."""
    attempts: Annotated[Integer, Field(ge=1, le=100)] = 3
    """Tries in all; after the last one the job is a dead letter."""
    backoff: Duration = 2.0
    """Wait after the first failure."""
    backoff_factor: Annotated[Number, Field(ge=1, le=10)] = 3.0
    """What each further wait is multiplied by."""
    timeout: Annotated[Duration, Field(gt=0)] = 30.0
    """Time for one try."""
    rate: Rate = None
    """Starts of jobs over the whole queue, such as "600/min"; "" for no limit."""
    burst: Count = 1
    """Jobs that may start at once before the rate holds them back."""
    max_in_flight: MaybeCount = None
    """Jobs at once over all daemons; "" for each daemon's own max_concurrency only."""
    shared_limits: bool = True
    """Whether its jobs count for the limits over all queues ([jobs] rate, tenant_rate …), and wait for them."""
    lane_cap: Count = 1
    """Jobs of one lane at once; 1 keeps a lane's order."""
    lane_rate: Rate = None
    """Starts of jobs of one lane; "" for no limit."""
    lane_burst: Count = 1
    """Jobs of one lane that may start at once before its rate holds them back."""
    jitter: Annotated[Number, Field(ge=0, le=10)] = 0.1
    """Share of a wait that is added to it at most, by chance, so that a herd spreads out."""
    deadline: Annotated[float | None, BeforeValidator(_duration_or_none)] = None
    """From when a job is due: a try that would start later is not made, the job is a dead letter; "" for none."""
    retry: Mapping[str, RetryRule] = {}
    """What is different for a class of errors: { timeout = "never", connect = { attempts = 10, backoff = "30s" } }."""
    unique_policy: Literal["", "return-existing", "reject", "replace", "keep-last"] = ""
    """What becomes of a job whose double has not ended; "" looks only at ids and keys that a job brings itself."""
    unique_for: Annotated[float | None, BeforeValidator(_duration_or_none)] = None
    """How long a key is taken at most, though its job has not ended; "" until it ends."""
    kinds: tuple[Annotated[str, Field(max_length=64, pattern=r"^[^|\x00-\x1f\x7f]*$")], ...] = ()
    """Kinds of jobs that the queue takes, "" for jobs without one; [] takes every kind."""
    keep_dead: Annotated[float | None, BeforeValidator(_duration_or_none)] = None
    """How long its dead letters are kept; "" is [retention] dead_jobs."""
    action: str = ""
    """What a job does; only for queues of your own, which must say it: "noop", "webhook" or "listener"."""
    endpoint: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._:-]{0,63})?$")] = ""
    """For "webhook": the id of the endpoint that gets each job as a signed POST."""
    url: Annotated[HttpUrl | None, BeforeValidator(none_if_empty)] = None
    """For "webhook" without an endpoint: where each job is POSTed to."""
    secret: str = Field(default="", repr=False)
    """For "webhook" with a url: what signs, "whsec_" and base64 of 24 to 64 bytes."""
    listener: Annotated[str, Field(pattern=LISTENER + "|^$")] = ""
    """For "listener": the Python callable that does each job, as "package.module:name"."""


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
_ALWAYS = ("session:init", "session:close", "maintenance:cleanup")  # these keep no customer's work: no limit holds them

BUILT_IN: Mapping[str, QueueConfig] = {
    name: QueueConfig.model_validate({**dict(zip(_COLUMNS, row, strict=True)), "shared_limits": name not in _ALWAYS})
    for name, row in _ROWS.items()
}
