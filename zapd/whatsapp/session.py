"""One account: keeps its transport connected, follows the state table, and guards its sends.

The session owns one task, which lives as long as the account should be connected: start the transport, wait until it
reports an end, stop it; after a lost connection wait and go again. An end that only a person can mend (logged out,
banned, paused by the provider) ends the task.

The operator's pause is something else: the wire stays up, so that receipts and replies go on coming in, and only
sends are refused.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from zapd.backoff import Backoff
from zapd.model.message import Message
from zapd.model.session import TRANSITIONS, Connection, SessionState
from zapd.whatsapp.metrics import Calls
from zapd.whatsapp.transport import (
    NOTHING,
    Enclosed,
    NotConnected,
    PauseSession,
    QrCode,
    SendResult,
    StateChange,
    Transport,
)

log = structlog.get_logger("zapd.session")

RECONNECT = Backoff(base=1.0, factor=2.0, cap=60.0, jitter=0.0)  #: its full jitter is applied here
STABLE_AFTER = 30.0  #: seconds; a connection that lasted this long starts the backoff anew
SEND_GRACE = 5.0  #: seconds that `stop` waits for sends that are on the wire

_UP = {
    SessionState.STARTING,
    SessionState.QR_PENDING,
    SessionState.PASSKEY_REQUIRED,
    SessionState.CONNECTED,
    SessionState.DEGRADED,
}

OnState = Callable[[Connection, StateChange | QrCode], Awaitable[None]]
OnRaw = Callable[[Connection, bytes], Awaitable[None]]
OnUp = Callable[[Connection], Awaitable[None]]


class Session:
    """One WhatsApp account. `state` changes only after `on_state` has stored the change.

    `on_up` is told of a `connected` after sends are possible: what it wakes must not find the old state.
    """

    def __init__(
        self,
        *,
        connection: Connection,
        transport: Transport,
        on_state: OnState,
        on_raw: OnRaw,
        on_up: OnUp,
        random: Callable[[], float],
        calls: Calls | None = None,
        backoff: Backoff = RECONNECT,
    ) -> None:
        self.connection = connection
        self.transport = transport
        self.state = connection.state
        self.reason = connection.reason
        self._on_state = on_state
        self._on_raw = on_raw
        self._on_up = on_up
        self._random = random
        self._calls = calls or Calls()
        self._backoff = backoff
        self._task: asyncio.Task[None] | None = None
        self._wire = SessionState.CREATED  # what the transport last said of itself
        self._end: asyncio.Future[StateChange] | None = None
        self._paused = False
        self._open = False  # between start and stop
        self._commands = asyncio.Lock()  # start, stop, pause and resume go one after another
        self._changes = asyncio.Lock()  # so do the state's changes
        self._sending = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

    @property
    def finished(self) -> bool:
        """Whether its task ended by itself: only a person, by `start` or `resume`, brings it back."""
        return self._task is not None and self._task.done()

    async def start(self) -> None:
        """Connect. Returns when `starting` is stored; the rest is told by `on_state`. Nothing happens if it is up."""
        async with self._commands:
            await self._start()

    async def stop(self) -> None:
        """Disconnect once sends on the wire have their answer. Tells no state: the next start needs the stored one."""
        async with self._commands:
            await self._stop()

    async def pause(self, reason: str = "paused") -> None:
        """Refuse sends; what comes in goes on coming."""
        async with self._commands:
            before, self._paused = self._paused, True
            try:
                await self._move(StateChange(state=SessionState.PAUSED, reason=reason))
            except BaseException:
                self._paused = before
                raise

    async def resume(self) -> None:
        """Undo a pause, the operator's or the provider's. Connects again unless the wire is up."""
        async with self._commands:
            if not self._paused and not self.finished and self.state is not SessionState.PAUSED:
                return
            self._paused = False
            if self._task is not None and not self.finished and self._wire is SessionState.CONNECTED:
                await self._move(StateChange(state=SessionState.CONNECTED, reason="resumed"))
            else:
                await self._stop()
                await self._start()

    async def send(self, message: Message, enclosed: Enclosed = NOTHING) -> SendResult:
        """Send one message. Raises a SendError; NotConnected means that nothing left."""
        if not self._may_send():
            raise NotConnected(SessionState.PAUSED if self._paused else self.state)
        self._sending += 1
        self._quiet.clear()
        try:
            return await self._call(message, enclosed)
        except PauseSession as trouble:
            self._finish(StateChange(state=trouble.state, reason=trouble.code))
            raise
        finally:
            self._sending -= 1
            if not self._sending:
                self._quiet.set()

    async def _call(self, message: Message, enclosed: Enclosed) -> SendResult:
        started = time.perf_counter()
        try:
            return await self.transport.send(message, enclosed)
        except Exception as error:
            self._calls.failed(error)
            raise
        finally:
            self._calls.seconds.observe(time.perf_counter() - started)

    def _may_send(self) -> bool:
        up = self._open and self._end is not None and not self._end.done()
        return up and not self._paused and self.state is SessionState.CONNECTED

    async def _start(self) -> None:
        if self._task is not None and not self._task.done():
            return
        await self._move(StateChange(state=SessionState.STARTING))
        self._open = True
        self._task = asyncio.create_task(self._run(), name=f"session:{self.connection.id}")

    async def _stop(self) -> None:
        self._open = False  # from here on sends are refused
        try:
            async with asyncio.timeout(SEND_GRACE):
                await self._quiet.wait()
        except TimeoutError:
            log.warning("session.stopped_while_sending", connection_id=self.connection.id, sends=self._sending)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        await self.transport.stop()

    async def _run(self) -> None:
        failures = 0
        while True:
            began = asyncio.get_running_loop().time()
            end = await self._connected_once()
            await self._tell(end)
            if end.state is not SessionState.RECONNECTING:
                return
            lasted = asyncio.get_running_loop().time() - began
            failures = 1 if lasted > STABLE_AFTER else failures + 1
            # Full jitter: after an outage hundreds of sessions must not come back in step.
            await asyncio.sleep(self._random() * self._backoff.delay(failures, random=self._random))

    async def _connected_once(self) -> StateChange:
        self._end = asyncio.get_running_loop().create_future()
        self._wire = SessionState.STARTING
        try:
            await self.transport.start(on_state=self._heard, on_raw=self._raw)
            end = await self._end
            await self.transport.stop()
            return end
        except Exception as error:  # the loop of an account: whatever its transport does, it costs nobody else
            log.exception("session.crashed", connection_id=self.connection.id)
            return StateChange(state=SessionState.RECONNECTING, reason=type(error).__name__)

    async def _heard(self, told: StateChange | QrCode) -> None:
        if isinstance(told, QrCode):
            await self._on_state(self.connection, told)
        elif told.state in _UP:
            self._wire = told.state
            await self._tell(told)
        else:
            self._wire = told.state
            self._finish(told)

    async def _raw(self, raw: bytes) -> None:
        await self._on_raw(self.connection, raw)

    def _finish(self, end: StateChange) -> None:
        if self._end is not None and not self._end.done():
            self._end.set_result(end)

    async def _tell(self, change: StateChange) -> None:
        """Store what the wire said, however long the store is away: a state that lies is worse than a late one."""
        failures = 0
        while True:
            try:
                await self._move(change)
                return
            except Exception as error:  # the loop of an account, as above
                name = type(error).__name__
                log.warning("session.not_stored", connection_id=self.connection.id, state=change.state, error=name)
            failures += 1
            await asyncio.sleep(self._backoff.delay(failures, random=self._random))

    async def _move(self, change: StateChange) -> None:
        async with self._changes:
            if self._paused and change.state is not SessionState.PAUSED:
                return
            if change.state not in TRANSITIONS[self.state]:
                # Repeats land here too: a flapping line is one change, not a storm of events.
                log.debug("session.change_ignored", connection_id=self.connection.id, state=change.state)
                return
            await self._on_state(self.connection, change)
            log.info("session.changed", connection_id=self.connection.id, state=change.state, reason=change.reason)
            self.state, self.reason = change.state, change.reason
        if change.state is SessionState.CONNECTED:
            await self._on_up(self.connection)
