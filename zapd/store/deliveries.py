"""Deliveries of events to endpoints, and their attempts."""

from functools import cache
from typing import Any

import orjson
import sqlalchemy as sa

from zapd.model.webhook import Attempt, Delivery, DeliveryState, Event, Owner
from zapd.records import record
from zapd.store.commands import Change, Insert, Lookup, Row, Update, among, by_key, matching, word
from zapd.store.database import Database
from zapd.store.events import event_of
from zapd.store.reader import Reader
from zapd.store.tables import UNDELIVERED, attempts, deliveries, events

D = DeliveryState
_FINISHED = frozenset({D.DELIVERED, D.DEAD, D.CANCELED})

_D = deliveries.c
_NAMES = tuple(column.name for column in _D)
_KEY = (_D.tenant, _D.id)
_NEW = (
    *(*_KEY, _D.endpoint_id, _D.event_id, _D.event_type, _D.connection_id, _D.message_id),
    *(_D.state, _D.attempts, _D.created_at, _D.next_at, _D.order_key),
)
_ADDED = Insert(table=deliveries, columns=_NEW, when_there="skip")
_BY_ID = by_key(deliveries, _KEY)
_WITH_EVENT = Lookup(
    columns=_KEY,
    read=(*_D, events.c.payload, events.c.created_at),
    source=lambda v: v.join(deliveries, sa.and_(*matching(deliveries, v, _KEY))).join(
        events, sa.and_(events.c.tenant == _D.tenant, events.c.id == _D.event_id)
    ),
)
_UNFINISHED = frozenset({D.PENDING, D.RETRYING})
_BATCHED = Update(
    table=deliveries,
    columns=(*_KEY, _D.batch_id),
    sets=lambda v: {"batch_id": v.c.batch_id},
    where=lambda _: [_D.batch_id.is_(None), among(_D.state, _UNFINISHED)],
)
_ATTEMPT_NAMES = tuple(column.name for column in attempts.c)
_ATTEMPTED = Insert(table=attempts, columns=tuple(attempts.c), key=3, when_there="replace")


@cache  # one for each pair of states and set of fields that the code asks for
def _moving(to: DeliveryState, frm: frozenset[DeliveryState], with_attempts: bool) -> Update:
    at = sa.column("at", sa.BigInteger())
    return Update(
        table=deliveries,
        columns=(*_KEY, at, _D.next_at, _D.last_status, _D.last_error, *([_D.attempts] if with_attempts else [])),
        sets=lambda v: {
            "state": word(to),
            "finished_at": v.c.at if to in _FINISHED else sa.null(),
            "next_at": v.c.next_at,
            "last_status": sa.func.coalesce(v.c.last_status, _D.last_status),
            "last_error": v.c.last_error,
            **({"batch_id": sa.null()} if to is D.PENDING else {}),  # it may go with other company
            **({"attempts": v.c.attempts} if with_attempts else {}),
        },
        where=lambda _: [among(_D.state, frm)],
    )


@record
class LoadedDelivery:
    """A delivery with what its request needs of the event: the stored envelope, and when it happened (ms)."""

    delivery: Delivery
    payload: bytes
    happened_at: int


