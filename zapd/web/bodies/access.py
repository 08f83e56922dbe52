"""Keys and tenants."""

from pydantic import Field

from zapd.model.access import Scope
from zapd.web.bodies.body import Body, Id, Label, Moment


class CreateKey(Body):
    """A key for a client."""

    label: Label
    scopes: list[Scope] = Field(min_length=1)
    connection_id: Id | None = None
    expires_at: Moment | None = None
    rate_per_minute: int | None = Field(default=None, ge=1, le=10_000_000, description="requests; else the daemon's")
    tenant: Id | None = Field(default=None, description="another tenant's key; for the operator only")


class RotateKey(Body):
    """A key with the same rights in its place."""

    overlap: int = Field(default=86_400, ge=0, le=30 * 86_400, description="seconds that the old key goes on working")


class CreateTenant(Body):
    """A customer."""

    id: Id | None = None
    name: Label
