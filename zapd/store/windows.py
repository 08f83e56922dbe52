"""When each contact wrote last: what opens the time in which one may write freely, and what typing refers to."""

from dataclasses import dataclass

from zapd.store.commands import Change, Insert, by_key
from zapd.store.reader import Reader
from zapd.store.tables import windows

_W = windows.c
_KEY = (_W.tenant, _W.connection_id, _W.peer)
_WROTE = Insert(table=windows, columns=(*_KEY, _W.at, _W.message_id), key=3, when_there="replace")
_BY_PEER = by_key(windows, _KEY)


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """A contact's newest message; `at` in milliseconds."""

    at: int
    message_id: str


class WindowStore:
    """The windows of all tenants."""

    def __init__(self, *, reader: Reader) -> None:
        self._reader = reader

    @staticmethod
    def wrote(tenant: str, connection_id: str, peer: str, at: int, message_id: str) -> Change:
        """A contact wrote at `at` (ms)."""
        return Change(_WROTE, (tenant, connection_id, peer, at, message_id))

    async def get(self, tenant: str, connection_id: str, peer: str) -> Window | None:
        """When this contact wrote last."""
        row = await self._reader.one(_BY_PEER, (tenant, connection_id, peer))
        return None if row is None else Window(at=row[3], message_id=row[4])
