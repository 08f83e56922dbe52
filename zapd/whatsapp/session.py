"""One account: keeps its transport connected, follows the state table, and guards its sends.

The session owns one task, which lives as long as the account should be connected: start the transport, wait until it
reports an end, stop it; after a lost connection wait and go again. An end that only a person can mend (logged out,
banned, replaced, paused by the provider) ends the task; `reasons.py` says which those are.

The operator's pause is something else: the wire stays up, so that receipts and replies go on coming in, and only
sends are refused.

Whether the wire lives is not believed but seen: something came, or it answers a probe (`look`). A connection that does
neither is degraded (sends wait), and started anew when it fails once more.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from zapd.backoff import Backoff
from zapd.model.message import Message
from zapd.model.session import TRANSITIONS, Connection, SessionState
from zapd.whatsapp.credentials import CORRUPT, CorruptCredentials
from zapd.whatsapp.metrics import Calls
from zapd.whatsapp.pairing import PairingClock
from zapd.whatsapp.reasons import comes_back_at_once, judged
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
LOGOUT_WITHIN = 10.0  #: seconds for the provider to unlink; the account is logged out here all the same
PAIR_WITHIN = 300.0  #: seconds that codes are shown
BEGIN_WITHIN = 10.0  #: seconds for a transport's `start`

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
        pair_within: float = PAIR_WITHIN,
    ) -> None:
        self.connection = connection
        self.transport = transport
        self.state = connection.state
        self.reason = connection.reason
        self.last_sign = 0.0  #: when the wire last gave a sign of life (time.monotonic)
        self._on_state = on_state
        self._on_raw = on_raw
        self._on_up = on_up
        self._random = random
        self._calls = calls or Calls()
        self._backoff = backoff
        self._pairing = PairingClock(within=pair_within)
        self._task: asyncio.Task[None] | None = None
        self._wire = SessionState.CREATED  # what the transport last said of itself
        self._begun = asyncio.Event()  # the transport's `start` has returned
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

    async def pair(self, *, phone: str | None) -> None:
        """Ask for a code to scan or, with the phone's number, one to type there. Starts the session if it is not up.

        Raises a SendError; TimeoutError when the transport does not start.
        """
        async with self._commands:
            self._paused = False
            await self._start()
            async with asyncio.timeout(BEGIN_WITHIN):
                await self._begun.wait()
            if phone is not None:
                await self.transport.pair(phone=phone)

    async def logout(self, reason: str) -> None:
        """Unlink the account and stop. A provider that does not answer cannot keep it linked here."""
        async with self._commands:
            if self._open and not self.finished:
                try:
                    async with asyncio.timeout(LOGOUT_WITHIN):
                        await self.transport.logout()
                except Exception as error:  # whatever the wire did, the account must be logged out here
                    log.warning("session.not_unlinked", connection_id=self.connection.id, error=repr(error))
            await self._stop()
            self._paused = False
            await self._move(StateChange(state=SessionState.LOGGED_OUT, reason=reason))

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

    async def hear(self, told: StateChange | None) -> None:
        """What a webhook of the provider says of the line; None: only that there is life in it."""
        if told is None or self._end is None or self._end.done():
            self._signed()
        else:
            await self._heard(told)

    async def look(self, *, timeout: float) -> None:
        """Ask the wire whether it lives. No answer: degraded; none again: the connection is started anew."""
        end = self._end
        if not self._open or end is None or end.done() or self._wire not in (_C, _D):
            return
        try:
            async with asyncio.timeout(timeout):
                health = await self.transport.health()
            alive, why = health.alive, health.detail or "no_sign_of_life"
        except PauseSession as trouble:
            self._finish_one(end, StateChange(state=trouble.state, reason=trouble.code))
            return
        except Exception as error:  # whatever the wire did: no answer is no answer
            alive, why = False, "no_answer" if isinstance(error, TimeoutError) else type(error).__name__
        if alive:
            self._signed()
            if self._wire is _D:
                await self._heard(StateChange(state=_C, reason="alive_again"))
        elif self._wire is _C:
            await self._heard(StateChange(state=_D, reason=why))
        else:
            self._finish_one(end, StateChange(state=SessionState.RECONNECTING, reason="zombie"))

    async def _call(self, message: Message, enclosed: Enclosed) -> SendResult:
        started = time.perf_counter()
        try:
            result = await self.transport.send(message, enclosed)
        except Exception as error:
            self._calls.failed(error)
            raise
        else:
            self._signed()
            return result
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
        self._begun.clear()
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
        self._pairing.stop()
        await self.transport.stop()

    async def _run(self) -> None:
        failures = 0
        while True:
            began = asyncio.get_running_loop().time()
            end = judged(await self._connected_once())
            await self._tell(end)
            if end.state is not SessionState.RECONNECTING:
                return
            self._calls.reconnects += 1
            lasted = asyncio.get_running_loop().time() - began
            failures = 1 if lasted > STABLE_AFTER else failures + 1
            if failures > 1 or not comes_back_at_once(end):
                # Full jitter: after an outage hundreds of sessions must not come back in step.
                await asyncio.sleep(self._random() * self._backoff.delay(failures, random=self._random))

    async def _connected_once(self) -> StateChange:
        self._end = asyncio.get_running_loop().create_future()
        self._wire = SessionState.STARTING
        try:
            await self.transport.start(on_state=self._heard, on_raw=self._raw)
            self._begun.set()
            end = await self._end
            self._pairing.stop()
            await self.transport.stop()
            return end
        except CorruptCredentials as error:
            log.error("session.corrupt_credentials", connection_id=self.connection.id, error=str(error))
            return StateChange(state=SessionState.FAILED, reason=CORRUPT)
        except Exception as error:  # the loop of an account: whatever its transport does, it costs nobody else
            log.exception("session.crashed", connection_id=self.connection.id)
            return StateChange(state=SessionState.RECONNECTING, reason=type(error).__name__)

    async def _heard(self, told: StateChange | QrCode) -> None:
        self._signed()
        if isinstance(told, QrCode):
            await self._on_state(self.connection, told)
        elif told.state in _UP:
            self._wire = told.state
            self._pairing.follow(told.state, give_up=self._gave_up)
            await self._tell(told)
        else:
            self._wire = told.state
            self._finish(told)

    async def _raw(self, raw: bytes) -> None:
        self._signed()
        await self._on_raw(self.connection, raw)

    def _signed(self) -> None:
        self.last_sign = time.monotonic()

    def _gave_up(self, reason: str) -> None:
        self._finish(StateChange(state=SessionState.FAILED, reason=reason))

    def _finish(self, end: StateChange) -> None:
        if self._end is not None:
            self._finish_one(self._end, end)

    @staticmethod
    def _finish_one(future: asyncio.Future[StateChange], end: StateChange) -> None:
        if not future.done():
            future.set_result(end)

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


_C, _D = SessionState.CONNECTED, SessionState.DEGRADED
