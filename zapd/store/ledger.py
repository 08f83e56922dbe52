"""The simulated WhatsApp network's memory: what reached it, and how far its receipts got."""

from typing import Any

import sqlalchemy as sa

from zapd.records import record
from zapd.store.commands import Change, Insert, Update
from zapd.store.database import Database
from zapd.store.tables import sandbox_ledger

_L = sandbox_ledger.c
_NAMES = tuple(column.name for column in _L)
_ADDED = Insert(table=sandbox_ledger, columns=tuple(_L), key=3)
_STAGED = Update(
    table=sandbox_ledger,
    columns=(_L.tenant, _L.connection_id, _L.id, _L.stage),
    sets=lambda v: {"stage": v.c.stage},
    key=3,
)


@record
class LedgerEntry:
    """One message that reached the network. `at` in milliseconds; `stage` counts the updates handed out."""

    tenant: str
    connection_id: str
    id: str
    message_id: str
    peer: str
    type: str
    payload: bytes
    at: int
    stage: int = 0


class LedgerStore:
    """The ledgers of all sandbox connections."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    @staticmethod
    def added(entry: LedgerEntry) -> Change:
        """A message reached the network."""
        e = entry
        return Change(_ADDED, (e.tenant, e.connection_id, e.id, e.message_id, e.peer, e.type, e.payload, e.at, e.stage))

    @staticmethod
    def staged(tenant: str, connection_id: str, entry_id: str, stage: int) -> Change:
        """This many of its updates were handed out."""
        return Change(_STAGED, (tenant, connection_id, entry_id, stage))

    async def listed(
        self, tenant: str, connection_id: str, after: str | None = None, limit: int = 100
    ) -> list[LedgerEntry]:
        """A page by id, the oldest first."""
        query = self._of(tenant, connection_id).limit(limit)
        return await self._fetch(query if after is None else query.where(_L.id > after))

    async def unfinished(self, tenant: str, connection_id: str, below_stage: int, limit: int) -> list[LedgerEntry]:
        """The oldest entries whose stage is under `below_stage`. Reads the whole ledger of a connection: at start."""
        return await self._fetch(self._of(tenant, connection_id).where(_L.stage < below_stage).limit(limit))

    @staticmethod
    def _of(tenant: str, connection_id: str) -> sa.Select[Any]:
        return sa.select(sandbox_ledger).where(_L.tenant == tenant, _L.connection_id == connection_id).order_by(_L.id)

    async def _fetch(self, query: sa.Select[Any]) -> list[LedgerEntry]:
        return [LedgerEntry(**dict(zip(_NAMES, row, strict=True))) for row in await self._database.fetch(query)]
