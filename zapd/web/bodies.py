"""The bodies that clients send. An unknown field is an error: a misspelt one would be dropped in silence."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Annotated, Any, Literal, Self, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import orjson
from aiohttp import web
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from zapd.config.schedules import MIN_EVERY, checked_misfire, checked_zone
from zapd.config.values import duration
from zapd.enqueue import Policy
from zapd.errors import FieldError, InvalidInput
from zapd.jobs.job import MAX_PRIORITY
from zapd.model import pace
from zapd.model.access import Scope
from zapd.model.session import OnAmbiguous, TransportName
from zapd.model.webhook import BodyFormat
from zapd.web import problems
from zapd.webhooks.endpoints import OVERLAP
from zapd.whatsapp.sandbox_contacts import SandboxContact
from zapd.whatsapp.sandbox_faults import Fault

B = TypeVar("B", bound=BaseModel)
#: Seconds that a body may take to arrive.
BODY_TIMEOUT = web.AppKey("body_timeout", float)

MAX_BULK = 1_000  #: messages in one request
MAX_ITEMS = 10_000  #: jobs in one request, dead letters in one bulk call
MAX_IDEMPOTENCY_KEY = 255  #: characters

#: Ids that clients choose: safe in a URL, a log line and a file name.
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$")]
ClockTime = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", description="such as 22:00")]
Label = Annotated[str, Field(min_length=1, max_length=200)]
Priority = Annotated[int, Field(ge=1, le=MAX_PRIORITY, description="the higher, the more urgent")]
Payload = dict[str, Any]
#: A span of time: a number of seconds, or text such as "90s", "10m", "1d".
Seconds = Annotated[float, BeforeValidator(lambda value: duration(value) if isinstance(value, str) else value)]
Zone = Annotated[str, Field(max_length=64), AfterValidator(checked_zone)]
MisfireText = Annotated[str, AfterValidator(checked_misfire)]
_ONE_LINE = r"^[^|\x00-\x1f\x7f]*$"  # the engine keeps kind and lane in a header line whose fields `|` parts


class Body(BaseModel):
    """What all bodies have in common."""

    # Each is built when it is first used: a daemon uses few of them.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


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


class Typing(Body):
    """To whom typing is shown."""

    to: str = Field(min_length=1, max_length=64, description="a phone number with country code, or a JID")


class QuietHours(Body):
    """Hours of the day in which only answers leave: to contacts who wrote within the last hour."""

    from_: ClockTime = Field(alias="from")
    to: ClockTime
    time_zone: str = Field(max_length=64, description="such as America/Sao_Paulo")

    @field_validator("time_zone")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise PydanticCustomError("rule", "should be a time zone such as America/Sao_Paulo") from None
        return name

    @model_validator(mode="after")
    def _differ(self) -> Self:
        if self.from_ == self.to:
            raise PydanticCustomError("rule", "from and to should differ")
        return self

    @property
    def own(self) -> pace.QuietHours:
        """In minutes of the day."""
        return pace.QuietHours(begin=_minute(self.from_), end=_minute(self.to), time_zone=self.time_zone)


def _minute(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])


class ConnectionConfig(BaseModel):
    """What every transport may be told, beside the transport's own settings.

    cloud: `phone_number_id waba_id access_token app_secret verify_token`. The transport checks its own.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    rate_per_minute: int | None = Field(default=None, ge=1, le=100_000)
    on_ambiguous: OnAmbiguous | None = None
    recipient_per_minute: int | None = Field(default=None, ge=0, le=100_000, description="to one person; 0: no limit")
    recipient_burst: int | None = Field(default=None, ge=1, le=100_000)
    new_contacts_per_day: int | None = Field(default=None, ge=0, le=1_000_000, description="0: no limit")
    new_contacts_first_day: int | None = Field(default=None, ge=0, le=1_000_000, description="0: no warm-up")
    lookups_per_minute: int | None = Field(default=None, ge=0, le=100_000, description="0: no limit")
    quiet_hours: QuietHours | None = None

    @model_validator(mode="after")
    def _warms_up(self) -> Self:
        most, first = self.new_contacts_per_day, self.new_contacts_first_day
        if most and first and first > most:
            raise PydanticCustomError("rule", "new_contacts_first_day should be at most new_contacts_per_day")
        return self

    @property
    def limits(self) -> pace.Limits:
        """Its own limits, beyond the messages a minute."""
        return pace.Limits(
            recipient_per_minute=self.recipient_per_minute,
            recipient_burst=self.recipient_burst,
            new_contacts_per_day=self.new_contacts_per_day,
            new_contacts_first_day=self.new_contacts_first_day,
            lookups_per_minute=self.lookups_per_minute,
            quiet_hours=self.quiet_hours.own if self.quiet_hours else None,
        )

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


