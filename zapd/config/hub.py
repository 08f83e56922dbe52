"""What an operator may define for the event hub: sources, mappings, routes, targets, syncs. The API takes the same.

The store seals what was given; `masked` shows its secrets as `***`. In TOML a secret may also be `env:NAME` or
`credential:NAME`: it is then read from there when the configuration is loaded.
"""

import re
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from zapd.config.values import Duration, HttpUrl, Rate, Size

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"  #: of a source, mapping, route, target or sync
EVENT_TYPE = re.compile(r"[a-zA-Z0-9_-]+(\.[a-zA-Z0-9_-]+)*", re.ASCII)
TYPE_PATTERN = re.compile(r"\*|[a-zA-Z0-9_-]+(\.[a-zA-Z0-9_-]+)*(\.\*)?", re.ASCII)
MAX_TYPE = 128
MAX_TEXT = 20_000  #: characters of a template
MAX_EXPRESSION = 2_000  #: characters of a JMESPath expression
MAX_ACTIONS = 20

TIME = {"type": "string", "description": 'such as "30s", "5m" or "2h"'}
SIZE = {"type": "string", "description": 'such as "64KiB"'}
Pace = Annotated[Rate, WithJsonSchema({"type": "string", "description": 'such as "100/min"; "" for no limit'})]
Short = Annotated[str, Field(max_length=512)]
Expression = Annotated[str, Field(max_length=MAX_EXPRESSION)]
Template = Annotated[str, Field(max_length=MAX_TEXT)]
Secret = Annotated[str, Field(max_length=4_096)]
Attempts = Annotated[int, Field(ge=1, le=50)]
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


Preset = Literal["meta", "zapi", "github", "stripe", "shopify", "standard-webhooks", "hmac", "api-key", "basic"]


