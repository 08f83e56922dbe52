"""What somebody wants of a connection."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zapd.model.pace import NO_LIMITS, Limits
from zapd.model.session import Connection, OnAmbiguous, TransportName


@dataclass(frozen=True, kw_only=True)
class CreateConnection:
    """A connection that somebody wants. `config` has the keys of its transport (DESIGN §7)."""

    tenant: str
    transport: TransportName
    label: str
    id: str | None = None
    config: Mapping[str, Any]
    webhook_url: str | None = None
    rate_per_minute: int | None = None
    limits: Limits = NO_LIMITS
    on_ambiguous: OnAmbiguous | None = None


@dataclass(frozen=True, kw_only=True)
class UpdateConnection:
    """What to change of a connection; None and empty stay as they are. `config` is the transport's own settings."""

    label: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    rate_per_minute: int | None = None
    limits: Limits = NO_LIMITS
    on_ambiguous: OnAmbiguous | None = None


@dataclass(frozen=True, kw_only=True)
class Created:
    """`webhook_secret` is shown this once."""

    connection: Connection
    job_id: str
    webhook_secret: str | None