class UpdateConnection(Body):
    """What to change; a field that is not there stays, also inside of `config`."""

    label: Label | None = None
    config: ConnectionConfig = ConnectionConfig()


class SendBulk(Body):
    """Messages to send; each is checked by itself, as a `SendMessage`."""

    messages: list[Any] = Field(min_length=1, max_length=MAX_BULK)


class CreateContact(Body):
    """A person, by at least one id."""

    name: str | None = Field(default=None, min_length=1, max_length=200)
    phone: str | None = Field(default=None, min_length=1, max_length=64)
    lid: str | None = Field(default=None, pattern=r"^[0-9]{5,40}@lid$")
    bsuid: str | None = Field(default=None, pattern=r"^[A-Z]{2}(\.ENT)?\.[A-Za-z0-9]{1,128}$")
    jid: str | None = Field(default=None, pattern=r"^[0-9]{5,20}@s\.whatsapp\.net$")
    opted_out: bool = False

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if not any((self.phone, self.lid, self.bsuid, self.jid)):
            raise PydanticCustomError("rule", "a contact needs a phone, lid, bsuid or jid")
        return self


class UpdateContact(Body):
    """What to change; a field that is not there stays."""

    name: str | None = Field(default=None, min_length=1, max_length=200)
    opted_out: bool | None = None


class MergeContacts(Body):
    """The contact that is the same person, and goes."""

    contact_id: Id


class Pair(Body):
    """How to link an account. With `phone` a code is shown that is typed on that phone, instead of one to scan."""

    phone: str | None = Field(default=None, min_length=1, max_length=64)


class EndpointOptions(Body):
    """How an endpoint wants its events. Expressions are JMESPath over the event as it is delivered.

    What each may be is checked in `zapd.webhooks`.
    """

    channels: list[str] | None = Field(
        default=None, description="only events of these connections, or with one of these in `data.channels`"
    )
    filter: str | None = Field(default=None, description="only events for which this holds")
    transform: str | None = Field(default=None, description="its result is the body")
    order_by: str | None = Field(
        default=None, description="events with the same result go one after another, such as `connection_id`"
    )
    rate_per_minute: int | None = None
    concurrency: int | None = Field(default=None, description="POSTs at once")
    batch_size: int | None = Field(default=None, description="so many events in one POST at most")
    batch_wait: float | None = Field(default=None, description="seconds that the oldest event waits for company")

    def options(self) -> dict[str, Any]:
        """Those that were given, by the names of `model.webhook.Options`."""
        given: dict[str, Any] = {
            n: getattr(self, n) for n in EndpointOptions.model_fields if n in self.model_fields_set
        }
        if "channels" in given:
            given["channels"] = tuple(given["channels"] or ())
        if "batch_wait" in given and given["batch_wait"] is None:
            del given["batch_wait"]
        return given


class CreateEndpoint(EndpointOptions):
    """A URL that wants events. What a URL, a type, a header and a secret may be is checked in `zapd.webhooks`."""

    url: str
    types: list[str] = Field(
        default=["*"], description="`*`, a name such as `message.sent`, or a family such as `message.*`"
    )
    connection_id: Id | None = None
    format: BodyFormat = BodyFormat.STANDARD
    headers: dict[str, str] = {}
    secret: str | None = Field(
        default=None, description="`whsec_` and base64 of 24 to 64 bytes, or `whsk_…`; made when not given"
    )
    signing: list[Literal["v1", "v1a"]] | None = Field(
        default=None, description="`v1` is HMAC, `v1a` is ed25519 with public keys; `v1` when not given"
    )


