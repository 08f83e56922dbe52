"""What providers sent, as raw bytes: kept before anything is made of it.

A large body is stored compressed. The provider waits for the disk, and 3 MB of JSON are a few hundred KB.
"""

import asyncio
import zlib

import sqlalchemy as sa

from zapd.records import record
from zapd.store.commands import Change, Insert, Row, Update, by_key
from zapd.store.database import Database
from zapd.store.reader import Reader
from zapd.store.tables import inbox

PACK_FROM = 64 * 1024  #: bytes
UNPACK_ASIDE = 8 * 1024  #: bytes as stored; what may be much larger in the clear is opened in a thread
_PACKED = b"\x00zlib\x00"  #: how a compressed body begins

_I = inbox.c
_NAMES = tuple(column.name for column in _I)
_RAW = _NAMES.index("raw")
_KEY = (_I.tenant, _I.id)
_ADDED = Insert(
    table=inbox,
    columns=(*_KEY, _I.connection_id, _I.provider_key, _I.raw, _I.received_at, _I.processed_at),
    when_there="skip",
)
_PROCESSED = Update(
    table=inbox,
    columns=(*_KEY, _I.processed_at, _I.error),
    sets=lambda v: {"processed_at": v.c.processed_at, "error": v.c.error},
)
_AGAIN = Update(table=inbox, columns=_KEY, sets=lambda _: {"processed_at": sa.null(), "error": sa.null()})
_BY_ID = by_key(inbox, _KEY)


@record
class InboxRow:
    """One body that came in. Times in milliseconds since 1970 UTC."""

    tenant: str
    id: str
    connection_id: str
    provider_key: str  #: the same when the provider sends the same body twice
    raw: bytes
    received_at: int
    processed_at: int | None
    error: str | None


def packed(raw: bytes) -> bytes:
    """How a body is stored. Takes some 10 ms for 3 MB: large ones belong in a thread."""
    return _PACKED + zlib.compress(raw, 1) if len(raw) >= PACK_FROM or raw.startswith(_PACKED) else raw


def _of(row: Row) -> InboxRow:
    fields = dict(zip(_NAMES, row, strict=True))
    if fields["raw"].startswith(_PACKED):
        fields["raw"] = zlib.decompress(fields["raw"][len(_PACKED) :])
    return InboxRow(**fields)


class InboxStore:
    """The inboxes of all tenants."""

    def __init__(self, *, reader: Reader, database: Database) -> None:
        self._reader = reader
        self._database = database

    @staticmethod
    def added(
        tenant: str,
        inbox_id: str,
        connection_id: str,
        provider_key: str,
        raw: bytes,
        at: int,
        processed_at: int | None = None,
    ) -> Change:
        """A body came in, in the form that `packed` gave; as a guard it has no row when the provider sent it before.

        Give `processed_at` when there is nothing to do with it: a row without it is kept for ever.
        """
        return Change(_ADDED, (tenant, inbox_id, connection_id, provider_key, raw, at, processed_at))

    @staticmethod
    def processed(tenant: str, inbox_id: str, at: int, error: str | None = None) -> Change:
        """Everything in it was applied, or never can be because of `error`."""
        return Change(_PROCESSED, (tenant, inbox_id, at, error))

    @staticmethod
    def again(tenant: str, inbox_id: str) -> Change:
        """It is to be read once more: until then it is kept."""
        return Change(_AGAIN, (tenant, inbox_id))

    async def listed(
        self, tenant: str, *, connection_id: str | None, failed: bool | None, after: str | None, limit: int
    ) -> list[InboxRow]:
        """A page by id, the newest first; `failed`: those that could not be read, or the others."""
        query = sa.select(inbox).where(_I.tenant == tenant).order_by(_I.id.desc()).limit(limit)
        if connection_id is not None:
            query = query.where(_I.connection_id == connection_id)
        if failed is not None:
            query = query.where(_I.error.is_not(None) if failed else _I.error.is_(None))
        rows = await self._database.fetch(query if after is None else query.where(_I.id < after))
        return [_of(row) for row in rows]

    async def get(self, tenant: str, inbox_id: str) -> InboxRow | None:
        """One body."""
        row = await self._reader.one(_BY_ID, (tenant, inbox_id))
        if row is None or len(row[_RAW]) < UNPACK_ASIDE:
            return None if row is None else _of(row)
        return await asyncio.to_thread(_of, row)
