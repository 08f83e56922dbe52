"""Events, and what operators define about them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from zapd.config.hub import EventType, MappingSpec, RouteSpec, SourceSpec, SyncSpec, TargetSpec, TypePattern
from zapd.config.values import duration
from zapd.web.bodies.body import Body, Id, Moment

_NAME = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")


class CreateSource(SourceSpec):
    """A system that calls `POST /hooks/{name}`."""

    name: str = _NAME


class CreateMapping(MappingSpec):
    """A transformation that routes, actions and sources name."""

    name: str = _NAME


class CreateRoute(RouteSpec):
    """Which events do what. Without a name it gets one."""

    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")


class CreateTarget(TargetSpec):
    """A named HTTP system."""

    name: str = _NAME


class CreateSync(SyncSpec):
    """A list in a target that becomes events."""

    name: str = _NAME


class ChangeDefinition(BaseModel):
    """The fields to change; null takes a field back to its default. What is not named stays."""

    model_config = ConfigDict(extra="allow", frozen=True)


MAX_CALLS = 1_000  #: refused calls in one request
MAX_DELAY = 90 * 86_400  #: seconds


def _seconds(value: object) -> object:
    """Seconds as they are, or a duration as in the configuration."""
    return duration(value) if isinstance(value, str) else value


Delay = Annotated[
    float,
    Field(ge=0, le=MAX_DELAY),
    BeforeValidator(_seconds),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0, "maximum": MAX_DELAY}, {"type": "string"}]}),
]


class PostEvent(Body):
    """Something that happened in a system of the user's."""

    type: EventType
    data: Any
    id: Id | None = None
    occurred_at: Moment | None = None
    delay: Delay = Field(default=0, description='until its rules run: seconds, or such as "2h"')
    sync: bool = Field(default=False, description="run the listeners before answering")


class ReplayEvents(Body):
    """Which stored events, and what to do with them."""

    types: list[TypePattern] = Field(default=["*"], min_length=1, max_length=50)
    source: str | None = Field(default=None, max_length=64)
    since: Moment | None = None
    until: Moment | None = None
    ids: list[Id] = Field(default=[], max_length=1_000)
    only_failed: bool = False
    limit: int | None = Field(default=None, ge=1, le=1_000_000)
    mode: Literal["deliver", "routes"] = Field(
        default="routes", description="deliver: hand them to endpoints that lack them; routes: run today's rules"
    )
    dry_run: bool = False
    rate: float = Field(default=600, gt=0, le=60_000, description="events a minute")


class HowMany(Body):
    """How many, the oldest first."""

    limit: int = Field(default=10, ge=1, le=1_000)


class ActivateVersion(Body):
    """Which version."""

    version: int = Field(ge=1, le=1_000_000)


class RunBacktest(Body):
    """What to try: a stored version, or `jmespath` or `jinja2` that is stored nowhere yet; against the one in force."""

    version: int | None = Field(default=None, ge=1, le=1_000_000)
    jmespath: str | None = Field(default=None, max_length=2_000)
    jinja2: str | None = Field(default=None, max_length=20_000)
    types: list[TypePattern] = Field(default=["*"], min_length=1, max_length=50)
    source: str | None = Field(default=None, max_length=64)
    last: int = Field(default=100, ge=1, le=500, description="stored events, the newest first")


class RetryQuarantine(Body):
    """Which refused calls to try again, the oldest first."""

    source: str | None = Field(default=None, max_length=64)
    limit: int = Field(default=100, ge=1, le=MAX_CALLS)
