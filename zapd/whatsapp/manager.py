"""The only owner of sessions: starts those that are wanted, gives them to senders, stops them all."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from zapd.errors import FieldError, InvalidInput, Unavailable
from zapd.model.session import Connection, SessionState, TransportName
from zapd.whatsapp.metrics import Calls
from zapd.whatsapp.session import OnRaw, OnState, OnUp, Session
from zapd.whatsapp.transport import StateChange, Transport

log = structlog.get_logger("zapd.sessions")

RETRY_AFTER = 1.0  #: seconds until the boot tries again after a start that failed

Key = tuple[str, str]  # tenant, connection id


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
    ) -> None:
        self._transports = transports
        self._wanted = wanted
        self._on_state = on_state
        self._on_raw = on_raw
        self._on_up = on_up
        self._random = random
        self._calls = calls or {}
        self._start_gap = start_gap
        self._sessions: dict[Key, Session] = {}
        self._to_start: dict[Key, Connection] = {}  # of the boot; a command for one of them takes it out
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Start what is wanted, then own it until `stop`."""
        self._to_start = {(c.tenant, c.id): c for c in await self._wanted() if (c.tenant, c.id) not in self._sessions}
        while self._to_start and not self._stopping.is_set():
            await self._start_wanted(next(iter(self._to_start.values())))
            await asyncio.sleep(self._start_gap * self._random())
        await self._stopping.wait()

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
        )

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