class UpdateEndpoint(EndpointOptions):
    """What to change; a field that is not there stays, `null` takes an option back."""

    url: str | None = None
    types: list[str] | None = None
    headers: dict[str, str] | None = None
    enabled: bool | None = None


class RotateSecret(Body):
    """A new secret; made when not given."""

    secret: str | None = None
    overlap: float = Field(default=OVERLAP, description="seconds that the old secret goes on signing")


class DropSecrets(Body):
    """The old secrets go."""

    force: bool = Field(default=False, description="also when no ping has shown that the receiver holds the new one")


class RecoverEndpoint(Body):
    """What to bring back."""

    since: AwareDatetime
    until: AwareDatetime | None = None
    only_failed: bool = Field(default=True, description="false: also events that it never had")
    dry_run: bool = False
    rate: int | None = Field(default=None, ge=1, le=600_000, description="deliveries a minute")


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


class JobSpec(Body):
    """What a job of an own queue is made of."""

    kind: str = Field(default="", max_length=64, pattern=_ONE_LINE)
    payload: Any
    priority: Priority | None = None
    lane: str = Field(default="", max_length=200, pattern=_ONE_LINE)


class JobItem(JobSpec):
    """One job for a queue of the operator's. Without `unique_…` the queue's own rules hold."""

    id: Id | None = None
    run_at: AwareDatetime | None = None
    unique_key: str | None = Field(default=None, min_length=1, max_length=200, pattern=_ONE_LINE)
    unique_for: Seconds | None = Field(default=None, gt=0, description="seconds, or text such as `10m`")
    unique_policy: Policy | None = None


class BatchJob(JobSpec):
    """A job of a batch, or a step of a chain."""

    queue: str = Field(min_length=1, max_length=64)


class BatchCallback(JobSpec):
    """What happens when all have ended: a job in `queue`, or a webhook to an endpoint, or both.

    The job's payload is `{"batch_id", "kind", "total", "succeeded", "failed", "data": payload}`.
    """

    payload: Any = None
    queue: str | None = Field(default=None, min_length=1, max_length=64)
    endpoint_id: str | None = Field(default=None, min_length=1, max_length=64)

    @model_validator(mode="after")
    def _one(self) -> "BatchCallback":
        if self.queue is None and self.endpoint_id is None:
            raise ValueError("give queue or endpoint_id")
        return self


class CreateBatch(Body):
    """Jobs that belong together: `jobs` side by side or `chain` one after the other."""

    id: Id | None = None
    jobs: list[BatchJob] | None = Field(default=None, min_length=1, max_length=MAX_ITEMS)
    chain: list[BatchJob] | None = Field(default=None, min_length=1, max_length=1000)
    callback: BatchCallback | None = None

    @model_validator(mode="after")
    def _one(self) -> "CreateBatch":
        if (self.jobs is None) == (self.chain is None):
            raise ValueError("give either jobs or chain")
        return self


class ScheduleSpec(Body):
    """What happens by the clock: a job in `queue` or an event `emit`, at the slots of `cron` or `every`."""

    cron: str | None = Field(default=None, max_length=200, description="minute hour day month weekday")
    every: Seconds | None = Field(default=None, ge=MIN_EVERY, le=366 * 86_400, description="seconds, or text as `10m`")
    timezone: Zone = "UTC"
    jitter: Seconds = Field(default=0, ge=0, le=3600)
    misfire: MisfireText = "skip"
    queue: str | None = Field(default=None, max_length=64)
    kind: str = Field(default="", max_length=64, pattern=_ONE_LINE)
    lane: str = Field(default="", max_length=200, pattern=_ONE_LINE)
    priority: Priority | None = None
    emit: str | None = Field(default=None, max_length=100, pattern=r"^[a-zA-Z0-9_]+(\.[a-zA-Z0-9_]+)*$")
    payload: Any = {}

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if (self.cron is None) == (self.every is None):
            raise ValueError("give either cron or every")
        if (self.queue is None) == (self.emit is None):
            raise ValueError("give either queue or emit")
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


class EnqueueJobs(Body):
    """Jobs to enqueue; each is checked by itself, so that one that is wrong does not keep out the others."""

    jobs: list[JobItem] = Field(min_length=1, max_length=MAX_ITEMS)


