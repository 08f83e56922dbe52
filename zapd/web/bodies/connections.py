"""WhatsApp accounts."""

from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from zapd.model import pace
from zapd.model.session import OnAmbiguous, TransportName
from zapd.web.bodies.body import Body, Id, Label

ClockTime = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$", description="such as 22:00")]


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


def _of(transport: str, *names: str, **schema: Any) -> dict[str, Any]:
    return {name: {"type": "string", **schema, "description": f"{transport} only"} for name in names}


#: For the OpenAPI document: what each transport takes beside the fields of all. The transports check their own.
_OF_TRANSPORTS = {
    **_of("cloud", "phone_number_id", "waba_id", "access_token", "app_secret", "verify_token"),
    **_of("cloud", "enforce_window", type="boolean"),
    **_of("zapi", "instance_id", "instance_token", "client_token", "webhook_secret"),
    **_of("web", "phone"),
    **_of("sandbox", "latency", "pair_after", type=["number", "string"]),
    **_of("sandbox", "auto_reply", type="boolean"),
    **_of("sandbox", "contacts", type="array", items={"x-schema": "SandboxContact"}),
    **_of("sandbox", "faults", type="array", items={"x-schema": "Fault"}),
}


def _with_transports(schema: dict[str, Any]) -> None:
    schema["properties"].update(_OF_TRANSPORTS)


class ConnectionConfig(BaseModel):
    """What every transport may be told, beside the transport's own settings."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, json_schema_extra=_with_transports)

    rate_per_minute: int | None = Field(default=None, ge=1, le=100_000)
    on_ambiguous: OnAmbiguous | None = Field(default=None, strict=False)
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
    transport: TransportName = Field(strict=False)
    config: ConnectionConfig = ConnectionConfig()
    webhook_url: str | None = None


class UpdateConnection(Body):
    """What to change; a field that is not there stays, also inside of `config`."""

    label: Label | None = None
    config: ConnectionConfig = ConnectionConfig()


class Pair(Body):
    """How to link an account. With `phone` a code is shown that is typed on that phone, instead of one to scan."""

    phone: str | None = Field(default=None, min_length=1, max_length=64)
