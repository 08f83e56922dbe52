"""What all definitions have in common."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

from zapd.config.values import Rate

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"  #: of a source, mapping, route, target or sync
EVENT_TYPE = re.compile(r"[a-zA-Z0-9_-]+(\.[a-zA-Z0-9_-]+)*", re.ASCII)
TYPE_PATTERN = re.compile(r"\*|[a-zA-Z0-9_-]+(\.[a-zA-Z0-9_-]+)*(\.\*)?", re.ASCII)
MAX_TYPE = 128
MAX_TEXT = 20_000  #: characters of a template
MAX_EXPRESSION = 2_000  #: characters of a JMESPath expression
TIME = {"type": "string", "description": 'such as "30s", "5m" or "2h"'}
SIZE = {"type": "string", "description": 'such as "64KiB"'}
Pace = Annotated[Rate, WithJsonSchema({"type": "string", "description": 'such as "100/min"; "" for no limit'})]
Short = Annotated[str, Field(max_length=512)]
Expression = Annotated[str, Field(max_length=MAX_EXPRESSION)]
Template = Annotated[str, Field(max_length=MAX_TEXT)]
Secret = Annotated[str, Field(max_length=4_096)]
HeaderName = Annotated[str, Field(pattern=r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,100}$")]
HeaderValue = Annotated[str, Field(pattern=r"^[\x20-\x7e]*$", max_length=4_096)]


def _type_pattern(value: str) -> str:
    if len(value) > MAX_TYPE or not TYPE_PATTERN.fullmatch(value):
        raise ValueError("should be `*`, a name such as `lead.created`, or a family such as `lead.*`")
    return value


def _event_type(value: str) -> str:
    if len(value) > MAX_TYPE or not EVENT_TYPE.fullmatch(value):
        raise ValueError("should be words of a-z A-Z 0-9 _ - with dots between, such as `lead.created`")
    return value


TypePattern = Annotated[str, AfterValidator(_type_pattern)]
EventType = Annotated[str, AfterValidator(_event_type)]


class Spec(BaseModel):
    """What all have in common: unknown keys are refused, values do not change."""

    # Built at its first use: a daemon without a hub does without.
    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, hide_input_in_errors=True, defer_build=True
    )
