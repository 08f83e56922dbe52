"""Small things to remember, by name."""

from zapd.model.access import DEFAULT_TENANT
from zapd.store.commands import Change, Insert, by_key
from zapd.store.reader import Reader
from zapd.store.tables import settings

_S = settings.c
_PUT = Insert(table=settings, columns=tuple(_S), when_there="replace")
_BY_NAME = by_key(settings, (_S.tenant, _S.name))


class SettingStore:
    """Values by name."""

    def __init__(self, *, reader: Reader) -> None:
        self._reader = reader

    @staticmethod
    def put(name: str, value: bytes, *, tenant: str = DEFAULT_TENANT) -> Change:
        """The value from now on."""
        return Change(_PUT, (tenant, name, value))

    async def get(self, name: str, *, tenant: str = DEFAULT_TENANT) -> bytes | None:
        """The value, if there is one."""
        row = await self._reader.one(_BY_NAME, (tenant, name))
        return None if row is None else row[2]
