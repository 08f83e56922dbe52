"""The error tree. The type says whether trying again can help.

ZapdError
├── InvalidInput        the caller's fault; names the field and the rule (HTTP 422 or 400)
├── NotFound            HTTP 404
├── Conflict            HTTP 409; the thing exists already or is in another state
├── Unauthorized        HTTP 401
├── Forbidden           HTTP 403
├── TooManyRequests     HTTP 429; carries when to come back
├── ConfigError         the operator's fault; exit code 78
└── Unavailable         a resource is away (Redis, SQL); trying again later can help
"""

from dataclasses import dataclass


class ZapdError(Exception):
    """Something went wrong in zapd."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)


@dataclass(frozen=True)
class FieldError:
    """One invalid field: `field` is its dotted path, `rule` says what is allowed."""

    field: str
    rule: str


class InvalidInput(ZapdError):
    """The request breaks a rule."""

    def __init__(self, *fields: FieldError, message: str | None = None) -> None:
        super().__init__(message or "; ".join(f"{f.field}: {f.rule}" for f in fields) or None)
        self.fields = fields


class NotFound(ZapdError):
    """There is no such thing."""


class Conflict(ZapdError):
    """It exists already, or its state does not allow this."""


class Unauthorized(ZapdError):
    """The API key is missing, unknown, expired or revoked."""


class Forbidden(ZapdError):
    """The API key's scope does not allow this."""


class TooManyRequests(ZapdError):
    """Too many requests."""

    def __init__(self, message: str | None = None, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after  #: seconds


class ConfigError(ZapdError):
    """The configuration is wrong. `problems` has one line per wrong key."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems) or None)
        self.problems = problems


class Unavailable(ZapdError):
    """A resource this needs is away at the moment."""

    def __init__(self, message: str | None = None, *, told: str | None = None) -> None:
        super().__init__(message)
        self.told = told or str(self)  #: what a caller hears; the message may hold addresses, for the log
