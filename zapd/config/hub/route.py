"""Which events do what."""

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema, model_validator

from zapd.config.hub.spec import (
    NAME,
    TIME,
    EventType,
    Expression,
    HeaderName,
    HeaderValue,
    Short,
    Spec,
    Template,
    TypePattern,
)
from zapd.config.values import Duration, HttpUrl

MAX_ACTIONS = 20
Attempts = Annotated[int, Field(ge=1, le=50)]


class Action(Spec):
    """What every action may have."""

    condition: Expression = ""
    mapping: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$")] = ""
    delay: Annotated[Duration, Field(ge=0, le=90 * 86_400), WithJsonSchema(TIME)] = Field(
        default="0s", validate_default=True
    )
    attempts: Attempts = 5
    backoff: Annotated[Duration, Field(gt=0, le=86_400), WithJsonSchema(TIME)] = Field(
        default="10s", validate_default=True
    )


class Deliver(Action):
    """POST it to a named target, or to an endpoint as a signed webhook."""

    kind: Literal["deliver"]
    target: Annotated[str, Field(pattern=NAME)] | None = None
    endpoint: Annotated[str, Field(max_length=64)] | None = None
    method: Literal["POST", "PUT", "PATCH", "DELETE", "GET"] = "POST"
    path: Template = ""
    headers: dict[HeaderName, HeaderValue] = {}

    @model_validator(mode="after")
    def _one(self) -> "Deliver":
        if (self.target is None) == (self.endpoint is None):
            raise ValueError("give either `target` or `endpoint`")
        return self


class Send(Action):
    """Send a WhatsApp message: `text`, or `type` and `payload` (a template message too)."""

    kind: Literal["send"]
    connection: Template
    to: Template
    text: Template = ""
    type: Annotated[str, Field(max_length=32)] = "text"
    payload: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _content(self) -> "Send":
        if bool(self.text) == (self.payload is not None):
            raise ValueError("give either `text` or `type` and `payload`")
        return self


class Email(Action):
    """Send an e-mail: with texts of its own, or with a `template` such as `appointment.saved`."""

    kind: Literal["email"]
    to: Template
    subject: Template = ""
    text: Template = ""
    html: Template = ""
    template: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$")] = ""

    @model_validator(mode="after")
    def _content(self) -> "Email":
        if bool(self.template) == bool(self.subject and (self.text or self.html)):
            raise ValueError("give either `template`, or `subject` with `text` or `html`")
        return self


class Notify(Action):
    """Post to a Slack incoming webhook."""

    kind: Literal["notify"]
    url: Annotated[HttpUrl, Field(max_length=2_048)]
    text: Template


class Enqueue(Action):
    """Put a job into a queue of the operator's."""

    kind: Literal["enqueue"]
    queue: Annotated[str, Field(max_length=64)]
    job_kind: Annotated[str, Field(max_length=64, pattern=r"^[^|\x00-\x1f\x7f]*$")] = ""
    priority: Annotated[int, Field(ge=1, le=10)] = 5


class Emit(Action):
    """Make another event."""

    kind: Literal["emit"]
    type: EventType


class Listen(Action):
    """Call a listener."""

    kind: Literal["listener"]
    name: Short


class StartSync(Action):
    """Begin a sync."""

    kind: Literal["sync"]
    sync: Annotated[str, Field(pattern=NAME)]


class RunFlow(Action):
    """Start a flow."""

    kind: Literal["flow"]
    flow: Short


AnyAction = Annotated[
    Deliver | Send | Email | Notify | Enqueue | Emit | Listen | StartSync | RunFlow, Field(discriminator="kind")
]


class RouteSpec(Spec):
    """Which events do what."""

    types: list[TypePattern] = Field(min_length=1, max_length=50)
    source: Annotated[str, Field(max_length=64)] | None = None
    condition: Expression = ""
    actions: list[AnyAction] = Field(min_length=1, max_length=MAX_ACTIONS)
    order: Annotated[int, Field(ge=0, le=10_000)] = 100
    enabled: bool = True
