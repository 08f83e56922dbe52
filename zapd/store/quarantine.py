"""Inbound calls that were refused. What a later try needs is sealed: signatures, and bodies that nobody vouched for."""

from typing import Any

import sqlalchemy as sa

from zapd.model.hub import Quarantined
from zapd.store.commands import Change, Delete, Insert, Row, by_key
from zapd.store.database import Database
from zapd.store.reader import Reader
from zapd.store.tables import quarantine
from zapd.store.vault import Vault

_Q = quarantine.c
_NAMES = tuple(column.name for column in _Q)
_KEY = (_Q.tenant, _Q.id)
_KEPT = Insert(table=quarantine, columns=tuple(_Q))
_GONE = Delete(table=quarantine, columns=_KEY)
_BY_ID = by_key(quarantine, _KEY)


class QuarantineStore:
    """The refused calls of all tenants."""

    def __init__(self, *, database: Database, reader: Reader, vault: Vault) -> None:
        self._database = database
        self._reader = reader
        self._vault = vault

    def kept(self, q: Quarantined) -> Change:
        """It was refused. Its `sealed` is given plain."""
        values = [getattr(q, name) for name in _NAMES]
        if q.sealed:
            values[_NAMES.index("sealed")] = self._vault.seal(q.sealed, place=_place(q.tenant, q.id))
        return Change(_KEPT, tuple(values))

    @staticmethod
    def gone(tenant: str, quarantine_id: str) -> Change:
        """It was taken in after all, or thrown away."""
        return Change(_GONE, (tenant, quarantine_id))

    async def get(self, tenant: str, quarantine_id: str) -> Quarantined | None:
        """One refused call, opened."""
        row = await self._reader.one(_BY_ID, (tenant, quarantine_id))
        return None if row is None else self._of(row)

    async def listed(
        self, tenant: str, *, source: str | None = None, after: str | None = None, limit: int = 100
    ) -> list[Quarantined]:
        """A page by id, the oldest first."""
        query = sa.select(quarantine).where(_Q.tenant == tenant).order_by(_Q.id).limit(limit)
        if source is not None:
            query = query.where(_Q.source == source)
        if after is not None:
            query = query.where(_Q.id > after)
        return [self._of(row) for row in await self._database.fetch(query)]

    async def beyond(self, tenant: str, source: str, keep: int) -> list[str]:
        """Ids of a source's oldest rows beyond the newest `keep`."""
        query = sa.select(_Q.id).where(_Q.tenant == tenant, _Q.source == source).order_by(_Q.id.desc())
        return [row[0] for row in await self._database.fetch(query.offset(keep).limit(100))]

    async def count(self) -> int:
        """How many calls of all tenants are kept."""
        query: sa.Select[Any] = sa.select(sa.func.count()).select_from(quarantine)
        return int((await self._database.fetch(query))[0][0])

    def _of(self, row: Row) -> Quarantined:
        fields: dict[str, Any] = dict(zip(_NAMES, row, strict=True))
        if fields["sealed"]:
            fields["sealed"] = self._vault.open(fields["sealed"], place=_place(fields["tenant"], fields["id"]))
        return Quarantined(**fields)


def _place(tenant: str, quarantine_id: str) -> str:
    return f"quarantine/{tenant}/{quarantine_id}"
