"""Messages, in and out."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import sqlalchemy as sa

from zapd.model.message import Direction, Message, MessageStatus
from zapd.store.commands import Change, Insert, Lookup, Row, Update, among, by_key, matching, word
from zapd.store.database import Database
from zapd.store.reader import Reader
from zapd.store.tables import ATTENTION, messages

S = MessageStatus
_M = messages.c
_NAMES = tuple(column.name for column in messages.c)

#: The column that keeps when a message reached a status.
_STAMPS: Mapping[MessageStatus, str] = {
    S.SENDING: "sending_at",
    S.SENT: "sent_at",
    S.DELIVERED: "delivered_at",
    S.READ: "read_at",
    S.PLAYED: "played_at",
    S.FAILED: "failed_at",
    S.DLQ: "failed_at",
}
_SETTABLE = (
    *("provider_id", "peer", "job_id", "priority", "send_at", "expires_at", "error_code", "error"),
    *("sent_at", "delivered_at", "read_at"),  # steps that one receipt implies for an earlier one
)
_STATUS = {status.value: status for status in MessageStatus}  # calling the enum costs ten times a look-up
_DIRECTION = {direction.value: direction for direction in Direction}
_CLAIMABLE = frozenset({S.QUEUED, S.FAILED})

_KEY = (_M.tenant, _M.id)
_NEW = (
    *(*_KEY, _M.connection_id, _M.direction, _M.status, _M.peer, _M.type, _M.payload, _M.priority),
    *(_M.created_at, _M.job_id, _M.provider_id, _M.reply_to, _M.send_at, _M.expires_at, _M.sent_at, _M.sender),
)
_ADDED = Insert(table=messages, columns=_NEW)
_ADDED_NEW = Insert(table=messages, columns=_NEW, when_there="skip")
_BY_ID = by_key(messages, _KEY)
_PROVIDER = (_M.tenant, _M.connection_id, _M.direction, _M.provider_id)
_BY_PROVIDER_ID = Lookup(
    columns=_PROVIDER,
    read=tuple(_M),
    # IS NOT NULL lets the partial index be used.
    source=lambda v: v.join(messages, sa.and_(*matching(messages, v, _PROVIDER), _M.provider_id.is_not(None))),
)


@cache  # at most one for each set of fields that the code asks for
def _settable(given: tuple[str, ...]) -> tuple[str, ...]:
    """The names in the order of the columns. Raises TypeError."""
    if unknown := set(given) - set(_SETTABLE):
        raise TypeError(f"moved() cannot set {sorted(unknown)}")
    return tuple(name for name in _SETTABLE if name in given)


@cache  # at most one for each pair of states and set of fields that the code asks for
def _moving(to: MessageStatus, frm: frozenset[MessageStatus], names: tuple[str, ...], whole: bool) -> Update:
    at = sa.column("at", sa.BigInteger())
    stamp = _STAMPS.get(to)

    def sets(v: sa.CTE) -> Mapping[str, Any]:
        changed: dict[str, Any] = {"status": word(to), "error_code": sa.null(), "error": sa.null()}
        if stamp is not None:
            changed[stamp] = v.c.at
        return changed | {name: v.c[name] for name in names}

    return Update(
        table=messages,
        columns=(*_KEY, at, *[_M[name] for name in names]),
        sets=sets,
        where=lambda _: [among(_M.status, frm)],
        returning=tuple(_M) if whole else (),
    )


class MessageStore:
    """The messages of all tenants. Methods that return a `Change` do nothing until it is committed."""

    def __init__(self, *, database: Database, reader: Reader) -> None:
        self._database = database
        self._reader = reader

    @staticmethod
    def of(row: Row) -> Message:
        """The message in the row that `moved` or `claimed` gave as a guard."""
        fields: dict[str, Any] = dict(zip(_NAMES, row, strict=True))
        fields["direction"] = _DIRECTION[fields["direction"]]
        fields["status"] = _STATUS[fields["status"]]
        return Message(**fields)

    @staticmethod
    def added(message: Message) -> Change:
        """A new message whose id we made. Conflict when it is there already."""
        return Change(_ADDED, _new(message))

    @staticmethod
    def added_new(message: Message) -> Change:
        """A new message, unless its id or its provider id is there already: as a guard it then has no row."""
        return Change(_ADDED_NEW, _new(message))

    @staticmethod
    def moved(
        tenant: str,
        message_id: str,
        *,
        to: MessageStatus,
        frm: frozenset[MessageStatus],
        at: int,
        whole: bool = True,
        **fields: Any,
    ) -> Change:
        """Compare-and-set of the status from one of `frm`; stamps `at` (ms) in the column of that status.

        What is not given stays, but error and error_code are cleared. As a guard its row is the whole message: `of`;
        without `whole` its key alone, which is cheaper.
        """
        names = _settable(tuple(fields))
        return Change(_moving(to, frm, names, whole), (tenant, message_id, at, *[fields[name] for name in names]))

    @classmethod
    def claimed(cls, tenant: str, message_id: str, at: int) -> Change:
        """A worker takes it: queued or failed → processing → sending in one step, nothing can be seen between."""
        return cls.moved(tenant, message_id, to=S.SENDING, frm=_CLAIMABLE, at=at)

    async def get(self, tenant: str, message_id: str) -> Message | None:
        """One message."""
        row = await self._reader.one(_BY_ID, (tenant, message_id))
        return None if row is None else self.of(row)

    async def queued(self, tenant: str, message_id: str) -> bool:
        """Whether a message waits in its queue."""
        message = await self.get(tenant, message_id)
        return message is not None and message.status is S.QUEUED

    async def by_provider_id(
        self, tenant: str, connection_id: str, direction: Direction, provider_id: str
    ) -> Message | None:
        """The message that the provider calls so."""
        row = await self._reader.one(_BY_PROVIDER_ID, (tenant, connection_id, direction.value, provider_id))
        return None if row is None else self.of(row)

    async def history(
        self,
        tenant: str,
        connection_id: str,
        *,
        direction: Direction | None = None,
        status: MessageStatus | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> list[Message]:
        """A page of a connection's messages by id, the oldest first."""
        query = sa.select(messages).where(_M.tenant == tenant, _M.connection_id == connection_id)
        if direction is not None:
            query = query.where(_M.direction == direction.value)
        if status is not None:
            query = query.where(_M.status == status.value)
        if after is not None:
            query = query.where(_M.id > after)
        return [self.of(row) for row in await self._database.fetch(query.order_by(_M.id).limit(limit))]

    async def held_count(self) -> int:
        """How many messages of all tenants wait for a person or a late receipt."""
        held: sa.Select[Any] = sa.select(sa.func.count()).select_from(messages)
        return int((await self._database.fetch(held.where(ATTENTION, _M.status == S.HELD.value)))[0][0])

    async def attention_counts(self, tenant: str) -> dict[MessageStatus, int]:
        """How many messages are in the states that somebody may have to look at."""
        query: sa.Select[Any] = sa.select(_M.status, sa.func.count()).where(_M.tenant == tenant, ATTENTION)
        return {MessageStatus(status): n for status, n in await self._database.fetch(query.group_by(_M.status))}

    async def counts(self, tenant: str) -> dict[MessageStatus, int]:
        """How many messages are in each status. Reads the whole table: for people, not for loops."""
        query: sa.Select[Any] = sa.select(_M.status, sa.func.count()).where(_M.tenant == tenant).group_by(_M.status)
        return {MessageStatus(status): count for status, count in await self._database.fetch(query)}


def _new(m: Message) -> tuple[Any, ...]:
    # `.value`: sqlite3 binds a plain str ten times faster than a subclass of it.
    return (
        *(m.tenant, m.id, m.connection_id, m.direction.value, m.status.value, m.peer, m.type, m.payload, m.priority),
        *(m.created_at, m.job_id, m.provider_id, m.reply_to, m.send_at, m.expires_at, m.sent_at, m.sender),
    )
