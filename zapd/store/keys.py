"""Tenants and their API keys. A key's secret is kept as its SHA-256 only."""

from typing import Any

import sqlalchemy as sa

from zapd.model.access import ApiKey, Scope, Tenant
from zapd.store.commands import Change, Insert, Row, Update, by_key
from zapd.store.database import Database
from zapd.store.reader import Reader
from zapd.store.tables import api_keys, tenants

_K = api_keys.c
_NAMES = tuple(column.name for column in _K)
_KEY = (_K.tenant, _K.id)
_ADDED = Insert(table=api_keys, columns=tuple(_K), when_there="skip")
# The first revocation and the latest use count, whatever order they arrive in.
_REVOKED = Update(
    table=api_keys,
    columns=(*_KEY, _K.revoked_at),
    sets=lambda v: {"revoked_at": v.c.revoked_at},
    where=lambda _: [_K.revoked_at.is_(None)],
)
_USED = Update(
    table=api_keys,
    columns=(*_KEY, _K.last_used_at),
    sets=lambda v: {"last_used_at": v.c.last_used_at},
    where=lambda v: [sa.or_(_K.last_used_at.is_(None), _K.last_used_at < v.c.last_used_at)],
)
# It can only come sooner: a rotation gives no key a longer life.
_EXPIRING = Update(
    table=api_keys,
    columns=(*_KEY, _K.expires_at),
    sets=lambda v: {"expires_at": v.c.expires_at},
    where=lambda v: [_K.revoked_at.is_(None), sa.or_(_K.expires_at.is_(None), _K.expires_at > v.c.expires_at)],
)
_BY_ID = by_key(api_keys, _KEY)
_BY_HASH = by_key(api_keys, (_K.hash,))
_ENSURED = Insert(table=tenants, columns=tuple(tenants.c), key=1, when_there="skip")


class TenantStore:
    """The tenants."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    @staticmethod
    def ensured(tenant: str, name: str, at: int) -> Change:
        """The tenant exists from now on; as a guard it has a row only when it is new."""
        return Change(_ENSURED, (tenant, name, at))

    async def get(self, tenant: str) -> Tenant | None:
        """One tenant."""
        found = await self._database.fetch(sa.select(tenants).where(tenants.c.id == tenant))
        return Tenant(id=found[0][0], name=found[0][1], created_at=found[0][2]) if found else None

    async def listed(self, after: str | None = None, limit: int = 100) -> list[Tenant]:
        """A page by id."""
        query = sa.select(tenants).order_by(tenants.c.id).limit(limit)
        rows = await self._database.fetch(query if after is None else query.where(tenants.c.id > after))
        return [Tenant(id=row[0], name=row[1], created_at=row[2]) for row in rows]


class KeyStore:
    """The API keys of all tenants."""

    def __init__(self, *, database: Database, reader: Reader) -> None:
        self._database = database
        self._reader = reader

    @staticmethod
    def added(key: ApiKey) -> Change:
        """A new key, unless its id is taken: as a guard it then has no row."""
        k = key
        scopes = " ".join(sorted(scope.value for scope in k.scopes))
        return Change(
            _ADDED,
            (
                *(k.tenant, k.id, k.hash, k.label, scopes, k.connection_id),
                *(k.created_at, k.expires_at, k.revoked_at, k.last_used_at, k.rate_per_minute),
            ),
        )

    @staticmethod
    def revoked(tenant: str, key_id: str, at: int) -> Change:
        """It opens nothing any more."""
        return Change(_REVOKED, (tenant, key_id, at))

    @staticmethod
    def expiring(tenant: str, key_id: str, at: int) -> Change:
        """It ends at that time (ms), unless it ends sooner anyway: as a guard it then has no row."""
        return Change(_EXPIRING, (tenant, key_id, at))

    @staticmethod
    def used(tenant: str, key_id: str, at: int) -> Change:
        """It was used at that time (ms)."""
        return Change(_USED, (tenant, key_id, at))

    async def get(self, tenant: str, key_id: str) -> ApiKey | None:
        """One key, revoked ones too."""
        row = await self._reader.one(_BY_ID, (tenant, key_id))
        return None if row is None else _key_of(row)

    async def by_hash(self, digest: bytes) -> ApiKey | None:
        """The key whose secret has this SHA-256, of whichever tenant, revoked ones too."""
        row = await self._reader.one(_BY_HASH, (digest,))
        return None if row is None else _key_of(row)

    async def listed(self, tenant: str, after: str | None = None, limit: int = 100) -> list[ApiKey]:
        """A page by id, revoked ones too."""
        query = sa.select(api_keys).where(_K.tenant == tenant).order_by(_K.id).limit(limit)
        rows = await self._database.fetch(query if after is None else query.where(_K.id > after))
        return [_key_of(row) for row in rows]


def _key_of(row: Row) -> ApiKey:
    fields: dict[str, Any] = dict(zip(_NAMES, row, strict=True))
    fields["scopes"] = frozenset(Scope(scope) for scope in fields["scopes"].split())
    return ApiKey(**fields)
