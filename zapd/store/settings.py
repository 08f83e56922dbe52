"""Small things to remember: values by name, and which slots of the clock were taken."""

from zapd.model.access import DEFAULT_TENANT
from zapd.store.commands import Change, Insert, by_key
from zapd.store.reader import Reader
from zapd.store.tables import cron_fires, settings

_S = settings.c
_PUT = Insert(table=settings, columns=tuple(_S), when_there="replace")
_BY_NAME = by_key(settings, (_S.tenant, _S.name))
_CLAIMED = Insert(table=cron_fires, columns=tuple(cron_fires.c), key=3, when_there="skip")


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


class CronStore:
    """The slots of schedules that were fired."""

    @staticmethod
    def claimed(name: str, slot: int, at: int, *, tenant: str = DEFAULT_TENANT) -> Change:
        """As a guard it has a row for the first who claims this slot (ms) only."""
        return Change(_CLAIMED, (tenant, name, slot, at))
