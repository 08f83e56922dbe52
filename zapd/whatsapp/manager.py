"""The only owner of sessions: starts those that are wanted, gives them to senders, looks after them, stops them all."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from zapd.backoff import Backoff
from zapd.errors import FieldError, InvalidInput, Unavailable
from zapd.model.session import Connection, SessionState, TransportName
from zapd.whatsapp.advice import PASSKEY_TIMEOUT, QR_TIMEOUT
from zapd.whatsapp.metrics import Calls
from zapd.whatsapp.session import PAIR_WITHIN, RECONNECT, OnRaw, OnState, OnUp, Session
from zapd.whatsapp.transport import StateChange, Transport

log = structlog.get_logger("zapd.sessions")

RETRY_AFTER = 1.0  #: seconds until the boot tries again after a start that failed
LOOKS = 64  #: sessions that are asked at once whether they live
ASKED = "asked"  #: the reason of a pause or logout that a person asked for

Key = tuple[str, str]  # tenant, connection id

_MENDED_BY_A_PERSON = {SessionState.LOGGED_OUT, SessionState.BANNED, SessionState.PAUSED}


@dataclass(frozen=True, kw_only=True)
class Pulse:
    """When the wires are asked whether they live. Times in seconds."""

    quiet_after: float = 60.0  #: nothing came for so long
    timeout: float = 10.0
    by_transport: Mapping[TransportName, float] = field(default_factory=dict)  #: another `quiet_after`

    def of(self, transport: TransportName) -> float:
        """The `quiet_after` of a transport."""
        return self.by_transport.get(transport, self.quiet_after)


def comes_back(connection: Connection) -> bool:
    """Whether a new start of zapd connects it: what waits for a person goes on waiting.

    A pause that was asked for and a `desired` of connected: the daemon died while it was being resumed.
    """
    if connection.reason in (QR_TIMEOUT, PASSKEY_TIMEOUT):
        return False
    return connection.state not in _MENDED_BY_A_PERSON or (
        connection.state is SessionState.PAUSED and connection.reason == ASKED
    )


class SessionManager:
    """A Service. `wanted` lists the connections that should be up, of all tenants.

    Sessions start up to `start_gap` seconds apart, because a provider takes hundreds at once for an attack.
    """

    name = "sessions"

    def __init__(
        self,
        *,
        transports: Mapping[TransportName, Callable[[Connection], Transport]],
        wanted: Callable[[], Awaitable[Sequence[Connection]]],
        on_state: OnState,
        on_raw: OnRaw,
        on_up: OnUp,
        random: Callable[[], float],
        calls: Mapping[str, Calls] | None = None,
        start_gap: float = 0.02,
        reconnect: Backoff = RECONNECT,
        pair_within: float = PAIR_WITHIN,
        pulse: Pulse = Pulse(),
    ) -> None:
        self._transports = transports
        self._wanted = wanted
        self._on_state = on_state
        self._on_raw = on_raw
        self._on_up = on_up
        self._random = random
        self._calls = calls or {}
        self._start_gap = start_gap
        self._reconnect = reconnect
        self._pair_within = pair_within
        self._pulse = pulse
        self._looks = asyncio.Semaphore(LOOKS)
        self._sessions: dict[Key, Session] = {}
        self._to_start: dict[Key, Connection] = {}  # of the boot; a command for one of them takes it out
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Start what is wanted, then look after it until `stop`."""
        wanted = [connection for connection in await self._wanted() if comes_back(connection)]
        self._to_start = {(c.tenant, c.id): c for c in wanted if (c.tenant, c.id) not in self._sessions}
        looking = asyncio.create_task(self._look_after(), name="sessions:look")
        try:
            while self._to_start and not self._stopping.is_set():
                await self._start_wanted(next(iter(self._to_start.values())))
                await asyncio.sleep(self._start_gap * self._random())
            await self._stopping.wait()
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def stop(self) -> None:
        """Stop every session, all at once, and wait for them."""
        self._stopping.set()
        self._to_start.clear()
        sessions = list(self._sessions.values())
        self._sessions.clear()
        for result in await asyncio.gather(*(session.stop() for session in sessions), return_exceptions=True):
            if isinstance(result, BaseException):
                log.error("session.stop_failed", error=repr(result))

    async def start(self, connection: Connection) -> Session:
        """Connect; the session that is up already, or a new one. Returns when `starting` is stored.

        Raises InvalidInput when the transport is unknown or its settings are wrong, Unavailable while stopping.
        """
        if self._stopping.is_set():
            raise Unavailable("zapd is stopping")
        key = (connection.tenant, connection.id)
        self._to_start.pop(key, None)
        session = self._sessions.get(key)
        if session is None or session.finished:
            session = self._sessions[key] = self._build(connection)
        await session.start()
        return session

    async def close(self, tenant: str, connection_id: str) -> None:
        """Disconnect one session and forget it. Nothing happens if there is none."""
        self._to_start.pop((tenant, connection_id), None)
        session = self._sessions.pop((tenant, connection_id), None)
        if session is not None:
            await session.stop()

    def get(self, tenant: str, connection_id: str) -> Session | None:
        """The session, whatever its state."""
        return self._sessions.get((tenant, connection_id))

    async def pause(self, tenant: str, connection_id: str, reason: str = "paused") -> bool:
        """Refuse its sends. False: it is not here, and the store's record must be changed instead."""
        self._to_start.pop((tenant, connection_id), None)
        session = self.get(tenant, connection_id)
        if session is not None:
            await session.pause(reason)
        return session is not None

    async def resume(self, connection: Connection) -> Session:
        """Undo a pause; starts the session if it is not here. Raises as `start`."""
        session = self.get(connection.tenant, connection.id)
        if session is None or session.finished:
            return await self.start(connection)
        await session.resume()
        return session

    async def pair(self, connection: Connection, *, phone: str | None) -> None:
        """Start the pairing of a session that is not connected. Raises as `start` and `Session.pair`."""
        session = await self.start(connection)
        await session.pair(phone=phone)

    async def logout(self, connection: Connection, reason: str = ASKED) -> bool:
        """Unlink the account and forget its session. False: it is not here, and its record must be changed instead."""
        key = (connection.tenant, connection.id)
        self._to_start.pop(key, None)
        session = self._sessions.pop(key, None)
        if session is not None:
            await session.logout(reason)
        return session is not None

    def quiet(self) -> float:
        """For how many seconds the quietest connected session has given no sign of life. Called from any thread."""
        connected = [s.last_sign for s in list(self._sessions.values()) if s.state is SessionState.CONNECTED]
        return time.monotonic() - min(connected) if connected else 0.0

    def states(self) -> Counter[SessionState]:
        """How many sessions are in each state."""
        return Counter(session.state for session in self._sessions.values())

    def _build(self, connection: Connection) -> Session:
        make = self._transports.get(connection.transport)
        if make is None:
            raise InvalidInput(FieldError("transport", f"one of {', '.join(sorted(self._transports))}"))
        return Session(
            connection=connection,
            transport=make(connection),
            on_state=self._on_state,
            on_raw=self._on_raw,
            on_up=self._on_up,
            random=self._random,
            calls=self._calls.get(connection.transport),
            backoff=self._reconnect,
            pair_within=self._pair_within,
        )

    async def _look_after(self) -> None:
        """Ask the wires that have been quiet. One task for all: thousands of sessions are idle most of the day."""
        shortest = min([self._pulse.quiet_after, *self._pulse.by_transport.values()])
        while True:
            # Drawn at random, so that sessions which were started together are not asked together for ever.
            await asyncio.sleep(shortest * (0.2 + 0.1 * self._random()))
            now = time.monotonic()
            quiet = [
                session
                for session in self._sessions.values()
                if now - session.last_sign >= self._pulse.of(session.connection.transport)
            ]
            await asyncio.gather(*[self._look(session) for session in quiet], return_exceptions=True)

    async def _look(self, session: Session) -> None:
        async with self._looks:
            await session.look(timeout=self._pulse.timeout)

    async def _start_wanted(self, connection: Connection) -> None:
        try:
            await self.start(connection)
        except InvalidInput as error:  # its settings cannot work: the others start all the same
            log.warning("session.refused", connection_id=connection.id, fields=[f.field for f in error.fields])
            await self._on_state(connection, StateChange(state=SessionState.FAILED, reason="invalid_config"))
        except Exception:  # one of the loop's many: it comes again after the others
            log.exception("session.start_failed", connection_id=connection.id)
            key = (connection.tenant, connection.id)
            if key in self._sessions:  # else it was closed meanwhile
                self._to_start[key] = connection
            await asyncio.sleep(RETRY_AFTER)
