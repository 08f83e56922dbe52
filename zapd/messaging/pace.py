"""Who may be written to now: one person not too often, new people not too many a day, and nobody in quiet hours.

A message that must wait goes back with a time, and others go on; those to the same person stay behind it
(`turns.py`). The pace to one person reserves a time for each message that waits. What is counted here is of the
sessions of this daemon; the new people of a day are counted in SQL and read again every minute. What left before this
daemon was started is read once, before the first message to one person that may have to wait: a restart gives nobody a
new burst.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import structlog

from zapd.messaging.turns import MAX_WAIT, Person, PersonKey, Queued, Turns, Wait
from zapd.model.message import Message
from zapd.model.pace import DAY, Limits
from zapd.model.session import Connection, key_of
from zapd.store.commands import Change
from zapd.store.contacts import PeerStore
from zapd.store.events import Sent
from zapd.store.windows import WindowStore
from zapd.whatsapp.numbers import window_key

log = structlog.get_logger("zapd.messaging")

ANSWER_WITHIN = 3_600_000  #: ms after which a message is no answer any more, for the quiet hours
QUIET_WAIT = 900.0  #: seconds; then it is looked at again, because an operator may have changed the hours
COUNT_AGAIN = 60_000  #: ms
LOOKED_BACK = 3_600_000  #: ms before the start; Meta's burst of 45 is forgotten after 270 s
MAX_PEERS = 50_000  #: remembered of those that were written to


class _Job(NamedTuple):
    id: str
    priority: int


@dataclass
class _NewPeople:
    """The new people of a session in the last 24 hours."""

    times: list[int]
    read_at: int
    counted: set[str] = field(default_factory=set)  # since then


class Pace:
    """Asked before each send. `limits_of` gives a connection's limits with the defaults of its transport.

    `sent_since` tells what left after a time (ms), in order.
    """

    def __init__(
        self,
        *,
        peers: PeerStore,
        windows: WindowStore,
        limits_of: Callable[[Connection], Limits],
        hold: Callable[[Connection, int], Awaitable[None]],
        turns: Turns,
        sent_since: Callable[[int], Awaitable[Sequence[Sent]]],
        now_ms: Callable[[], int],
    ) -> None:
        self._peers = peers
        self._windows = windows
        self._limits_of = limits_of
        self._hold = hold
        self._turns = turns
        self._sent_since = sent_since
        self._now_ms = now_ms
        self._before_start: dict[PersonKey, list[int]] | None = None  # when each person was written to; None: not read
        self._reading = asyncio.Lock()
        self._new: dict[str, _NewPeople] = {}
        self._written_to: dict[str, set[str]] = defaultdict(set)  # connection's key → its peers
        self._remembered = 0

    async def before(self, connection: Connection, peer: str, job: Queued, message_id: str) -> Wait | None:
        """Whether a message must wait; None: it counts as leaving now, and `left` is to be committed with it."""
        limits, now = self._limits_of(connection), self._now_ms()
        limited = _limited(connection, limits, now)
        if not limited and not await self._turns.known(connection, peer):
            return None
        person, new = await self._turns.of(connection, peer)
        if new:
            await self._met(connection, peer, person, limits, now)
        wait = await self._limit(connection, peer, message_id, person, limits, now)
        wait = wait or await self._turns.behind(person, job, message_id, now)
        if wait is None:
            self._turns.goes(person, message_id)
        else:
            until = now + wait.seconds * 1000
            await self._turns.waits(connection, peer, person, job, message_id, now=now, until=until)
        return wait

    async def again(self, connection: Connection, message: Message, seconds: float) -> None:
        """The provider wants this message later: those to the same person stay behind it."""
        assert message.job_id is not None
        now, job = self._now_ms(), _Job(message.job_id, message.priority)
        person, new = await self._turns.of(connection, message.peer)
        if new:
            await self._met(connection, message.peer, person, self._limits_of(connection), now)
        until = now + seconds * 1000
        await self._turns.waits(connection, message.peer, person, job, message.id, now=now, until=until)

    def left(self, message_id: str) -> list[Change]:
        """What to commit when a message is taken from its queue."""
        return self._turns.left(message_id)

    async def _limit(
        self, connection: Connection, peer: str, message_id: str, person: Person, limits: Limits, now: int
    ) -> Wait | None:
        quiet = limits.quiet_hours.ends_at(now) if limits.quiet_hours else None
        if quiet is not None and not await self._answers(connection, peer, now):
            return Wait(min(QUIET_WAIT, (quiet - now) / 1000), "quiet_hours")
        wait = await self._new_person(connection, peer, limits, now) if _is_person(peer) else None
        return wait or _one_person(person, message_id, limits, now)

    def sent(self, tenant: str, connection_id: str, peer: str, at: int) -> list[Change]:
        """What to commit after a message that left."""
        key, name = key_of(tenant, connection_id), window_key(peer)
        if name in self._written_to[key]:
            return []
        if self._remembered >= MAX_PEERS:  # SQL knows them
            self._written_to.clear()
            self._remembered = 0
        self._written_to[key].add(name)
        self._remembered += 1
        return [self._peers.written_to(tenant, connection_id, name, at)]

    def forget(self, connection: Connection) -> None:
        """The connection is closed."""
        self._remembered -= len(self._written_to.pop(connection.key, ()))
        self._new.pop(connection.key, None)
        self._turns.forget(connection)

    async def hold_new_people(self, connection: Connection, seconds: float) -> None:
        """The provider wants no messages to people who never wrote, for that time."""
        await self._hold(connection, self._now_ms() + round(seconds * 1000))

    async def shown(self, connection: Connection) -> dict[str, Any]:
        """The limits of a connection, and what is left of them."""
        limits, now = self._limits_of(connection), self._now_ms()
        most = limits.new_contacts(age=now - connection.created_at)
        used = len((await self._new_people(connection, now)).times) if most is not None else 0
        quiet = limits.quiet_hours
        return {
            "recipient_per_minute": limits.recipient_per_minute or None,
            "recipient_burst": limits.recipient_burst if limits.recipient_per_minute else None,
            "new_contacts_per_day": most,
            "new_contacts_left": max(0, most - used) if most is not None else None,
            "new_contacts_paused_until": connection.new_contacts_until,
            "lookups_per_minute": limits.lookups_per_minute or None,
            "quiet_hours": _quiet(quiet.begin, quiet.end, quiet.time_zone) if quiet else None,
            "quiet_until": quiet.ends_at(now) if quiet else None,
        }

    # --- one person ---

    async def _met(self, connection: Connection, peer: str, person: Person, limits: Limits, now: int) -> None:
        """Somebody whom this daemon has not written to yet, with what is left of an earlier burst."""
        if not limits.recipient_per_minute:
            return
        if self._before_start is None:
            await self._read_back(now)
        step = 60_000 / limits.recipient_per_minute
        for at in (self._before_start or {}).pop((connection.key, window_key(peer)), ()):
            person.tat = max(person.tat, at) + step
        for due in person.reserved.values():  # the times that were given before
            person.tat = max(person.tat, due + step * (limits.recipient_burst or 1))

    async def _read_back(self, now: int) -> None:
        async with self._reading:
            if self._before_start is not None:
                return
            found: dict[PersonKey, list[int]] = {}
            for sent in await self._sent_since(now - LOOKED_BACK):
                key = (key_of(sent.tenant, sent.connection_id), window_key(sent.peer))
                found.setdefault(key, []).append(sent.at)
            self._before_start = found

    # --- new people ---

    async def _new_person(self, connection: Connection, peer: str, limits: Limits, now: int) -> Wait | None:
        held = (connection.new_contacts_until or 0) > now
        most = limits.new_contacts(age=now - connection.created_at)
        if not held and most is None:
            return None
        key = (connection.key, window_key(peer))
        where = (connection.tenant, connection.id, key[1])
        if (not held and key[1] in self._written_to.get(key[0], ())) or await self._windows.get(*where) is not None:
            return None  # written to before, or they wrote
        if held:
            return Wait(min(MAX_WAIT, ((connection.new_contacts_until or 0) - now) / 1000), "new_contacts_paused")
        if most is None or await self._peers.get(*where) is not None:
            return None
        return self._one_more(await self._new_people(connection, now), key[1], most, now)

    @staticmethod
    def _one_more(new: _NewPeople, person: str, most: int, now: int) -> Wait | None:
        if person in new.counted:  # its message waited for something else meanwhile
            return None
        if len(new.times) >= most:
            soonest = new.times[-most] + DAY if most else now + DAY
            return Wait(min(MAX_WAIT, max(1.0, (soonest - now) / 1000)), "new_contacts_per_day")
        new.times.append(now)  # also when the send fails: the next reading corrects it
        new.counted.add(person)
        return None

    async def _new_people(self, connection: Connection, now: int) -> _NewPeople:
        new = self._new.get(connection.key)
        if new is None or now - new.read_at > COUNT_AGAIN:
            times = await self._peers.first_writes(connection.tenant, connection.id, now - DAY)
            new = self._new[connection.key] = _NewPeople(times, now)
        new.times = [at for at in new.times if at > now - DAY]
        return new

    async def _answers(self, connection: Connection, peer: str, now: int) -> bool:
        window = await self._windows.get(connection.tenant, connection.id, window_key(peer))
        return window is not None and now - window.at < ANSWER_WITHIN


def _limited(connection: Connection, limits: Limits, now: int) -> bool:
    """Whether a message may have to wait for something else than its session."""
    held = (connection.new_contacts_until or 0) > now
    return bool(limits.recipient_per_minute or limits.quiet_hours or limits.new_contacts_per_day or held)


def _one_person(person: Person, message_id: str, limits: Limits, now: int) -> Wait | None:
    if not limits.recipient_per_minute:
        return None
    due = person.reserved.get(message_id)
    if due is None:
        step = 60_000 / limits.recipient_per_minute
        due = max(now, person.tat - step * ((limits.recipient_burst or 1) - 1))
        person.tat = max(person.tat, now) + step
        person.reserved[message_id] = due
    return Wait((due - now) / 1000, "recipient_pace") if due > now else None


def _is_person(peer: str) -> bool:
    return not peer.endswith(("@g.us", "@newsletter"))


def _quiet(begin: int, end: int, time_zone: str) -> dict[str, str]:
    return {
        "from": f"{begin // 60:02}:{begin % 60:02}",
        "to": f"{end // 60:02}:{end % 60:02}",
        "time_zone": time_zone,
    }
