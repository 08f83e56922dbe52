"""Schedules, and which of their slots were fired. What they fire with is sealed; `{}` says nothing and is not."""

from collections.abc import Sequence

import sqlalchemy as sa

from zapd.model.schedule import Schedule, Spec, spec_of
from zapd.store.commands import Change, Delete, Insert, Row, Update, by_key
from zapd.store.database import Database
from zapd.store.reader import Reader
from zapd.store.tables import cron_fires, schedules

_S = schedules.c
_KEY = (_S.tenant, _S.id)
_ADDED = Insert(table=schedules, columns=tuple(_S), when_there="skip")
_PUT = Insert(table=schedules, columns=tuple(_S), when_there="replace")
_CHANGED = Update(
    table=schedules,
    columns=(*_KEY, _S.spec, _S.payload, _S.last_slot, _S.updated_at),
    sets=lambda v: {name: v.c[name] for name in ("spec", "payload", "last_slot", "updated_at")},
)
_PAUSED = Update(
    table=schedules,
    columns=(*_KEY, _S.paused, _S.last_slot),
    sets=lambda v: {"paused": v.c.paused, "last_slot": v.c.last_slot},
)
_PASSED = Update(table=schedules, columns=(*_KEY, _S.last_slot), sets=lambda v: {"last_slot": v.c.last_slot})
_FIRED = Update(
    table=schedules,
    columns=(*_KEY, _S.last_fired_at, _S.last_made),
    sets=lambda v: {
        "last_fired_at": v.c.last_fired_at,
        "last_made": v.c.last_made,
        "fires": _S.fires + sa.literal_column("1", sa.Integer()),
    },
)
_REMOVED = Delete(table=schedules, columns=_KEY)
_CLAIMED = Insert(table=cron_fires, columns=tuple(cron_fires.c), key=3, when_there="skip")
_BY_ID = by_key(schedules, _KEY)


class ScheduleStore:
    """The schedules of all tenants."""

    def __init__(self, *, database: Database, reader: Reader) -> None:
        self._database = database
        self._reader = reader

    @staticmethod
    def added(schedule: Schedule) -> Change:
        """A new one. As a guard it has a row unless its id is taken."""
        return Change(_ADDED, _values(schedule))

    @staticmethod
    def put(schedule: Schedule) -> Change:
        """This one from now on, whatever was there with its id."""
        return Change(_PUT, _values(schedule))

    @staticmethod
    def changed(tenant: str, schedule_id: str, spec: Spec, last_slot: int, at: int) -> Change:
        """Other times or another target."""
        return Change(_CHANGED, (tenant, schedule_id, spec.dumped(), spec.payload, last_slot, at))

    @staticmethod
    def paused(tenant: str, schedule_id: str, paused: bool, last_slot: int) -> Change:
        """It stops firing, or fires again; slots up to `last_slot` (ms) are no business of it any more."""
        return Change(_PAUSED, (tenant, schedule_id, paused, last_slot))

    @staticmethod
    def passed(tenant: str, schedule_id: str, last_slot: int) -> Change:
        """Every slot up to this one (ms) has been dealt with."""
        return Change(_PASSED, (tenant, schedule_id, last_slot))

    @staticmethod
    def claimed(tenant: str, schedule_id: str, slot: int, at: int) -> Change:
        """As a guard it has a row for the first who claims this slot (ms) only."""
        return Change(_CLAIMED, (tenant, schedule_id, slot, at))

    @staticmethod
    def fired(tenant: str, schedule_id: str, at: int, made: str) -> Change:
        """It made this job or event."""
        return Change(_FIRED, (tenant, schedule_id, at, made))

    @staticmethod
    def removed(tenant: str, schedule_id: str) -> Change:
        """It is no more."""
        return Change(_REMOVED, (tenant, schedule_id))

    async def get(self, tenant: str, schedule_id: str) -> Schedule | None:
        """One schedule."""
        row = await self._reader.one(_BY_ID, (tenant, schedule_id))
        return None if row is None else _schedule(row)

    async def listed(self, tenant: str, *, after: str | None, limit: int) -> Sequence[Schedule]:
        """A page, in the order of the ids."""
        query = sa.select(*_S).where(_S.tenant == tenant).order_by(_S.id).limit(limit)
        if after is not None:
            query = query.where(_S.id > after)
        return [_schedule(row) for row in await self._database.fetch(query)]

    async def all(self) -> list[Schedule]:
        """Of all tenants."""
        return [_schedule(row) for row in await self._database.fetch(sa.select(*_S).order_by(_S.tenant, _S.id))]


def _values(s: Schedule) -> Row:
    by_name = {name: getattr(s, name) for name in s.__slots__} | {"spec": s.spec.dumped(), "payload": s.spec.payload}
    return tuple(by_name[column.name] for column in schedules.c)


def _schedule(row: Row) -> Schedule:
    values = dict(zip((column.name for column in schedules.c), row, strict=True))
    spec = spec_of(values["spec"], values.pop("payload"))
    return Schedule(**{**values, "spec": spec, "paused": bool(values["paused"])})
