"""What happens by the clock."""

from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from zapd.announce import PUBLIC
from zapd.config.schedules import MIN_EVERY, checked_misfire, checked_zone
from zapd.web.bodies.body import ONE_LINE, Body, Id, Priority, Seconds

Zone = Annotated[str, Field(max_length=64), AfterValidator(checked_zone)]
MisfireText = Annotated[str, AfterValidator(checked_misfire)]


class ScheduleSpec(Body):
    """What happens by the clock: a job in `queue` or an event `emit`, at the slots of `cron` or `every`."""

    cron: str | None = Field(default=None, max_length=200, description="minute hour day month weekday")
    every: Seconds | None = Field(default=None, ge=MIN_EVERY, le=366 * 86_400, description="seconds, or text as `10m`")
    timezone: Zone = "UTC"
    jitter: Seconds = Field(default=0, ge=0, le=3600)
    misfire: MisfireText = "skip"
    queue: str | None = Field(default=None, max_length=64)
    kind: str = Field(default="", max_length=64, pattern=ONE_LINE)
    lane: str = Field(default="", max_length=200, pattern=ONE_LINE)
    priority: Priority | None = None
    emit: str | None = Field(default=None, max_length=100, pattern=r"^[a-zA-Z0-9_]+(\.[a-zA-Z0-9_]+)*$")
    payload: Any = {}

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if (self.cron is None) == (self.every is None):
            raise ValueError("give either cron or every")
        if (self.queue is None) == (self.emit is None):
            raise ValueError("give either queue or emit")
        if self.emit in PUBLIC:
            raise ValueError("`emit` is one of zapd's own types; receivers must be able to trust those")
        if self.emit is not None and not isinstance(self.payload, dict):
            raise ValueError("the payload of an event should be an object")
        return self


class CreateSchedule(ScheduleSpec):
    """A new schedule."""

    id: Id | None = None
    paused: bool = False


class ChangeSchedule(Body):
    """What to change; a field that is not there stays. `cron` takes the place of `every`, `queue` that of `emit`."""

    cron: str | None = Field(default=None, max_length=200)
    every: Seconds | None = None
    timezone: str | None = None
    jitter: Seconds | None = None
    misfire: str | None = None
    queue: str | None = None
    kind: str | None = None
    lane: str | None = None
    priority: Priority | None = None
    emit: str | None = None
    payload: Any = None
