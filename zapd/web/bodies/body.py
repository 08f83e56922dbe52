"""What all bodies have in common. An unknown field is an error: a misspelt one would be dropped in silence."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from zapd.config.values import Integer, duration
from zapd.jobs.job import MAX_PRIORITY

MAX_ITEMS = 10_000  #: jobs in one request, dead letters in one bulk call
#: Ids that clients choose: safe in a URL, a log line and a file name.
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")]
Label = Annotated[str, Field(min_length=1, max_length=200)]
Priority = Annotated[Integer, Field(ge=1, le=MAX_PRIORITY, description="the higher, the more urgent")]
Payload = dict[str, Any]
#: A span of time: a number of seconds, or text such as "90s", "10m", "1d".
Seconds = Annotated[float, BeforeValidator(lambda value: duration(value) if isinstance(value, str) else value)]
ONE_LINE = r"^[^|\x00-\x1f\x7f]*$"  # the engine keeps kind and lane in a header line whose fields `|` parts


class Body(BaseModel):
    """What all bodies have in common."""

    # Each is built when it is first used: a daemon uses few of them.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