class DeliveryStore:
    """The deliveries of all tenants."""

    def __init__(self, *, database: Database, reader: Reader) -> None:
        self._database = database
        self._reader = reader

    @staticmethod
    def added(delivery: Delivery) -> Change:
        """A new delivery, unless this event goes to this endpoint already."""
        d = delivery
        return Change(
            _ADDED,
            (
                *(d.tenant, d.id, d.endpoint_id, d.event_id, d.event_type, d.connection_id, d.message_id),
                *(d.state.value, d.attempts, d.created_at, d.next_at, d.order_key),
            ),
        )

    @staticmethod
    def moved(
        tenant: str,
        delivery_id: str,
        *,
        to: DeliveryState,
        frm: frozenset[DeliveryState],
        at: int,
        attempts: int | None = None,
        last_status: int | None = None,
        last_error: str | None = None,
        next_at: int | None = None,
    ) -> Change:
        """Compare-and-set of the state from one of `frm`. Times in milliseconds.

        `attempts` and `last_status` stay when not given; `last_error` and `next_at` are cleared. As a guard its row
        is the key.
        """
        row: Row = (tenant, delivery_id, at, next_at, last_status, last_error)
        if attempts is None:
            return Change(_moving(to, frm, False), row)
        return Change(_moving(to, frm, True), (*row, attempts))

    @staticmethod
    def attempted(attempt: Attempt) -> Change:
        """One POST was made. Recording the same number again replaces it: a crash may repeat a POST."""
        a, phases = attempt, orjson.dumps(dict(attempt.phases)).decode()
        return Change(
            _ATTEMPTED,
            (
                *(a.tenant, a.delivery_id, a.number, a.started_at, a.duration_ms, phases),
                *(a.status, a.response, a.failure, None if a.owner is None else a.owner.value, a.error),
            ),
        )

    @staticmethod
    def batched(tenant: str, delivery_id: str, batch_id: str) -> Change:
        """It goes together with others: as a guard it has no row when it does already, or is over."""
        return Change(_BATCHED, (tenant, delivery_id, batch_id))

    async def get(self, tenant: str, delivery_id: str) -> Delivery | None:
        """One delivery."""
        row = await self._reader.one(_BY_ID, (tenant, delivery_id))
        return None if row is None else _delivery_of(row)

    async def load(self, tenant: str, delivery_id: str) -> LoadedDelivery | None:
        """One delivery together with its event. None when either is gone."""
        row = await self._reader.one(_WITH_EVENT, (tenant, delivery_id))
        if row is None:
            return None
        return _loaded_of(row)

    async def listed(
        self,
        tenant: str,
        *,
        endpoint_id: str | None = None,
        state: DeliveryState | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> list[Delivery]:
        """A page by id, the oldest first."""
        query = sa.select(deliveries).where(_D.tenant == tenant).order_by(_D.id).limit(limit)
        if endpoint_id is not None:
            query = query.where(_D.endpoint_id == endpoint_id)
        if state is not None:
            query = query.where(_D.state == state.value)
        if after is not None:
            query = query.where(_D.id > after)
        return [_delivery_of(row) for row in await self._database.fetch(query)]

    async def waiting(self, tenant: str, endpoint_id: str, limit: int) -> list[Delivery]:
        """The endpoint's unfinished deliveries that are in no batch, the oldest first."""
        query = sa.select(deliveries).where(
            _D.tenant == tenant, _D.endpoint_id == endpoint_id, _D.batch_id.is_(None), _D.state.in_(_UNFINISHED)
        )
        return [_delivery_of(row) for row in await self._database.fetch(query.order_by(_D.id).limit(limit))]

    async def in_batch(self, tenant: str, batch_id: str) -> list[LoadedDelivery]:
        """The deliveries of one POST with their events, in order."""
        query: sa.Select[Any] = (
            sa.select(*_D, events.c.payload, events.c.created_at)
            .join(events, sa.and_(events.c.tenant == _D.tenant, events.c.id == _D.event_id))
            .where(_D.tenant == tenant, _D.batch_id == batch_id)
            .order_by(_D.id)
        )
        return [_loaded_of(row) for row in await self._database.fetch(query)]

    async def ahead(self, delivery: Delivery, most: int) -> list[Delivery]:
        """The unfinished deliveries that must go before this one, at most so many, the oldest first.

        They have the same endpoint and the same key, and are earlier.
        """
        d = delivery
        query = sa.select(deliveries).where(
            *(_D.tenant == d.tenant, _D.endpoint_id == d.endpoint_id, _D.order_key == d.order_key),
            *(_D.order_key.is_not(None), _D.id < d.id, _D.state.in_(_UNFINISHED)),
        )
        return [_delivery_of(row) for row in await self._database.fetch(query.order_by(_D.id).limit(most))]

    async def following(self, delivery: Delivery) -> Delivery | None:
        """The oldest unfinished delivery with the same endpoint and key."""
        d = delivery
        query = sa.select(deliveries).where(
            *(_D.tenant == d.tenant, _D.endpoint_id == d.endpoint_id, _D.order_key == d.order_key),
            *(_D.order_key.is_not(None), _D.state.in_(_UNFINISHED)),
        )
        rows = await self._database.fetch(query.order_by(_D.id).limit(1))
        return _delivery_of(rows[0]) if rows else None

    async def events_after(
        self, tenant: str, endpoint_id: str, seq: int, limit: int
    ) -> list[tuple[int, Delivery, Event]]:
        """What the endpoint gets after its number `seq`: number, delivery and event, without gaps while events live."""
        query: sa.Select[Any] = (
            sa.select(*_D, *events.c)
            .join(events, sa.and_(events.c.tenant == _D.tenant, events.c.id == _D.event_id))
            .where(_D.tenant == tenant, _D.endpoint_id == endpoint_id, _D.seq > seq)
            .order_by(_D.seq)
            .limit(limit)
        )
        found = await self._database.fetch(query)
        pairs = [(_delivery_of(row[: len(_NAMES)]), event_of(row[len(_NAMES) :])) for row in found]
        return [(delivery.seq or 0, delivery, event) for delivery, event in pairs]

    async def of_period(
        self, tenant: str, endpoint_id: str, *, states: frozenset[DeliveryState], since: int, until: int, limit: int
    ) -> list[Delivery]:
        """The endpoint's deliveries of events in this time (ms) that are in one of these states, the oldest first."""
        query = sa.select(deliveries).where(
            *(_D.tenant == tenant, _D.endpoint_id == endpoint_id, _D.state.in_(states)),
            *(_D.created_at >= since, _D.created_at < until),
        )
        return [_delivery_of(row) for row in await self._database.fetch(query.order_by(_D.id).limit(limit))]

    async def of_message(self, tenant: str, message_id: str) -> list[Delivery]:
        """The deliveries of a message's events, the oldest first."""
        query = sa.select(deliveries).where(_D.tenant == tenant, _D.message_id == message_id).order_by(_D.id)
        return [_delivery_of(row) for row in await self._database.fetch(query)]

    async def of_event(self, tenant: str, event_id: str) -> list[Delivery]:
        """The deliveries of one event."""
        query = sa.select(deliveries).where(_D.tenant == tenant, _D.event_id == event_id).order_by(_D.id)
        return [_delivery_of(row) for row in await self._database.fetch(query)]

    async def unfinished_counts(self) -> dict[DeliveryState, int]:
        """How many deliveries of all tenants are in each state but `delivered`."""
        query: sa.Select[Any] = sa.select(_D.state, sa.func.count()).where(UNDELIVERED).group_by(_D.state)
        return {DeliveryState(state): count for state, count in await self._database.fetch(query)}

    async def attempts(self, tenant: str, delivery_id: str) -> list[Attempt]:
        """The attempts of a delivery, in order."""
        a = attempts.c
        query = sa.select(attempts).where(a.tenant == tenant, a.delivery_id == delivery_id).order_by(a.number)
        return [_attempt_of(row) for row in await self._database.fetch(query)]


def _loaded_of(row: Row) -> LoadedDelivery:
    *delivery, payload, happened_at = row
    return LoadedDelivery(delivery=_delivery_of(tuple(delivery)), payload=payload, happened_at=happened_at)


def _delivery_of(row: Row) -> Delivery:
    fields: dict[str, Any] = dict(zip(_NAMES, row, strict=True))
    fields["state"] = DeliveryState(fields["state"])
    return Delivery(**fields)


def _attempt_of(row: Row) -> Attempt:
    fields: dict[str, Any] = dict(zip(_ATTEMPT_NAMES, row, strict=True))
    fields["phases"] = orjson.loads(fields["phases"])
    fields["owner"] = None if fields["owner"] is None else Owner(fields["owner"])
    return Attempt(**fields)
