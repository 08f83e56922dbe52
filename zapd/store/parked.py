"""Receipts that came before their message was known by its provider id."""

from collections.abc import Iterable

import sqlalchemy as sa

from zapd.records import record
from zapd.store.commands import Change, Delete, Insert, by_key
from zapd.store.database import Database
from zapd.store.reader import Reader
from zapd.store.tables import parked_receipts

REMEMBERED = 10_000  #: provider ids in memory; of a number that another system uses too, receipts wait for nothing

_P = parked_receipts.c
_NAMES = tuple(column.name for column in _P)
_KEY = (_P.tenant, _P.connection_id, _P.provider_id, _P.status)
_PARKED = Insert(
    table=parked_receipts,
    columns=(*_KEY, _P.at, _P.error_code, _P.error, _P.created_at),
    key=4,
    when_there="skip",
)
_UNPARKED = Delete(table=parked_receipts, columns=_KEY, key=4)
_OF_PROVIDER_ID = by_key(parked_receipts, _KEY[:3])

_Waiting = tuple[str, str, str]  # tenant, connection, provider's id


@record
class ParkedReceipt:
    """A receipt whose provider id no message has yet. Times in milliseconds since 1970 UTC."""

    tenant: str
    connection_id: str
    provider_id: str
    status: str
    at: int
    error_code: str | None
    error: str | None
    created_at: int


class ParkedStore:
    """The parked receipts of all tenants.

    Every message that was sent asks for its own, and hardly one has any. So it is kept in memory for whom some wait;
    not where another daemon can park one, or where very many wait.
    """

    def __init__(self, *, database: Database, reader: Reader) -> None:
        self._database = database
        self._reader = reader
        self._alone = not database.shared
        self._loaded = False
        self._waiting: set[_Waiting] = set()  # may hold more than there are, never fewer

    def added(self, receipt: ParkedReceipt) -> Change:
        """Keep a receipt until its message is known; a second one of the same status is dropped."""
        r = receipt
        self._remember([(r.tenant, r.connection_id, r.provider_id)])
        key = (r.tenant, r.connection_id, r.provider_id, str(r.status))
        return Change(_PARKED, (*key, r.at, r.error_code, r.error, r.created_at))

    def removed(self, tenant: str, connection_id: str, provider_id: str, status: str) -> Change:
        """It was applied, and so were the others of this provider id."""
        self._waiting.discard((tenant, connection_id, provider_id))
        return Change(_UNPARKED, (tenant, connection_id, provider_id, str(status)))

    async def of(self, tenant: str, connection_id: str, provider_id: str) -> list[ParkedReceipt]:
        """Those of a provider id, the oldest first."""
        key = (tenant, connection_id, provider_id)
        if self._alone and not self._loaded:
            await self._load()
        if self._alone and key not in self._waiting:
            return []
        rows = await self._reader.many(_OF_PROVIDER_ID, key)
        if not rows:  # one that is being parked just now: who parks it looks for the message once more after that
            self._waiting.discard(key)
        return sorted((ParkedReceipt(**dict(zip(_NAMES, row, strict=True))) for row in rows), key=lambda r: r.at)

    async def count(self) -> int:
        """How many wait, of all tenants."""
        return int((await self._database.fetch(sa.select(sa.func.count()).select_from(parked_receipts)))[0][0])

    async def _load(self) -> None:
        query = sa.select(_P.tenant, _P.connection_id, _P.provider_id).distinct().limit(REMEMBERED + 1)
        self._remember([(row[0], row[1], row[2]) for row in await self._database.fetch(query)])
        self._loaded = True

    def _remember(self, keys: Iterable[_Waiting]) -> None:
        self._waiting.update(keys)
        if len(self._waiting) > REMEMBERED:
            self._alone = False  # from now on SQL is asked
            self._waiting.clear()
