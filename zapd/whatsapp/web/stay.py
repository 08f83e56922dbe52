"""One stay of an account in a worker: what the worker tells, and what follows from it.

While it is being paired an account has a worker of its own, which shows codes; linked, it shares one. Either ends the
stay by a state, or the account goes on in another worker (`AGAIN`).
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import orjson
import structlog

from zapd.model.session import SessionState
from zapd.whatsapp.credentials import CORRUPT, Credentials
from zapd.whatsapp.transport import OnRaw, OnState, QrCode, StateChange
from zapd.whatsapp.web import errors, inbound
from zapd.whatsapp.web.frames import Frame
from zapd.whatsapp.web.line import Line
from zapd.whatsapp.web.outgoing import Me
from zapd.whatsapp.web.pool import Lease
from zapd.whatsapp.web.process import CallFailed, WorkerGone
from zapd.whatsapp.web.sends import Sends

log = structlog.get_logger("zapd.web")

S = SessionState
FIRST_CODE, NEXT_CODES, ALL_CODES = 60.0, 20.0, 160.0  #: seconds that the library shows a code, and all of them
CONNECT_WITHIN = 60.0  #: seconds until a line is up, or a code is there
OPEN_WITHIN = 60.0  #: seconds; making the database takes some on a busy disk
CLOSE_WITHIN = 25.0
SETTLE = 5.0  #: seconds that a new device has for its first exchange before it moves
LOGIN_WITHIN = 10.0  #: seconds from the pairing to the first login
BACK_WITHIN = 20.0  #: seconds in which the library mends a broken line by itself
QUIET_WITHIN = 30.0  #: seconds that sends have to end before an account moves all the same
COMMIT_AGAIN = 0.5  #: seconds between tries to commit what came in while SQL is away
TOGETHER = 64  #: receipts that go up as one


class Again:
    """The account goes on in another worker."""


AGAIN = Again()
Outcome = StateChange | Again | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Deadline:
    """What follows when nothing came until then (by the loop's clock)."""

    at: float
    then: StateChange | Again


@dataclass(frozen=True, kw_only=True, slots=True)
class Paces:
    """How long what may take. In seconds."""

    settle: float = SETTLE
    all_codes: float = ALL_CODES
    back_within: float = BACK_WITHIN
    connect_within: float = CONNECT_WITHIN


PACES = Paces()


class Stay:
    """From the account's arrival in a worker until it leaves. `phone`: a code to type there is asked for."""

    def __init__(
        self,
        *,
        lease: Lease,
        line: Line,
        sends: Sends,
        directory: str,
        phone: str | None,
        credentials: Credentials,
        on_state: OnState,
        on_raw: OnRaw,
        now_ms: Callable[[], int],
        paces: Paces,
    ) -> None:
        self._lease = lease
        self._line = line
        self._sends = sends
        self._directory = directory
        self._phone = phone
        self._credentials = credentials
        self._on_state = on_state
        self._on_raw = on_raw
        self._now_ms = now_ms
        self._paces = paces
        self._events: asyncio.Queue[Frame] = asyncio.Queue()
        self._deadline: Deadline | None = None
        self._codes = 0
        lease.listen(self._events.put_nowait)

    async def run(self) -> StateChange | Again:
        """Until something ends it. `leave` follows."""
        return await self._open() or await self._hear()

    def alive_again(self) -> None:
        """The line works, and the library did not tell that it mended it."""
        self._deadline, self._line.up = None, True

    async def _open(self) -> StateChange | None:
        try:
            await self._lease.worker.call(
                "open", self._line.sid, within=OPEN_WITHIN, directory=self._directory, phone=self._phone
            )
        except CallFailed as failed:
            return self._closed(str(failed))
        except WorkerGone:
            return StateChange(state=S.RECONNECTING, reason="worker_died")
        except TimeoutError:
            self._lease.worker.kill("hung")
            return StateChange(state=S.RECONNECTING, reason="worker_hung")
        # The library goes on trying in silence where WhatsApp says that it is not available.
        self._deadline = self._after(self._paces.connect_within, StateChange(state=S.RECONNECTING, reason="408"))
        return None

    async def leave(self) -> None:
        """Give the place back. What cannot be closed is ended with its worker: it must not go on in secret."""
        if not self._lease.worker.pairing and not self._lease.worker.gone.done():
            try:
                await self._lease.worker.call("close", self._line.sid, within=CLOSE_WITHIN)
            except (CallFailed, TimeoutError):
                self._lease.worker.kill("hung")
            except WorkerGone:
                log.debug("web.worker_gone", connection_id=self._line.sid)
        self._lease.release()
        if self._lease.worker.pairing:  # its files are free when the process is gone
            await asyncio.shield(self._lease.worker.gone)

    async def _hear(self) -> StateChange | Again:
        waiting: Frame | None = None
        while True:
            event, waiting = waiting or await self._next(), None
            if event is None:
                assert self._deadline is not None
                return self._deadline.then
            if event["ev"] in ("update", "sent"):
                waiting = await self._commit(event)
                continue
            outcome = await self._take(event)
            if outcome is not None:
                return outcome

    async def _next(self) -> Frame | None:
        """The next event; None: the deadline is there."""
        try:
            async with asyncio.timeout_at(self._deadline.at if self._deadline else None):
                return await self._events.get()
        except TimeoutError:
            return None

    async def _commit(self, event: Frame) -> Frame | None:
        """Hand up what came in, and let the worker forget it. Receipts that came together go up as one.

        Returns an event that was taken out of the queue and is none of these.
        """
        updates, last, other = [event["update"]], event.get("n"), None
        while updates[0]["kind"] == "receipt" and len(updates) < TOGETHER and not self._events.empty():
            other = self._events.get_nowait()
            if other["ev"] != "update" or other["update"]["kind"] != "receipt":
                break
            updates.append(other["update"])
            last, other = other["n"], None
        for update in updates:
            if update["kind"] == "receipt":
                update["message_ids"] = await self._sends.ours(update["ids"])
        raw = inbound.body(updates, me=self._line.me)
        while not self._lease.worker.gone.done():  # it is in the worker's file, and comes again
            try:
                await self._on_raw(raw)
            except Exception as error:  # it is not lost as long as it is not forgotten
                log.warning("web.not_committed", connection_id=self._line.sid, error=type(error).__name__)
                await asyncio.sleep(COMMIT_AGAIN)
            else:
                if last is not None:
                    self._lease.worker.tell({"op": "committed", "sid": self._line.sid, "number": last})
                break
        return other

    # --- what a worker tells ---

    async def _take(self, event: Frame) -> Outcome:
        """What follows from an event: the end of this stay, or nothing."""
        if event["ev"] == "again":
            return AGAIN
        if self._lease.worker.pairing:
            outcome = await self._take_while_pairing(event)
        else:
            outcome = await self._take_while_linked(event)
        return outcome or errors.of_end(event)

    async def _take_while_pairing(self, event: Frame) -> Outcome:
        match event["ev"]:
            case "qr" | "code":
                await self._show(event)
            case "code_refused":
                log.warning("web.code_refused", connection_id=self._line.sid)
            case "passkey":
                await self._on_state(StateChange(state=S.PASSKEY_REQUIRED, reason="passkey"))
            case "paired":
                await self._was_paired(event)
            case "connected":
                self._deadline = self._after(self._paces.settle, AGAIN)
            case "closed":
                return self._closed(event["error"])
            case "pairing_failed":
                return StateChange(state=S.RECONNECTING, reason="pairing_failed")
        return None

    async def _take_while_linked(self, event: Frame) -> Outcome:
        match event["ev"]:
            case "connected":
                self._line.me = Me(jid=event["jid"], lid=event["lid"])
                await self._mended()
            case "disconnected" if self._line.up:
                await self._broken("disconnected")
                self._deadline = self._after(self._paces.back_within, StateChange(state=S.RECONNECTING, reason="428"))
            case "silent" if self._line.up:
                await self._broken("no_answer")
            case "restored":
                await self._mended()
            case "unread":
                log.error(
                    "web.unread", connection_id=self._line.sid, kind=event["event"], error=errors.short(event["error"])
                )
            case "move":
                return await self._away()
            case "closed":
                return self._closed(event["error"])
            case "qr" | "code":
                return StateChange(state=S.LOGGED_OUT, reason="401")  # its database has no keys any more
        return None

    async def _show(self, event: Frame) -> None:
        """A code to scan or to type. The library stops showing them without a word, so the clock is ours."""
        typed = event["ev"] == "code"
        if self._codes == 0:
            await self._on_state(StateChange(state=S.QR_PENDING))
            self._deadline = self._after(self._paces.all_codes, AGAIN)
        lasts = self._paces.all_codes if typed else FIRST_CODE if self._codes == 0 else NEXT_CODES
        self._codes += 1
        expires_at = self._now_ms() + round(lasts * 1000)
        await self._on_state(QrCode(text=event["code"], expires_at=expires_at, typed=typed))

    async def _was_paired(self, event: Frame) -> None:
        await self._credentials.save(orjson.dumps({"network": "web", "jid": event["jid"]}))
        # The line ends now (515) and the library logs in by itself; when the close overtook the code, it does not.
        self._deadline = self._after(LOGIN_WITHIN, AGAIN)
        await self._on_state(StateChange(state=S.STARTING, reason="paired"))

    async def _broken(self, why: str) -> None:
        self._line.up = False
        await self._on_state(StateChange(state=S.DEGRADED, reason=why))

    async def _mended(self) -> None:
        self._deadline = None
        self._line.up = True
        await self._on_state(StateChange(state=S.CONNECTED))

    async def _away(self) -> Again:
        """Leave a worker that must end, when what is on the line has its answer."""
        await self._broken("moving")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(QUIET_WITHIN):
                while self._sends.under_way:
                    await asyncio.sleep(0.05)
        return AGAIN

    def _closed(self, words: str) -> StateChange:
        """The library gave up."""
        if errors.is_corrupt(words):
            log.error("web.corrupt_store", connection_id=self._line.sid)
            return StateChange(state=S.FAILED, reason=CORRUPT)
        log.info("web.closed", connection_id=self._line.sid, error=errors.short(words))
        return StateChange(state=S.RECONNECTING, reason="unreachable")

    @staticmethod
    def _after(seconds: float, then: StateChange | Again) -> Deadline:
        return Deadline(at=asyncio.get_running_loop().time() + seconds, then=then)
