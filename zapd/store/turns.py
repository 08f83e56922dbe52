"""Messages that wait for their turn with one person, so that another daemon, or the next start, keeps their order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from zapd.model.message import MessageStatus
from zapd.store.commands import Change, Columns, Delete, Insert, Lookup, matching, word
from zapd.store.reader import Reader
from zapd.store.tables import messages, turns

_T, _M = turns.c, messages.c
_KEY = (_T.tenant, _T.connection_id, _T.peer, _T.message_id)
_KEPT = Insert(table=turns, columns=tuple(_T), key=4, when_there="replace")
_GONE = Delete(table=turns, columns=_KEY, key=4)
_PERSON = (_T.tenant, _T.connection_id, _T.peer)
_CONNECTION = (_T.tenant, _T.connection_id)


def _waiting(columns: Columns, read: Sequence[sa.Column[Any]]) -> Lookup:
    """One that was canceled, has expired or was given up waits no more, though its row may still be here."""
    queued = sa.and_(_M.tenant == _T.tenant, _M.id == _T.message_id, _M.status == word(MessageStatus.QUEUED))
    return Lookup(
        columns=columns,
        read=read,
        source=lambda v: v.join(turns, sa.and_(*matching(turns, v, columns))).join(messages, queued),
    )


_FOR_PERSON = _waiting(_PERSON, tuple(_T))
_PEOPLE = _waiting(_CONNECTION, (_T.peer,))


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """A message waits. `due_at`: the time that the pace to this person gave it. Times in milliseconds."""

    tenant: str
    connection_id: str
    peer: str  #: one name for both spellings of a number
    message_id: str
    priority: int
    job_id: str
    due_at: int | None
    since: int


class TurnStore:
    """The turns of all tenants."""

    def __init__(self, *, reader: Reader) -> None:
        self._reader = reader

    @staticmethod
    def kept(turn: Turn) -> Change:
        """It waits."""
        t = turn
        row = (t.tenant, t.connection_id, t.peer, t.message_id, t.priority, t.job_id, t.due_at, t.since)
        return Change(_KEPT, row)

    @staticmethod
    def gone(turn: Turn) -> Change:
        """It left."""
        return Change(_GONE, (turn.tenant, turn.connection_id, turn.peer, turn.message_id))

    async def waiting(self, tenant: str, connection_id: str, peer: str) -> list[Turn]:
        """The messages that wait for this person, in no order."""
        names = [column.name for column in _T]
        rows = await self._reader.many(_FOR_PERSON, (tenant, connection_id, peer))
        return [Turn(**dict(zip(names, row, strict=True))) for row in rows]

    async def people(self, tenant: str, connection_id: str) -> frozenset[str]:
        """Whom messages of a connection wait for."""
        return frozenset(row[0] for row in await self._reader.many(_PEOPLE, (tenant, connection_id)))
