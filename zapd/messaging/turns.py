"""Whose turn it is with one person: messages to them leave in the order accepted, also those that had to wait.

A message that waits goes back to its queue with a time, and another to the same person may be claimed meanwhile. That
one stays behind, unless the person wrote since: an answer does not wait for what waits until new people, or people at
this hour, may be written to. Who waits is kept in SQL, so that a restart, or the daemon to which a session moves,
knows it too.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from zapd.messaging.accounts import Commit
from zapd.model.pace import DAY
from zapd.model.session import Connection
from zapd.store.commands import Change
from zapd.store.turns import Turn, TurnStore
from zapd.store.windows import WindowStore
from zapd.whatsapp.numbers import window_key

LOOK_AGAIN = 1.0  #: seconds until it is looked whether the one ahead has left
MAX_WAIT = 3600.0  #: seconds; then it is looked at again
MAX_PEOPLE = 50_000  #: remembered; the one that was used longest ago goes first

PersonKey = tuple[str, str]  # connection's key, peer


class Wait(NamedTuple):
    """A message must wait. `why` is for logs and people."""

    seconds: float
    why: str


class Queued(Protocol):
    """Its place in the order: what `Job` has."""

    @property
    def id(self) -> str: ...
    @property
    def priority(self) -> int: ...


class _Waiting(NamedTuple):
    turn: Turn
    until: float  # ms; when it is looked at again

    @property
    def place(self) -> tuple[int, str]:
        return -self.turn.priority, self.turn.job_id

    @property
    def for_an_answer(self) -> bool:
        """Whether it gives way to an answer: what keeps it is not the pace to this person."""
        return self.turn.due_at is None


@dataclass
class Person:
    """Somebody who is written to. `tat` (ms): when the bucket of their pace would be empty again."""

    tat: float = 0.0
    reserved: dict[str, float] = field(default_factory=dict)  #: message id → its time (ms)
    waiting: dict[str, _Waiting] = field(default_factory=dict)

    def forget(self, message_id: str) -> _Waiting | None:
        """The message waits no more."""
        self.reserved.pop(message_id, None)
        return self.waiting.pop(message_id, None)


class Turns:
    """The people of all connections. `queued` says whether a message waits still."""

    def __init__(
        self,
        *,
        store: TurnStore,
        windows: WindowStore,
        queued: Callable[[str, str], Awaitable[bool]],
        commit: Commit,
    ) -> None:
        self._store = store
        self._windows = windows
        self._queued = queued
        self._commit = commit
        self._people: OrderedDict[PersonKey, Person] = OrderedDict()
        self._in_sql: dict[str, frozenset[str]] = {}  # connection's key → whom messages wait for, as SQL said once
        self._leaving: OrderedDict[str, Turn] = OrderedDict()

    async def known(self, connection: Connection, peer: str) -> bool:
        """Whether a message to this person waits, or did not long ago."""
        name = window_key(peer)
        if self._people and (connection.key, name) in self._people:
            return True
        in_sql = self._in_sql.get(connection.key)
        if in_sql is None:
            in_sql = self._in_sql[connection.key] = await self._store.people(connection.tenant, connection.id)
        return name in in_sql

    async def of(self, connection: Connection, peer: str) -> tuple[Person, bool]:
        """The person, and whether they are new here: then SQL says what waits for them."""
        name = window_key(peer)
        key = (connection.key, name)
        person = self._people.get(key)
        if person is not None:
            self._people.move_to_end(key)
            return person, False
        kept = await self._store.waiting(connection.tenant, connection.id, name)
        person = self._people[key] = Person()
        for turn in kept:
            person.waiting[turn.message_id] = _Waiting(turn, turn.due_at or 0)
            if turn.due_at is not None:
                person.reserved[turn.message_id] = turn.due_at
        if len(self._people) > MAX_PEOPLE:
            (gone, _), _ = self._people.popitem(last=False)
            self._in_sql.pop(gone, None)  # messages to them may wait: it is read again
        return person, True

    def forget(self, connection: Connection) -> None:
        """The connection is closed."""
        self._in_sql.pop(connection.key, None)
        for key in [key for key in self._people if key[0] == connection.key]:
            del self._people[key]

    async def behind(self, person: Person, job: Queued, message_id: str, now: int) -> Wait | None:
        """Whether an earlier message to this person still waits."""
        mine, passed = (-job.priority, job.id), {message_id}
        while ahead := [w for w in person.waiting.values() if w.place < mine and w.turn.message_id not in passed]:
            first = min(ahead, key=lambda waiting: waiting.place)
            if not await self._queued(first.turn.tenant, first.turn.message_id):
                person.forget(first.turn.message_id)
            elif first.for_an_answer and await self._wrote_since(first.turn):
                passed.add(first.turn.message_id)
            else:
                return Wait(min(MAX_WAIT, max(LOOK_AGAIN, (first.until - now) / 1000)), "order")
        return None

    async def _wrote_since(self, turn: Turn) -> bool:
        window = await self._windows.get(turn.tenant, turn.connection_id, turn.peer)
        return window is not None and window.at >= turn.since

    async def waits(
        self, connection: Connection, peer: str, person: Person, job: Queued, message_id: str, *, now: int, until: float
    ) -> None:
        """The message goes back to its queue until then (ms)."""
        due, known = person.reserved.get(message_id), person.waiting.get(message_id)
        turn = Turn(
            tenant=connection.tenant,
            connection_id=connection.id,
            peer=window_key(peer),
            message_id=message_id,
            priority=job.priority,
            job_id=job.id,
            due_at=None if due is None or due <= now else round(due),  # later something else keeps it, such as the hour
            since=now if known is None else known.turn.since,  # an answer is one that came after it began to wait
        )
        if known is None or known.turn != turn:
            for gone in [name for name, waiting in person.waiting.items() if waiting.until < now - DAY]:
                person.forget(gone)
            await self._commit(self._store.kept(turn))
        person.waiting[message_id] = _Waiting(turn, until)

    def goes(self, person: Person, message_id: str) -> None:
        """It is its turn."""
        waited = person.forget(message_id)
        if waited is not None:
            self._leaving[message_id] = waited.turn
            if len(self._leaving) > MAX_PEOPLE:
                self._leaving.popitem(last=False)

    def left(self, message_id: str) -> list[Change]:
        """What to commit when it is taken from its queue."""
        turn = self._leaving.pop(message_id, None)
        return [] if turn is None else [self._store.gone(turn)]
