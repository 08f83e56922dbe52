"""Who is logged in to the dashboard. The cookie's secret is kept as its SHA-256 only."""

from dataclasses import dataclass
from typing import Any

from zapd.store.commands import Change, Delete, Insert, Update, by_key
from zapd.store.reader import Reader
from zapd.store.tables import logins

_L = logins.c
_NAMES = tuple(column.name for column in _L)
_KEY = (_L.tenant, _L.hash)
_ADDED = Insert(table=logins, columns=tuple(_L))
_SEEN = Update(table=logins, columns=(*_KEY, _L.seen_at), sets=lambda v: {"seen_at": v.c.seen_at})
_ENDED = Delete(table=logins, columns=_KEY)
_BY_HASH = by_key(logins, (_L.hash,))


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """One browser that a key opened. Times in milliseconds since 1970 UTC."""

    tenant: str
    hash: bytes
    key_id: str
    created_at: int
    seen_at: int


class LoginStore:
    """The logins of all tenants."""

    def __init__(self, *, reader: Reader) -> None:
        self._reader = reader

    @staticmethod
    def added(login: Login) -> Change:
        """A new login."""
        return Change(_ADDED, (login.tenant, login.hash, login.key_id, login.created_at, login.seen_at))

    @staticmethod
    def seen(tenant: str, digest: bytes, at: int) -> Change:
        """It was used at that time (ms)."""
        return Change(_SEEN, (tenant, digest, at))

    @staticmethod
    def ended(tenant: str, digest: bytes) -> Change:
        """It opens nothing any more."""
        return Change(_ENDED, (tenant, digest))

    async def by_hash(self, digest: bytes) -> Login | None:
        """The login whose cookie has this SHA-256."""
        row = await self._reader.one(_BY_HASH, (digest,))
        fields: dict[str, Any] = {} if row is None else dict(zip(_NAMES, row, strict=True))
        return Login(**fields) if fields else None
