"""HTTP systems that are called, and how zapd signs in there."""

from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from zapd.config.hub.spec import TIME, HeaderName, HeaderValue, Pace, Secret, Short, Spec
from zapd.config.values import Duration, HttpUrl


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
    rate: Pace = Field(default="", validate_default=True)
    concurrency: Annotated[int, Field(ge=1, le=100)] = 4
    health: Short = ""
    breaker_failures: Annotated[int, Field(ge=1, le=1_000)] = 5
    breaker_wait: Annotated[Duration, Field(gt=0, le=86_400), WithJsonSchema(TIME)] = Field(
        default="30s", validate_default=True
    )
