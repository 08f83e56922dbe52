"""Who may be written to now: one person not too often, new people not too many a day, and nobody in quiet hours.

A message that must wait goes back with a time, and others go on. The pace to one person reserves a time for each
message that waits, so that they leave in their order. What is counted here is of the sessions of this daemon; the new
people of a day are counted in SQL and read again every minute. What left before this daemon was started is read once,
before the first message to one person that may have to wait: a restart gives nobody a new burst.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import structlog

from zapd.model.pace import DAY, Limits
from zapd.model.session import Connection, key_of
from zapd.store.commands import Change
from zapd.store.contacts import PeerStore
from zapd.store.events import Sent
from zapd.store.windows import WindowStore
from zapd.whatsapp.numbers import window_key

log = structlog.get_logger("zapd.messaging")

ANSWER_WITHIN = 3_600_000  #: ms after which a message is no answer any more, for the quiet hours
MAX_WAIT = 3600.0  #: seconds; then it is looked at again
COUNT_AGAIN = 60_000  #: ms
LOOKED_BACK = 3_600_000  #: ms before the start; Meta's burst of 45 is forgotten after 270 s
MAX_PEERS = 50_000  #: remembered; the one that was used longest ago goes first

PeerKey = tuple[str, str]  # connection's key, peer


class Wait(NamedTuple):
    """A message must wait. `why` is for logs and people."""

    seconds: float
    why: str


@dataclass
class _Person:
    """The pace to one person. `tat` (ms): when the bucket would be empty again."""

    tat: float = 0.0
    reserved: dict[str, float] = field(default_factory=dict)  # message id → its time


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
        sent_since: Callable[[int], Awaitable[Sequence[Sent]]],
        now_ms: Callable[[], int],
    ) -> None:
        self._peers = peers
        self._windows = windows
        self._limits_of = limits_of
        self._hold = hold
        self._sent_since = sent_since
        self._now_ms = now_ms
        self._before_start: dict[PeerKey, list[int]] | None = None  # when each person was written to; None: not read
        self._reading = asyncio.Lock()
        self._people: OrderedDict[PeerKey, _Person] = OrderedDict()
        self._new: dict[str, _NewPeople] = {}
        self._written_to: OrderedDict[PeerKey, None] = OrderedDict()

    async def before(self, connection: Connection, peer: str, message_id: str) -> Wait | None:
        """Whether a message must wait; None: it counts as leaving now."""
        limits, now = self._limits_of(connection), self._now_ms()
        quiet = limits.quiet_hours.ends_at(now) if limits.quiet_hours else None
        if quiet is not None and not await self._answers(connection, peer, now):
            return Wait((quiet - now) / 1000, "quiet_hours")
        wait = await self._new_person(connection, peer, limits, now) if _is_person(peer) else None
        if limits.recipient_per_minute and self._before_start is None:
            await self._read_back(now)
        return wait or self._one_person(connection, peer, message_id, limits, now)

    def sent(self, tenant: str, connection_id: str, peer: str, at: int) -> list[Change]:
        """What to commit after a message that left."""
        key = (key_of(tenant, connection_id), window_key(peer))
        if key in self._written_to:
            return []
        _remember(self._written_to, key, None)
        return [self._peers.written_to(tenant, connection_id, key[1], at)]

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

    def _one_person(self, connection: Connection, peer: str, message_id: str, limits: Limits, now: int) -> Wait | None:
        if not limits.recipient_per_minute:
            return None
        key, step = (connection.key, window_key(peer)), 60_000 / limits.recipient_per_minute
        person = self._people.get(key) or self._met_before(key, step)
        _remember(self._people, key, person)
        due = person.reserved.get(message_id)
        if due is None:
            due = max(now, person.tat - step * ((limits.recipient_burst or 1) - 1))
            person.tat = max(person.tat, now) + step
        if due <= now:
            person.reserved.pop(message_id, None)
            return None
        person.reserved = {name: at for name, at in person.reserved.items() if at > now - DAY} | {message_id: due}
        return Wait((due - now) / 1000, "recipient_pace")

    def _met_before(self, key: PeerKey, step: float) -> _Person:
        """Somebody whom this daemon has not written to yet, with what is left of an earlier burst."""
        person = _Person()
        for at in (self._before_start or {}).pop(key, ()):
            person.tat = max(person.tat, at) + step
        return person

    async def _read_back(self, now: int) -> None:
        async with self._reading:
            if self._before_start is not None:
                return
            found: dict[PeerKey, list[int]] = {}
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
        if (not held and key in self._written_to) or await self._windows.get(*where) is not None:
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


def _is_person(peer: str) -> bool:
    return not peer.endswith(("@g.us", "@newsletter"))


def _quiet(begin: int, end: int, time_zone: str) -> dict[str, str]:
    return {
        "from": f"{begin // 60:02}:{begin % 60:02}",
        "to": f"{end // 60:02}:{end % 60:02}",
        "time_zone": time_zone,
    }


def _remember(memory: "OrderedDict[PeerKey, Any]", key: PeerKey, value: Any) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > MAX_PEERS:
        memory.popitem(last=False)