class SourceSpec(Spec):
    """A system that calls `POST /hooks/{name}`."""

    verify: Preset
    secret: Secret = ""
    secrets: list[Secret] = Field(default=[], max_length=3)
    username: Short = ""
    header: str = Field(default="", pattern=r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]{0,100}$")
    algorithm: Literal["sha1", "sha256", "sha384", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: Annotated[str, Field(max_length=32)] = ""
    timestamp_header: str = Field(default="", pattern=r"^[!#$%&'*+\-.^_`|~0-9A-Za-z]{0,100}$")
    signed: str = Field(default="", max_length=100)
    tolerance: Annotated[Duration, Field(gt=0, le=86_400), WithJsonSchema(TIME)] = Field(
        default="5m", validate_default=True
    )
    verify_token: Secret = ""
    dedup: Expression = ""
    type: Expression = ""
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    mapping: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$")] = ""
    rate: Pace = Field(default="100/min", validate_default=True)
    ip_rate: Pace = Field(default="100/min", validate_default=True)
    body_limit: Annotated[Size, Field(ge=1024, le=16 * 1024**2), WithJsonSchema(SIZE)] = Field(
        default="1MiB", validate_default=True
    )
    enabled: bool = True

    @property
    def live_secrets(self) -> list[str]:
        """Every secret that verifies: several during a rotation."""
        return [secret for secret in (self.secret, *self.secrets) if secret]

    @model_validator(mode="after")
    def _whole(self) -> "SourceSpec":
        if not self.live_secrets:
            raise ValueError("`secret` is needed: nothing is taken without a check")
        if self.verify == "basic" and not self.username:
            raise ValueError("`username` is needed for basic")
        if self.verify in ("hmac", "api-key") and not self.header:
            raise ValueError(f"`header` is needed for {self.verify}")
        if self.signed and "{body}" not in self.signed:
            raise ValueError("`signed` must contain {body}, such as `{timestamp}.{body}`")
        if "{timestamp}" in self.signed and not self.timestamp_header:
            raise ValueError("`timestamp_header` is needed when `signed` has {timestamp}")
        return self


class MappingSpec(Spec):
    """A named transformation: JMESPath for JSON, or a sandboxed Jinja2 template for text."""

    jmespath: Expression = ""
    jinja2: Template = ""
    json_: bool = Field(default=False, alias="json", description="the template's text is JSON")
    note: Short = ""

    @model_validator(mode="after")
    def _one(self) -> "MappingSpec":
        if bool(self.jmespath) == bool(self.jinja2):
            raise ValueError("give either `jmespath` or `jinja2`")
        return self


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


class NoAuth(Spec):
    """Nothing is added."""

    type: Literal["none"] = "none"


class ApiKeyAuth(Spec):
    """A key in a header."""

    type: Literal["api_key"]
    header: HeaderName = "X-Api-Key"
    key: Secret


class BearerAuth(Spec):
    """A fixed bearer token."""

    type: Literal["bearer"]
    token: Secret


class BasicAuth(Spec):
    """User name and password."""

    type: Literal["basic"]
    username: Short
    password: Secret


class OAuth2Auth(Spec):
    """OAuth 2 client credentials; the token is kept until shortly before it ends."""

    type: Literal["oauth2"]
    token_url: Annotated[HttpUrl, Field(max_length=2_048)]
    client_id: Short
    client_secret: Secret
    scope: Short = ""
    audience: Short = ""


class HmacAuth(Spec):
    """A signature over the body in a header."""

    type: Literal["hmac"]
    header: HeaderName = "X-Signature"
    secret: Secret
    algorithm: Literal["sha1", "sha256", "sha384", "sha512"] = "sha256"
    encoding: Literal["hex", "base64"] = "hex"
    prefix: Annotated[str, Field(max_length=32)] = ""


Auth = Annotated[NoAuth | ApiKeyAuth | BearerAuth | BasicAuth | OAuth2Auth | HmacAuth, Field(discriminator="type")]


class TargetSpec(Spec):
    """A named HTTP system that routes, syncs and flows call."""

    base_url: Annotated[HttpUrl, Field(max_length=2_048)]
    auth: Auth = NoAuth()
    headers: dict[HeaderName, HeaderValue] = Field(default={}, max_length=20)
    timeout: Annotated[Duration, Field(gt=0, le=60), WithJsonSchema(TIME)] = Field(default="15s", validate_default=True)
    rate: Pace = None
    concurrency: Annotated[int, Field(ge=1, le=100)] = 4
    health: Short = ""
    breaker_failures: Annotated[int, Field(ge=1, le=1_000)] = 5
    breaker_wait: Annotated[Duration, Field(gt=0, le=86_400), WithJsonSchema(TIME)] = Field(
        default="30s", validate_default=True
    )


class SyncSpec(Spec):
    """Pages through a target and emits an event for each item; goes on where it was after a crash."""

    target: Annotated[str, Field(pattern=NAME)]
    path: Short
    items: Expression
    type: EventType
    id: Expression = Field(description="JMESPath over an item: the same id is emitted once")
    paging: Literal["page", "offset", "cursor", "none"] = "page"
    parameter: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\[\]-]{1,64}$")] = "page"
    cursor: Expression = Field(default="", description="JMESPath over an answer: the next value of `parameter`")
    first: Annotated[int, Field(ge=0, le=1_000_000)] = 1
    max_pages: Annotated[int, Field(ge=1, le=100_000)] = 1_000

    @model_validator(mode="after")
    def _cursor(self) -> "SyncSpec":
        if (self.paging == "cursor") != bool(self.cursor):
            raise ValueError('`cursor` belongs to paging = "cursor", and is needed there')
        return self


class Defined(NamedTuple):
    """What the configuration file defines under one name. `given` is JSON."""

    spec: Spec
    given: bytes


#: A kind of definition, as in `DefinitionKind`.
KINDS: dict[str, type[Spec]] = {
    "source": SourceSpec,
    "mapping": MappingSpec,
    "route": RouteSpec,
    "target": TargetSpec,
    "sync": SyncSpec,
}


#: Keys whose values are secrets, wherever they stand in a spec.
SECRETS = frozenset({"secret", "secrets", "verify_token", "key", "token", "password", "client_secret"})
_PLAIN = frozenset({"payload", "schema"})  #: what stands below these is the operator's own


def masked(given: Any) -> Any:
    """What was given, as the API shows it: secrets that are set are `***`, of headers the names are left."""
    if isinstance(given, list):
        return [masked(item) for item in given]
    if not isinstance(given, dict):
        return given
    shown: dict[str, Any] = {}
    for key, value in given.items():
        hidden = key in SECRETS or (key == "url" and given.get("kind") == "notify")
        if key == "headers" and isinstance(value, dict):
            shown[key] = dict.fromkeys(value, "***")
        elif hidden and value:
            shown[key] = ["***"] * len(value) if isinstance(value, list) else "***"
        else:
            shown[key] = value if key in _PLAIN else masked(value)
    return shown
