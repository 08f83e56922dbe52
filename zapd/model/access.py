"""Tenants and their API keys."""

from dataclasses import dataclass
from enum import StrEnum

DEFAULT_TENANT = "default"  #: the tenant that the first start makes


def among_tenants(tenant: str, name: str) -> str:
    """A name that a tenant chose, apart from the same name of another. Tenants' ids never hold a slash."""
    return name if tenant == DEFAULT_TENANT or not name else f"{tenant}/{name}"


def within_tenant(tenant: str, name: str) -> str:
    """The name as its tenant chose it."""
    return name.removeprefix(f"{tenant}/")


class Scope(StrEnum):
    """What a key may do. `admin` includes every other."""

    READ = "read"
    SEND = "send"
    CONTROL = "control"  #: pause, resume, retry, cancel
    SETTINGS = "settings"  #: connections, endpoints
    ADMIN = "admin"  #: keys, queues, the whole daemon


@dataclass(frozen=True, kw_only=True, slots=True)
class Tenant:
    """A customer that owns keys, sessions, endpoints and flows. Times in milliseconds since 1970 UTC."""

    id: str
    name: str
    created_at: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiKey:
    """A key as stored: its secret only as SHA-256. Times in milliseconds since 1970 UTC."""

    tenant: str
    id: str
    hash: bytes
    label: str
    scopes: frozenset[Scope]
    connection_id: str | None  #: the only connection it may touch; None: all of the tenant
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    last_used_at: int | None = None
    rate_per_minute: int | None = None  #: requests; None: the daemon's limit per key

    def allows(self, scope: Scope) -> bool:
        """Whether this key carries the scope."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    @property
    def operates(self) -> bool:
        """Whether it belongs to who runs the daemon: the queues, the figures and the tenants are theirs."""
        return self.tenant == DEFAULT_TENANT

    def live(self, now_ms: int) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now_ms < self.expires_at)
