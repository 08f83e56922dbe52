"""Files of messages: their records, which messages use them, and which a provider holds."""

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from zapd.model.media import Media, MediaState
from zapd.model.message import ENDED
from zapd.store.commands import Change, Delete, Insert, Row, Update, among, by_key
from zapd.store.database import Database
from zapd.store.reader import Reader
from zapd.store.tables import media, media_uploads, media_uses, messages

_M = media.c
_NAMES = tuple(column.name for column in _M)
_KEY = (_M.tenant, _M.id)
_ADDED = Insert(table=media, columns=tuple(_M), when_there="skip")
_SETTLED = Update(
    table=media,
    columns=(*_KEY, _M.state, _M.mime, _M.size, _M.sha256, _M.error),
    sets=lambda v: {name: v.c[name] for name in ("state", "mime", "size", "sha256", "error")},
    # Two runs of one download may end: the first decides.
    where=lambda _: [_M.state == sa.literal_column("'pending'", sa.Text())],
)
_AGAIN = Update(
    table=media,
    columns=_KEY,
    sets=lambda _: {"state": sa.literal_column("'pending'", sa.Text()), "error": sa.null()},
    where=lambda _: [_M.state == sa.literal_column("'failed'", sa.Text()), _M.remote.is_not(None)],
)
_KEPT = Update(
    table=media,
    columns=(*_KEY, _M.kept_from),
    sets=lambda v: {"kept_from": v.c.kept_from},
    where=lambda v: [_M.kept_from < v.c.kept_from],
)
#: Whether a message that has not ended needs a file.
IN_USE = sa.exists().where(
    media_uses.c.tenant == media.c.tenant,
    media_uses.c.media_id == media.c.id,
    messages.c.tenant == media_uses.c.tenant,
    messages.c.id == media_uses.c.message_id,
    ~among(messages.c.status, ENDED),
)
_REMOVED = Delete(table=media, columns=_KEY)
_DROPPED = Delete(
    table=media,
    columns=_KEY,
    where=lambda _: [_M.state != sa.literal_column("'pending'", sa.Text()), ~IN_USE],
)
_BY_ID = by_key(media, _KEY)

_USES = media_uses.c
_USED = Insert(table=media_uses, columns=tuple(_USES), key=3, when_there="skip")
_OF_MESSAGE = by_key(media_uses, (_USES.tenant, _USES.message_id))

_UP = media_uploads.c
_UPLOADED = Insert(table=media_uploads, columns=tuple(_UP), key=3, when_there="replace")
_UPLOAD = by_key(media_uploads, (_UP.tenant, _UP.connection_id, _UP.media_id))


class MediaStore:
    """The files of all tenants. Methods that return a `Change` do nothing until it is committed."""

    def __init__(self, *, database: Database, reader: Reader) -> None:
        self._database = database
        self._reader = reader

    @staticmethod
    def added(item: Media) -> Change:
        """A new file."""
        row = tuple(getattr(item, name) for name in _NAMES)
        return Change(_ADDED, tuple(value.value if isinstance(value, MediaState) else value for value in row))

    @staticmethod
    def ready(tenant: str, media_id: str, *, mime: str, size: int, sha256: str) -> Change:
        """Its content is on disk. As a guard it has no row when it was settled before."""
        return Change(_SETTLED, (tenant, media_id, MediaState.READY.value, mime, size, sha256, None))

    @staticmethod
    def failed(tenant: str, media_id: str, *, mime: str, size: int, error: str) -> Change:
        """It will not come. As a guard it has no row when it was settled before."""
        return Change(_SETTLED, (tenant, media_id, MediaState.FAILED.value, mime, size, None, error))

    @staticmethod
    def pending_again(tenant: str, media_id: str) -> Change:
        """A person asks for another try. As a guard it has a row only for a download that failed."""
        return Change(_AGAIN, (tenant, media_id))

    @staticmethod
    def used(tenant: str, message_id: str, media_id: str) -> Change:
        """A message uses it: it stays while that message waits."""
        return Change(_USED, (tenant, message_id, media_id))

    @staticmethod
    def kept(tenant: str, media_id: str, since: int) -> Change:
        """Its retention counts from `since` (ms), if that is later than before."""
        return Change(_KEPT, (tenant, media_id, since))

    @staticmethod
    def removed(tenant: str, media_id: str) -> Change:
        """It is forgotten."""
        return Change(_REMOVED, (tenant, media_id))

    @staticmethod
    def dropped(tenant: str, media_id: str) -> Change:
        """The same on request. As a guard it has no row while a message needs it or it is on its way."""
        return Change(_DROPPED, (tenant, media_id))

    @staticmethod
    def uploaded(tenant: str, connection_id: str, media_id: str, provider_id: str, at: int) -> Change:
        """The provider holds it under this id since `at` (ms)."""
        return Change(_UPLOADED, (tenant, connection_id, media_id, provider_id, at))

    async def get(self, tenant: str, media_id: str) -> Media | None:
        """One file."""
        row = await self._reader.one(_BY_ID, (tenant, media_id))
        return None if row is None else _of(row)

    async def of_message(self, tenant: str, message_id: str) -> list[str]:
        """The ids of a message's files."""
        return [row[2] for row in await self._reader.many(_OF_MESSAGE, (tenant, message_id))]

    async def upload(self, tenant: str, connection_id: str, media_id: str) -> tuple[str, int] | None:
        """The id under which the provider holds it, and since when (ms)."""
        row = await self._reader.one(_UPLOAD, (tenant, connection_id, media_id))
        return None if row is None else (row[3], row[4])

    async def known(self, hashes: Collection[str]) -> set[str]:
        """Those of these contents that some row still names."""
        query: sa.Select[Any] = sa.select(_M.sha256).distinct().where(_M.sha256.in_(list(hashes)))
        return {str(row[0]) for row in await self._database.fetch(query)} if hashes else set()


def _of(row: Row) -> Media:
    fields: dict[str, Any] = dict(zip(_NAMES, row, strict=True))
    fields["state"] = MediaState(fields["state"])
    return Media(**fields)
