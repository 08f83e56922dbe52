"""Schedules: what an operator wants to happen by the clock."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from zapd.config.values import CronLine, Duration, Integer, none_if_empty
from zapd.model.timetable import check_zone, misfire_of

MIN_EVERY = 1.0  #: seconds
_FIELD = r"^[^|\x00-\x1f\x7f]*$"  # the engine keeps kind and lane in a header line whose fields `|` parts
RESERVED, SELFTEST = "cleanup", "selftest"  #: zapd's own schedules


def checked_zone(name: str) -> str:
    """The name, if it is a time zone's."""
    check_zone(name)
    return name


def checked_misfire(text: str) -> str:
    """The text, if it is a policy."""
    misfire_of(text)
    return text


class ScheduleConfig(BaseModel):
    """One schedule. Durations in seconds; None means not given."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    cron: Annotated[CronLine | None, BeforeValidator(none_if_empty)] = None
    """A cron line (minute hour day month weekday); or give `every`."""
    every: Annotated[Duration | None, BeforeValidator(none_if_empty)] = None
    """An interval from 1s on, counted from when the schedule was first seen; or give `cron`."""
    timezone: Annotated[str, AfterValidator(checked_zone)] = "UTC"
    """Where the cron line's hours are, such as "America/Sao_Paulo"."""
    jitter: Annotated[Duration, Field(le=3600)] = 0.0
    """By how much a fire comes later at most, by chance, so that not all come together."""
    misfire: Annotated[str, AfterValidator(checked_misfire)] = "skip"
    """What becomes of slots while no daemon ran: "skip", "once" for all of them, or "all(n)", the newest n."""
    queue: str = ""
    """The queue of your own that gets a job; or give `emit`."""
    kind: Annotated[str, Field(max_length=64, pattern=_FIELD)] = ""
    """The job's kind."""
    lane: Annotated[str, Field(max_length=200, pattern=_FIELD)] = ""
    """The job's lane."""
    priority: Annotated[Annotated[Integer, Field(ge=1, le=10)] | None, BeforeValidator(none_if_empty)] = None
    """The job's priority; "" is the queue's."""
    emit: Annotated[str, Field(pattern=r"^([a-zA-Z0-9_]+(\.[a-zA-Z0-9_]+)*)?$", max_length=100)] = ""
    """The type of the event that happens; or give `queue`."""
    payload: Mapping[str, Any] = {}
    """The job's payload, or the event's data."""
