"""Who may call `POST /hooks/{name}`."""

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema, model_validator

from zapd.config.hub.spec import SIZE, TIME, Expression, Pace, Secret, Short, Spec
from zapd.config.values import Duration, Size

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

    @property
    def proof_header(self) -> str:
        """The header that is named for the proof, `X-Api-Key` for a key; empty: the preset knows its own."""
        return self.header or ("X-Api-Key" if self.verify == "api-key" else "")

    @model_validator(mode="after")
    def _whole(self) -> "SourceSpec":
        if not self.live_secrets:
            raise ValueError("`secret` is needed: nothing is taken without a check")
        if self.verify == "basic" and not self.username:
            raise ValueError("`username` is needed for basic")
        if self.verify == "hmac" and not self.header:
            raise ValueError("`header` is needed for hmac")
        if self.signed and "{body}" not in self.signed:
            raise ValueError("`signed` must contain {body}, such as `{timestamp}.{body}`")
        if "{timestamp}" in self.signed and not self.timestamp_header:
            raise ValueError("`timestamp_header` is needed when `signed` has {timestamp}")
        return self
