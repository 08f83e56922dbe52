"""The bodies that clients send. An unknown field is an error: a misspelt one would be dropped in silence."""

from datetime import datetime
from typing import Annotated, Any, TypeVar

import orjson
from aiohttp import web
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from zapd.errors import FieldError, InvalidInput
from zapd.jobs.job import MAX_PRIORITY
from zapd.model.access import Scope
from zapd.model.session import OnAmbiguous, TransportName
from zapd.model.webhook import BodyFormat
from zapd.web import problems
from zapd.webhooks.endpoints import OVERLAP
from zapd.whatsapp.sandbox_faults import Fault

B = TypeVar("B", bound=BaseModel)

MAX_ITEMS = 10_000  #: jobs in one request, dead letters in one bulk call
MAX_IDEMPOTENCY_KEY = 255  #: characters

#: Ids that clients choose: safe in a URL, a log line and a file name.
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")]
Label = Annotated[str, Field(min_length=1, max_length=200)]
Priority = Annotated[int, Field(ge=1, le=MAX_PRIORITY, description="the higher, the more urgent")]
Payload = dict[str, Any]
_ONE_LINE = r"^[^|\x00-\x1f\x7f]*$"  # the engine keeps kind and lane in a header line whose fields `|` parts


class Body(BaseModel):
    """What all bodies have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SendMessage(Body):
    """A message to send."""

    to: str = Field(min_length=1, max_length=64, description="a phone number with country code, or a JID")
    type: str = Field(min_length=1, max_length=32)
    payload: Payload
    message_id: Id | None = None
    priority: Priority | None = None
    send_at: AwareDatetime | None = None
    expires_at: AwareDatetime | None = None
    reply_to: str | None = Field(default=None, min_length=1, max_length=256)


class ConnectionConfig(BaseModel):
    """What every transport may be told, beside the transport's own settings.

    cloud: `phone_number_id waba_id access_token app_secret verify_token`. The transport checks its own.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    rate_per_minute: int | None = Field(default=None, ge=1, le=100_000)
    on_ambiguous: OnAmbiguous | None = None

    @property
    def own(self) -> dict[str, Any]:
        """The settings of the transport itself."""
        return self.model_extra or {}


class CreateConnection(Body):
    """A WhatsApp account to connect."""

    id: Id | None = None
    label: Label
    transport: TransportName
    config: ConnectionConfig = ConnectionConfig()
    webhook_url: str | None = None


class Pair(Body):
    """How to link an account. With `phone` a code is shown that is typed on that phone, instead of one to scan."""

    phone: str | None = Field(default=None, min_length=1, max_length=64)


class CreateEndpoint(Body):
    """A URL that wants events. What a URL, a type, a header and a secret may be is checked in `zapd.webhooks`."""

    url: str
    types: list[str] = Field(
        default=["*"], description="`*`, a name such as `message.sent`, or a family such as `message.*`"
    )
    connection_id: Id | None = None
    format: BodyFormat = BodyFormat.STANDARD
    headers: dict[str, str] = {}
    secret: str | None = Field(default=None, description="`whsec_` and base64 of 24 to 64 bytes; made when not given")


class UpdateEndpoint(Body):
    """What to change; a field that is not there stays."""

    url: str | None = None
    types: list[str] | None = None
    headers: dict[str, str] | None = None
    enabled: bool | None = None


class RotateSecret(Body):
    """A new secret; made when not given."""

    secret: str | None = None
    overlap: float = Field(default=OVERLAP, description="seconds that the old secret goes on signing")


class CreateKey(Body):
    """A key for a client."""

    label: Label
    scopes: list[Scope] = Field(min_length=1)
    connection_id: Id | None = None
    expires_at: AwareDatetime | None = None
    rate_per_minute: int | None = Field(default=None, ge=1, le=10_000_000, description="requests; else the daemon's")
    tenant: Id | None = Field(default=None, description="another tenant's key; for the operator only")


class RotateKey(Body):
    """A key with the same rights in its place."""

    overlap: int = Field(default=86_400, ge=0, le=30 * 86_400, description="seconds that the old key goes on working")


class CreateTenant(Body):
    """A customer."""

    id: Id | None = None
    name: Label


class JobItem(Body):
    """One job for a queue of the operator's."""

    id: Id | None = None
    kind: str = Field(default="", max_length=64, pattern=_ONE_LINE)
    payload: Any
    priority: Priority | None = None
    run_at: AwareDatetime | None = None
    lane: str = Field(default="", max_length=200, pattern=_ONE_LINE)


class EnqueueJobs(Body):
    """Jobs to enqueue; each is checked by itself, as a `JobItem`."""

    jobs: list[Any] = Field(min_length=1, max_length=MAX_ITEMS)


class DeadFilter(Body):
    """Which dead letters. Without any field: all of them."""

    queue: str | None = None
    reason: str | None = None
    ids: list[str] | None = Field(default=None, max_length=MAX_ITEMS)


class CleanQueues(Body):
    """Which queues to clean: completed jobs and dead ones past their retention go. None named: all."""

    queue: str | None = None


class UploadFile(Body):
    """A file, as a part of a form. The whole body may be the file instead."""

    file: Annotated[bytes, Field(json_schema_extra={"format": "binary"})]


class SandboxInbound(Body):
    """What a contact of the simulated network writes."""

    from_: str = Field(alias="from", min_length=1, max_length=64)
    type: str = Field(default="text", min_length=1, max_length=32)
    payload: Payload


class SandboxFaults(Body):
    """The trouble to come; it replaces what was left of the last. A bare list is taken too."""

    faults: list[Fault] = Field(max_length=1000)

    @model_validator(mode="before")
    @classmethod
    def _of_list(cls, value: Any) -> Any:
        return {"faults": value} if isinstance(value, list) else value


async def parsed(request: web.Request, model: type[B]) -> B:
    """The body as `model`, straight from its bytes. An empty body counts as `{}`. Raises InvalidInput."""
    try:
        return model.model_validate_json(await request.read() or b"{}")
    except ValidationError as error:
        raise problems.of_validation(error) from None


async def raw(request: web.Request, limit: int) -> bytes:
    """The body as it came, for a route whose limit is not the general one."""
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > limit:
            raise web.HTTPRequestEntityTooLarge(max_size=limit, actual_size=len(body))
    return bytes(body)


def as_json(payload: Any, field: str = "payload") -> bytes:
    """The stored bytes of a payload. Raises InvalidInput for numbers beyond 64 bits and broken Unicode."""
    try:
        return orjson.dumps(payload)
    except orjson.JSONEncodeError as error:
        raise InvalidInput(FieldError(field, str(error))) from None


def ms(at: datetime | None) -> int | None:
    """A point in time as milliseconds since 1970 UTC."""
    return None if at is None else round(at.timestamp() * 1000)
