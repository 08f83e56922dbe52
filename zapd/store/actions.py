"""What is to be done about events, and what became of it."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa

from zapd.model.hub import OPEN, SOURCES, ActionRow, ActionState
from zapd.store.commands import Change, Insert, Row, Update, among, by_key, word
from zapd.store.database import Database
from zapd.store.reader import Reader
from zapd.store.tables import UNFINISHED, actions

_A = actions.c
_NAMES = tuple(column.name for column in _A)
_KEY = (_A.tenant, _A.id)
_ADDED = Insert(table=actions, columns=tuple(_A), when_there="skip")
_BY_ID = by_key(actions, _KEY)
_OF_EVENT = by_key(actions, (_A.tenant, _A.event_id))
_AT = sa.column("at", sa.BigInteger())
_ENDED = frozenset(ActionState) - OPEN


@cache
def _moving(to: ActionState) -> Update:
    return Update(
        table=actions,
        columns=(*_KEY, _AT, _A.attempts, _A.due_at, _A.error, _A.result, _A.answer),
        sets=lambda v: {
            "state": word(to),
            "attempts": v.c.attempts,
            "due_at": v.c.due_at,
            "finished_at": v.c.at if to in _ENDED else sa.null(),
            "error": v.c.error,
            "result": v.c.result,
            "answer": sa.func.coalesce(v.c.answer, _A.answer),
        },
        where=lambda _: [among(_A.state, SOURCES[to])],
    )


class ActionStore:
    """The actions of all tenants."""

    def __init__(self, *, database: Database, reader: Reader) -> None:
        self._database = database
        self._reader = reader

    @staticmethod
    def added(a: ActionRow) -> Change:
        """It is to be done."""
        values = [getattr(a, name) for name in _NAMES]
        values[_NAMES.index("state")] = a.state.value
        return Change(_ADDED, tuple(values))

    @staticmethod
    def moved(
        a: ActionRow,
        to: ActionState,
        *,
        at: int,
        attempts: int,
        due_at: int | None = None,
        error: str | None = None,
        result: str | None = None,
        answer: bytes | None = None,
    ) -> Change:
        """It changed its state: as a guard it has no row when its state does not allow that. Without an answer the last
        one stays.
        """
        due = a.due_at if due_at is None else due_at
        return Change(_moving(to), (a.tenant, a.id, at, attempts, due, error, result, answer))

    async def get(self, tenant: str, action_id: str) -> ActionRow | None:
        """One action."""
        row = await self._reader.one(_BY_ID, (tenant, action_id))
        return None if row is None else _of(row)

    async def of_event(self, tenant: str, event_id: str) -> list[ActionRow]:
        """Everything that was to be done about an event, in order."""
        return sorted((_of(row) for row in await self._reader.many(_OF_EVENT, (tenant, event_id))), key=lambda a: a.id)

    async def unfinished(
        self, tenant: str | None, states: Sequence[ActionState], *, due_before: int, limit: int
    ) -> list[ActionRow]:
        """Those in one of the states that are due, the oldest first."""
        query = sa.select(actions).where(UNFINISHED, _A.state.in_([state.value for state in states]))
        query = query.where(_A.due_at <= due_before)
        if tenant is not None:
            query = query.where(_A.tenant == tenant)
        return [_of(row) for row in await self._database.fetch(query.order_by(_A.id).limit(limit))]

    async def count(self, state: ActionState) -> int:
        """How many of all tenants are in a state that is not done."""
        query: sa.Select[Any] = sa.select(sa.func.count()).select_from(actions)
        return int((await self._database.fetch(query.where(UNFINISHED, _A.state == state.value)))[0][0])


def _of(row: Row) -> ActionRow:
    fields: dict[str, Any] = dict(zip(_NAMES, row, strict=True))
    fields["state"] = ActionState(fields["state"])
    return ActionRow(**fields)
