"""How WhatsApp spells a number: Brazil's ninth digit, looked up once and kept (wire facts §3.2).

A message to the wrong spelling goes into a void with a success reply. Transports that can look numbers up are asked
with both spellings; the others tell the right one in the answer to a send. Lookups are few a minute: many at once get
an account banned.
"""

import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import structlog

from zapd.messaging.turns import Wait
from zapd.model.contact import candidates
from zapd.model.session import Connection
from zapd.store.contacts import Number, PeerStore
from zapd.whatsapp.transport import LOOKUP, NotConnected, Permanent, Resolved, SendError

log = structlog.get_logger("zapd.messaging")

KEPT_FOR = 7 * 86_400_000  #: ms
MAX_REMEMBERED = 20_000


class Lookup(Protocol):
    """What is asked of the sessions."""

    def capabilities(self, connection: Connection) -> frozenset[str]: ...
    async def resolve(self, connection: Connection, numbers: Sequence[str]) -> Resolved | None: ...


class Spelling:
    """`per_minute` gives a connection's limit of lookups; 0 or None: none."""

    def __init__(
        self,
        *,
        accounts: Lookup,
        peers: PeerStore,
        commit: Callable[..., Awaitable[object]],
        per_minute: Callable[[Connection], int | None],
        now_ms: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._accounts = accounts
        self._peers = peers
        self._commit = commit
        self._per_minute = per_minute
        self._now_ms = now_ms
        self._clock = clock
        self._known: dict[str, dict[str, tuple[int, str]]] = defaultdict(dict)  # connection's key → peer → when, where
        self._remembered = 0
        self._next: dict[str, float] = {}  # connection's key → when its next lookup may be

    async def of(self, connection: Connection, peer: str) -> str | Wait:
        """Where to send to. Raises Permanent when the number is not on WhatsApp."""
        spellings = candidates(peer)
        if len(spellings) < 2 or LOOKUP not in self._accounts.capabilities(connection):
            return peer
        mine, now = self._known[connection.key], self._now_ms()
        known = mine.get(peer)
        if known is not None and now - known[0] < KEPT_FOR:
            return known[1]
        kept = await self._peers.number(connection.tenant, connection.id, peer)
        if kept is None or now - kept.resolved_at > KEPT_FOR:
            wait = self._turn(connection)
            if wait is not None:
                return wait
            try:
                kept = await self._asked(connection, peer, spellings)
            except NotConnected:
                return Wait(1.0, "not_connected")
            except SendError as error:  # the message is worth more than its spelling
                log.warning("number.not_resolved", connection_id=connection.id, code=error.code)
                return peer
        if kept.peer is None:
            raise Permanent("not_on_whatsapp", "no spelling of this number is on WhatsApp")
        if self._remembered >= MAX_REMEMBERED:
            self._known.clear()
            self._remembered = 0
        self._known[connection.key][peer] = (kept.resolved_at, kept.peer)
        self._remembered += known is None
        return kept.peer

    def forget(self, connection: Connection) -> None:
        """The connection is closed."""
        self._remembered -= len(self._known.pop(connection.key, ()))
        self._next.pop(connection.key, None)

    async def _asked(self, connection: Connection, peer: str, spellings: Sequence[str]) -> Number:
        resolved = await self._accounts.resolve(connection, spellings)
        number = Number(
            tenant=connection.tenant,
            connection_id=connection.id,
            number=peer,
            peer=resolved.peer if resolved is not None else None,
            resolved_at=self._now_ms(),
        )
        await self._commit(self._peers.resolved(number))
        return number

    def _turn(self, connection: Connection) -> Wait | None:
        per_minute = self._per_minute(connection)
        if not per_minute:
            return None
        now = self._clock()
        due = self._next.get(connection.key, now)
        if due > now:
            return Wait(due - now, "lookup_pace")
        self._next[connection.key] = now + 60.0 / per_minute
        return None
