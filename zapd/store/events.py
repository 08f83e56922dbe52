"""The event log: one row for everything that happened, in the order of `seq`."""

from typing import Any, NamedTuple

import sqlalchemy as sa

from zapd.model.webhook import Category, Event, Severity
from zapd.store.commands import Change, Insert, Row, by_key
from zapd.store.database import Database
from zapd.store.event_states import of_types
from zapd.store.reader import Reader
from zapd.store.tables import deliveries, event_states, events, messages

SENT = "message.sent"
LOOKED_THROUGH = 100_000  #: rows of the log, of which `sent_since` takes its answer

_E, _M = events.c, messages.c
_KEY = (_E.tenant, _E.id)
_COLUMNS = (*_KEY, _E.type, _E.category, _E.severity, _E.connection_id, _E.message_id, _E.payload, _E.created_at)
_RECORDED = Insert(table=events, columns=_COLUMNS)
_RECORDED_NEW = Insert(table=events, columns=_COLUMNS, when_there="skip")
_NAMES = tuple(column.name for column in _E)
_BY_ID = by_key(events, _KEY)


class Sent(NamedTuple):
    """A message left for `peer` at `at` (ms)."""

    tenant: str
    connection_id: str
    peer: str
    at: int


class EventStore:
    """The events of all tenants."""

    def __init__(self, *, database: Database, reader: Reader) -> None:
        self._database = database
        self._reader = reader

    @staticmethod
    def recorded(event: Event) -> Change:
        """It happened. The id is ours; the database gives `seq`."""
        return Change(_RECORDED, _values(event))

    @staticmethod
    def recorded_new(event: Event) -> Change:
        """It happened, under an id that somebody else chose: as a guard it has no row when the id is known."""
        return Change(_RECORDED_NEW, _values(event))

    async def get(self, tenant: str, event_id: str) -> Event | None:
        """One event."""
        row = await self._reader.one(_BY_ID, (tenant, event_id))
        return None if row is None else event_of(row)

    async def listed(
        self,
        tenant: str,
        *,
        type: str | None = None,
        category: Category | None = None,
        connection_id: str | None = None,
        source: str | None = None,
        since: int | None = None,
        until: int | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> list[Event]:
        """A page by id, the oldest first. `type` may be a family; `since` and `until` are milliseconds."""
        query = sa.select(events).where(_E.tenant == tenant).order_by(_E.id).limit(limit)
        for column, value in ((_E.category, category), (_E.connection_id, connection_id)):
            if value is not None:
                query = query.where(column == str(value))
        if type is not None:
            query = query.where(of_types(_E.type, (type,)))
        if source is not None:
            query = query.where(_from(source))
        if since is not None:
            query = query.where(_E.created_at >= since)
        if until is not None:
            query = query.where(_E.created_at < until)
        if after is not None:
            query = query.where(_E.id > after)
        return await self._fetch(query)

    async def of_message(self, tenant: str, message_id: str) -> list[Event]:
        """Everything that happened to a message, in order."""
        return await self._fetch(
            sa.select(events).where(_E.tenant == tenant, _E.message_id == message_id).order_by(_E.seq)
        )

    async def after(self, seq: int, limit: int, tenant: str | None = None) -> list[Event]:
        """The events that follow `seq` in the log, of one tenant or all.

        With several daemons on one PostgreSQL a lower `seq` may be committed after a higher one: a reader that must
        miss nothing reads a little back.
        """
        query = sa.select(events).where(_E.seq > seq).order_by(_E.seq).limit(limit)
        return await self._fetch(query if tenant is None else query.where(_E.tenant == tenant))

    async def undelivered_to(
        self, tenant: str, endpoint_id: str, *, since: int, until: int, after: str, limit: int
    ) -> list[Event]:
        """Events of this time (ms) that have no delivery to this endpoint, by id after `after`, the oldest first."""
        there = sa.exists().where(
            *(deliveries.c.tenant == _E.tenant, deliveries.c.event_id == _E.id),
            deliveries.c.endpoint_id == endpoint_id,
        )
        query = sa.select(events).where(
            *(_E.tenant == tenant, _E.created_at >= since, _E.created_at < until, _E.id > after, ~there)
        )
        return await self._fetch(query.order_by(_E.id).limit(limit))

    async def sent_since(self, since: int) -> list[Sent]:
        """What left after then (ms) in all connections, in order, as far as the newest rows of the log tell."""
        newest = sa.select(sa.func.coalesce(sa.func.max(_E.seq), 0)).scalar_subquery()
        query: sa.Select[Any] = (
            sa.select(_M.tenant, _M.connection_id, _M.peer, _E.created_at)
            .join_from(events, messages, sa.and_(_M.tenant == _E.tenant, _M.id == _E.message_id))
            .where(_E.seq > newest - LOOKED_THROUGH, _E.type == SENT, _E.created_at > since)
            .order_by(_E.seq)
        )
        return [Sent(*row) for row in await self._database.fetch(query)]

    async def last_seq(self) -> int:
        """The place of the newest event; 0 when there is none."""
        return (await self._database.fetch(sa.select(sa.func.max(_E.seq))))[0][0] or 0

    async def _fetch(self, query: sa.Select[Any]) -> list[Event]:
        return [event_of(row) for row in await self._database.fetch(query)]


def _from(source: str) -> sa.ColumnElement[bool]:
    s = event_states.c
    return sa.exists().where(s.tenant == _E.tenant, s.event_id == _E.id, s.source == source)


def event_of(row: Row) -> Event:
    """The event in a row of the whole table."""
    fields: dict[str, Any] = dict(zip(_NAMES, row, strict=True))
    fields["category"] = Category(fields["category"])
    fields["severity"] = Severity(fields["severity"])
    return Event(**fields)


def _values(e: Event) -> Row:
    return (
        *(e.tenant, e.id, e.type, e.category.value, e.severity.value, e.connection_id, e.message_id),
        *(e.payload, e.created_at),
    )
