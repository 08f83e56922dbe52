"""What paired accounts need to log in again: sealed, and each login kept aside when it is not used any more."""

from dataclasses import dataclass

import sqlalchemy as sa

from zapd.store.commands import Change, Insert, Update, by_key
from zapd.store.database import Database
from zapd.store.reader import Reader
from zapd.store.tables import credentials
from zapd.store.vault import Vault

_C = credentials.c
_NAMES = tuple(column.name for column in _C)
_KEY = (_C.tenant, _C.connection_id, _C.id)
_SAVED = Insert(table=credentials, columns=(*_KEY, _C.sealed, _C.created_at), key=3, when_there="replace")
_ARCHIVED = Update(
    table=credentials,
    columns=(*_KEY, _C.archived_at, _C.reason),
    sets=lambda v: {"archived_at": v.c.archived_at, "reason": v.c.reason},
    where=lambda _: [_C.archived_at.is_(None)],
    key=3,
)
_OF = by_key(credentials, _KEY[:2])


@dataclass(frozen=True, kw_only=True, slots=True)
class Login:
    """One login of a connection. `sealed` opens with `CredentialStore.opened`. Times in milliseconds."""

    tenant: str
    connection_id: str
    id: str
    sealed: bytes
    created_at: int
    archived_at: int | None = None  #: from then on it is not used any more
    reason: str | None = None


class CredentialStore:
    """The logins of all connections."""

    def __init__(self, *, database: Database, reader: Reader, vault: Vault) -> None:
        self._database = database
        self._reader = reader
        self._vault = vault

    def saved(self, tenant: str, connection_id: str, login_id: str, secret: bytes, at: int) -> Change:
        """Keep a login, or its newer form."""
        sealed = self._vault.seal(secret, place=_place(tenant, connection_id))
        return Change(_SAVED, (tenant, connection_id, login_id, sealed, at))

    @staticmethod
    def archived(login: Login, reason: str, at: int) -> Change:
        """It is not used any more; its bytes stay until their retention."""
        return Change(_ARCHIVED, (login.tenant, login.connection_id, login.id, at, reason))

    async def current(self, tenant: str, connection_id: str) -> Login | None:
        """The login in use."""
        rows = await self._reader.many(_OF, (tenant, connection_id))
        logins = [Login(**dict(zip(_NAMES, row, strict=True))) for row in rows]
        used = [login for login in logins if login.archived_at is None]
        return max(used, key=lambda login: login.id, default=None)

    async def listed(self, tenant: str, connection_id: str) -> list[Login]:
        """Every login that is kept, the oldest first."""
        query = sa.select(credentials).where(_C.tenant == tenant, _C.connection_id == connection_id).order_by(_C.id)
        return [Login(**dict(zip(_NAMES, row, strict=True))) for row in await self._database.fetch(query)]

    def opened(self, login: Login) -> bytes:
        """The secret. Raises ConfigError when the key is another one, or the bytes were changed."""
        return self._vault.open(login.sealed, place=_place(login.tenant, login.connection_id))


def _place(tenant: str, connection_id: str) -> str:
    return f"credentials/{tenant}/{connection_id}"
