"""What all bodies have in common. An unknown field is an error: a misspelt one would be dropped in silence."""

from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from zapd.config.values import duration
from zapd.jobs.job import MAX_PRIORITY


def _text(value: object) -> object:
    if isinstance(value, (int, float)):
        raise ValueError('should be a time such as "2026-11-27T12:00:00Z"')
    return value


MAX_ITEMS = 10_000  #: jobs in one request, dead letters in one bulk call
#: Ids that clients choose: safe in a URL, a log line and a file name.
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")]
Label = Annotated[str, Field(min_length=1, max_length=200)]
Priority = Annotated[int, Field(ge=1, le=MAX_PRIORITY, description="the higher, the more urgent")]
Payload = dict[str, Any]
#: A span of time: a number of seconds, or text such as "90s", "10m", "1d".
Seconds = Annotated[
    float,
    BeforeValidator(lambda value: duration(value) if isinstance(value, str) else value),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string"}]}),
]
#: A point in time. A number is refused: some mean seconds by it and some milliseconds.
Moment = Annotated[AwareDatetime, BeforeValidator(_text), Field(strict=False)]
ONE_LINE = r"^[^|\x00-\x1f\x7f]*$"  # the engine keeps kind and lane in a header line whose fields `|` parts


class Body(BaseModel):
    """What all bodies have in common: also that text is no number, and 1 is not true."""

    # Each is built when it is first used: a daemon uses few of them.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)
