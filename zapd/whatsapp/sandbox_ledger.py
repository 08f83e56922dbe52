"""The simulated network's durable memory: every message it took, and how far its receipts got. The witness of loss."""

from collections.abc import Sequence
from typing import Protocol

from zapd.store.ledger import LedgerEntry, LedgerStore
from zapd.store.writer import Writer


class Ledger(Protocol):
    """Each write returns after its commit."""

    async def write(self, entry: LedgerEntry) -> None:
        """Keep a message."""

    async def staged(self, stages: Sequence[tuple[LedgerEntry, int]]) -> None:
        """Note how far these entries got."""

    async def unfinished(self, tenant: str, connection_id: str, below: int, limit: int) -> Sequence[LedgerEntry]:
        """The oldest entries with a stage under `below`."""

    async def page(self, tenant: str, connection_id: str, after: str | None, limit: int) -> Sequence[LedgerEntry]:
        """Entries in the order they came, those after the id `after`."""


class SqlLedger:
    """The ledger in zapd's own database. The writer groups the commits of many senders."""

    def __init__(self, *, store: LedgerStore, writer: Writer) -> None:
        self._store = store
        self._writer = writer

    async def write(self, entry: LedgerEntry) -> None:
        """See `Ledger`."""
        await self._writer.commit(self._store.added(entry))

    async def staged(self, stages: Sequence[tuple[LedgerEntry, int]]) -> None:
        """See `Ledger`."""
        changes = [self._store.staged(e.tenant, e.connection_id, e.id, stage) for e, stage in stages]
        await self._writer.commit_all(changes)

    async def unfinished(self, tenant: str, connection_id: str, below: int, limit: int) -> Sequence[LedgerEntry]:
        """See `Ledger`."""
        return await self._store.unfinished(tenant, connection_id, below, limit)

    async def page(self, tenant: str, connection_id: str, after: str | None, limit: int) -> Sequence[LedgerEntry]:
        """See `Ledger`."""
        return await self._store.listed(tenant, connection_id, after, limit)