class ChangeJob(Body):
    """What to change of a job that waits."""

    priority: Priority


class PauseQueue(Body):
    """What to pause or resume: one kind of jobs, or, without it, the whole queue."""

    kind: str | None = Field(default=None, max_length=64, pattern=_ONE_LINE)


class ChangeQueue(Body):
    """Limits from now on, written as in the configuration; `null` takes the file's value again."""

    priority: Any = None
    concurrency: Any = None
    max_concurrency: Any = None
    clear_within: Any = None
    attempts: Any = None
    backoff: Any = None
    backoff_factor: Any = None
    timeout: Any = None
    rate: Any = None
    burst: Any = None
    max_in_flight: Any = None
    lane_cap: Any = None
    lane_rate: Any = None
    lane_burst: Any = None


class ChangeQueues(Body):
    """A limit over all queues of each daemon; `null` takes the file's value again."""

    max_in_flight: int | None


class RetryDead(Body):
    """Which dead letters to run again; without any field all of them. `rate`: at most so many per second."""

    queue: str | None = None
    reason: str | None = None
    kind: str | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    text: str | None = Field(default=None, max_length=200)
    ids: list[str] | None = Field(default=None, max_length=MAX_ITEMS)
    limit: int = Field(default=MAX_ITEMS, ge=1, le=MAX_ITEMS)
    rate: float | None = Field(default=None, gt=0, le=100_000)


class EditDead(Body):
    """Another payload for the job."""

    payload: Any


class RetryOneDead(Body):
    """Run it again; with a payload: with that one."""

    payload: Any = None


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
    """The trouble to come; it replaces what was left of the last. A bare list is taken too.

    `contacts` replaces who is there and what they answer; without it they stay.
    """

    faults: list[Fault] = Field(default=[], max_length=1000)
    contacts: list[SandboxContact] | None = Field(default=None, max_length=1000)

    @model_validator(mode="before")
    @classmethod
    def _of_list(cls, value: Any) -> Any:
        return {"faults": value} if isinstance(value, list) else value


async def parsed(request: web.Request, model: type[B]) -> B:
    """The body as `model`, straight from its bytes. An empty body counts as `{}`. Raises InvalidInput."""
    try:
        return model.model_validate_json(await whole(request) or b"{}")
    except ValidationError as error:
        raise problems.of_validation(error) from None


async def raw(request: web.Request, limit: int) -> bytes:
    """The body as it came, for a route whose limit is not the general one."""
    body = bytearray()
    async with _in_time(request):
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > limit:
                raise web.HTTPRequestEntityTooLarge(max_size=limit, actual_size=len(body))
    return bytes(body)


def idempotency_key(request: web.Request) -> str | None:
    """The caller's Idempotency-Key, if there is one. Raises InvalidInput."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not 1 <= len(key) <= MAX_IDEMPOTENCY_KEY:
        raise InvalidInput(FieldError("Idempotency-Key", f"1 to {MAX_IDEMPOTENCY_KEY} characters"))
    return key


async def whole(request: web.Request) -> bytes:
    """The body within the general limit. Raises aiohttp's own answers: 408 when it is slow, 413, 415."""
    if request.content.is_eof() and "Content-Encoding" not in request.headers:  # it is here: no clock is needed
        return await request.read()
    async with _in_time(request):
        return await request.read()


@asynccontextmanager
async def _in_time(request: web.Request) -> AsyncIterator[None]:
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise web.HTTPUnsupportedMediaType(text="a body must not be compressed")
    try:
        async with asyncio.timeout(request.app[BODY_TIMEOUT]):
            yield
    except TimeoutError:
        raise web.HTTPRequestTimeout from None


def as_json(payload: Any, field: str = "payload") -> bytes:
    """The stored bytes of a payload. Raises InvalidInput for numbers beyond 64 bits and broken Unicode."""
    try:
        return orjson.dumps(payload)
    except orjson.JSONEncodeError as error:
        raise InvalidInput(FieldError(field, str(error))) from None


def ms(at: datetime | None) -> int | None:
    """A point in time as milliseconds since 1970 UTC."""
    return None if at is None else round(at.timestamp() * 1000)
