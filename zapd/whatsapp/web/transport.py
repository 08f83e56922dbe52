"""The transport of WhatsApp Web: one linked account, in whichever worker it is.

A new pairing has a worker of its own, because the library can only be stopped by force while it shows codes. When the
phone has accepted, the account moves to a worker that it shares. From above that is one start.

The library gives a message's id only with its answer. When the answer is lost, the id is found in the library's own
database (see `files.py`), so that later receipts still find their message; or it is not there, and nothing left.
"""

import asyncio
import contextlib
import sqlite3
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import structlog

from zapd.ids import Ids
from zapd.model.message import Message
from zapd.model.session import Connection, SessionState
from zapd.whatsapp.credentials import CORRUPT, Credentials
from zapd.whatsapp.life import Life
from zapd.whatsapp.transport import (
    NOTHING,
    Enclosed,
    Health,
    NotConnected,
    OnRaw,
    OnState,
    QrCode,
    RemoteMedia,
    Resolved,
    RetryAt,
    SendResult,
    StateChange,
    Target,
    Trace,
    UnknownOutcome,
    Update,
)
from zapd.whatsapp.web import errors, inbound
from zapd.whatsapp.web.files import AccountFiles
from zapd.whatsapp.web.frames import Frame
from zapd.whatsapp.web.outgoing import CAPABILITIES, Me, Outgoing, address, author, outgoing, stanza
from zapd.whatsapp.web.pool import Crashes, Lease, WorkerPool
from zapd.whatsapp.web.process import UNABLE, CallFailed, WorkerGone
from zapd.whatsapp.web.settings import WebConfig

log = structlog.get_logger("zapd.web")

S = SessionState
FIRST_CODE, NEXT_CODES, ALL_CODES = 60.0, 20.0, 160.0  #: seconds that the library shows a code, and all of them
KEYS_GONE = "406"  #: WhatsApp's number for a ban with which the library deletes the keys
CONNECT_WITHIN = 60.0  #: seconds until a line is up, or a code is there
OPEN_WITHIN = 60.0  #: seconds; making the database takes some on a busy disk
CLOSE_WITHIN = 25.0
SEND_WITHIN = 45.0  #: seconds, below the timeout of the queue
ANSWERED_AT_ALL = 300.0  #: seconds in which a worker answers a send in some way, as its library does
UPLOAD_WITHIN = 40.0
ASK_WITHIN = 20.0
SETTLE = 5.0  #: seconds that a new device has for its first exchange before it moves
LOGIN_WITHIN = 10.0  #: seconds from the pairing to the first login
BACK_WITHIN = 20.0  #: seconds in which the library mends a broken line by itself
QUIET_WITHIN = 30.0  #: seconds that sends have to end before an account moves all the same
COMMIT_AGAIN = 0.5  #: seconds between tries to commit what came in while SQL is away
TOGETHER = 64  #: receipts that go up as one
REMEMBERED = 2_000  #: ids of messages that were sent, to name them in receipts
KEPT_UPLOADS, UPLOAD_LASTS = 32, 3_600.0  #: files that are sent again and again are uploaded once in a while


class _KeysMissing(Exception):
    """The account was linked, and its database is not here."""


class _Again:
    """The account goes on in another worker."""


AGAIN = _Again()
Outcome = StateChange | _Again | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Deadline:
    """What follows when nothing came until then (by the loop's clock)."""

    at: float
    then: StateChange | _Again


@dataclass(frozen=True, kw_only=True, slots=True)
class _Call:
    """A send that the worker has."""

    task: "asyncio.Task[Frame]"
    message: Message


class WebTransport:
    """One account. Times in seconds."""

    capabilities = CAPABILITIES

    def __init__(
        self,
        *,
        connection: Connection,
        pool: WorkerPool,
        files: AccountFiles,
        credentials: Credentials,
        ids: Ids,
        now_ms: Callable[[], int],
        settle: float = SETTLE,
        all_codes: float = ALL_CODES,
        send_within: float = SEND_WITHIN,
        back_within: float = BACK_WITHIN,
        connect_within: float = CONNECT_WITHIN,
    ) -> None:
        self._sid = connection.key
        self._pool = pool
        self._files = files
        self._credentials = credentials
        self._ids = ids
        self._now_ms = now_ms
        self._settle = settle
        self._all_codes = all_codes
        self._send_within = send_within
        self._back_within = back_within
        self._connect_within = connect_within
        self._phone = WebConfig.read(connection.config).phone
        self._life = Life(name=f"web:{connection.id}")
        self._lease: Lease | None = None
        self._up = False
        self._me = Me()
        self._codes = 0
        self._unlinked = False  # what is left of the keys is of no use
        self._sending = 0
        self._on_the_line: dict[bytes, _Call] = {}  # by secret: until the worker answers or is gone
        self._deadline: _Deadline | None = None
        self._sent: OrderedDict[str, str] = OrderedDict()  # provider id → our id
        self._uploads: OrderedDict[tuple[str, str], tuple[float, Frame]] = OrderedDict()

    # --- its life ---

    async def start(self, *, on_state: OnState, on_raw: OnRaw) -> None:
        """Connect, after pairing where that is due."""
        self._life.begin(lambda: self._live(on_state, on_raw), on_state=on_state)

    async def stop(self) -> None:
        """Disconnect; a pairing that is not finished is given up."""
        self._up = False
        await self._life.end()
        calls = [call.task for call in self._on_the_line.values()]
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    async def pair(self, *, phone: str | None = None) -> None:
        """Begin the pairing anew: a code to scan, or with `phone` one to type there. A linked account is unlinked."""
        self._phone = phone
        lease = self._lease
        if lease is None:
            return
        if not lease.worker.pairing:
            await self._ask("logout", within=ASK_WITHIN)
            self._unlinked = True
        lease.worker.hear(self._sid, "again")

    async def logout(self) -> None:
        """Unlink the device at WhatsApp, and take its keys out of use. `stop` follows."""
        lease = self._lease
        try:
            if lease is not None and self._up:
                self._up = False
                await self._ask("logout", within=ASK_WITHIN)
        finally:
            await self._life.end()
            await asyncio.to_thread(self._files.set_aside, "logged_out", at=self._now_ms())

    async def health(self) -> Health:
        """Whether the library answers, and says that its line is up. It asks WhatsApp every half minute."""
        told = await self._ask("alive", within=ASK_WITHIN)
        alive = bool(told["connected"] and told["logged_in"])
        if alive and not self._up:  # the library did not tell that it mended the line
            self._deadline, self._up = None, True
        return Health(alive=alive, last_frame_at=told["heard_at"] or None, detail=None if alive else "line_down")

    # --- what goes out ---

    async def send(self, message: Message, enclosed: Enclosed = NOTHING) -> SendResult:
        """Send one message. Raises a SendError."""
        lease = self._lease
        if not self._up or lease is None:
            raise NotConnected("stopped")
        out = outgoing(message, enclosed, me=self._me, now_ms=self._now_ms())
        self._sending += 1
        try:
            await self._upload(out)
            secret = await asyncio.to_thread(self._files.secret, message)
            answer = await self._transmit(lease, out, secret, message)
        except UnknownOutcome as doubt:
            self._remember(doubt.provider_id, message)
            raise
        finally:
            self._sending -= 1
        self._remember(answer["id"], message)
        return SendResult(provider_id=answer["id"], accepted_at=answer["at"] or self._now_ms())

    async def trace(self, message: Message) -> Trace:
        """What became of a send whose answer never came, by whichever daemon it was.

        Raises NotConnected while another process may still be sending it: an account that is up here is not elsewhere.
        """
        if not self._up:
            raise NotConnected("stopped")
        secret = await asyncio.to_thread(self._files.secret, message)
        if secret in self._on_the_line:
            raise UnknownOutcome("still_sending")
        try:
            provider_id = await asyncio.to_thread(self._files.provider_id, secret)
        except (OSError, sqlite3.Error) as error:
            raise UnknownOutcome("not_traced", type(error).__name__) from error
        self._remember(provider_id, message)
        return Trace(provider_id=provider_id)

    async def mark_read(self, target: Target) -> None:
        """Tell the sender that a message was read."""
        chat = address(target.peer)
        await self._ask(
            "read", within=ASK_WITHIN, id=stanza(target.provider_id), chat=chat, sender=author(target, self._me)
        )

    async def typing(self, peer: str, *, last: Target | None) -> None:  # noqa: ARG002 - the chat suffices
        """Show that somebody types. The phone hides it again after some seconds."""
        await self._ask("typing", within=ASK_WITHIN, chat=address(peer), on=True)

    async def resolve_number(self, candidates: Sequence[str]) -> Resolved | None:
        """The first of these numbers that is on WhatsApp."""
        found = await self._ask("resolve", within=ASK_WITHIN, numbers=list(candidates))
        ids = found.get("ids")
        return Resolved(peer=inbound.peer_of(*ids), aliases=inbound.aliases_of(*ids)) if ids else None

    async def download(self, media: RemoteMedia) -> AsyncIterator[bytes]:
        """The content of a file. It passes through a file of ours, not through the worker's socket."""
        path = self._pool.directory.absolute() / f"{self._ids.new('dl')}.part"
        try:
            content = orjson.loads(media.reference)
            await self._ask("download", within=UPLOAD_WITHIN, content=content, path=str(path))
            with path.open("rb") as file:
                while piece := await asyncio.to_thread(file.read, 256 * 1024):
                    yield piece
        finally:
            path.unlink(missing_ok=True)

    def parse(self, raw: bytes) -> Sequence[Update]:
        """The updates in a worker's bytes. Raises ValueError."""
        return inbound.parse(raw)

    # --- asking the worker ---

    async def _ask(self, operation: str, *, within: float, **fields: Any) -> Frame:
        """A call that is safe to repeat. Raises a SendError."""
        lease = self._lease
        if lease is None or lease.worker.pairing or not (self._up or operation in ("alive", "logout")):
            raise NotConnected("stopped")
        try:
            return await lease.worker.call(operation, self._sid, within=within, **fields)
        except CallFailed as failed:
            raise errors.of_call(str(failed)) from failed
        except WorkerGone as gone:
            raise NotConnected("worker_died") from gone
        except TimeoutError as late:
            raise RetryAt("no_answer", operation) from late

    async def _upload(self, out: Outgoing) -> None:
        """Put the file on WhatsApp's servers and say in the message where it is. Nothing has left if this fails."""
        if out.file is None or out.part is None:
            return
        key, now = (out.file.sha256, out.part), asyncio.get_running_loop().time()
        kept = self._uploads.get(key)
        if kept is None or now - kept[0] > UPLOAD_LASTS:
            path = str(Path(out.file.path).absolute())
            kept = (now, await self._ask("upload", within=UPLOAD_WITHIN, part=out.part, path=path))
            self._uploads[key] = kept
            while len(self._uploads) > KEPT_UPLOADS:
                self._uploads.popitem(last=False)
        out.content[out.part] |= kept[1]

    async def _transmit(self, lease: Lease, out: Outgoing, secret: bytes, message: Message) -> Frame:
        request = {"to": out.to, "content": out.content, "secret": secret.hex()}
        call = asyncio.create_task(
            lease.worker.call("send", self._sid, within=ANSWERED_AT_ALL, **request), name=f"web:{self._sid}:send"
        )
        self._on_the_line[secret] = _Call(task=call, message=message)
        call.add_done_callback(lambda _: self._on_the_line.pop(secret, None))
        try:
            async with asyncio.timeout(self._send_within):
                return await asyncio.shield(call)
        except CallFailed as failed:
            raise errors.of_send(str(failed), provider_id=await self._left_as(secret)) from failed
        except WorkerGone as gone:
            # The process is gone, so nothing is on its way any more.
            provider_id = await self._left_as(secret)
            if provider_id is None:
                raise RetryAt("worker_died", str(gone)) from gone
            raise UnknownOutcome("worker_died", str(gone), provider_id=provider_id) from gone
        except TimeoutError as late:
            call.add_done_callback(lambda done: self._answered_late(done, message))
            raise UnknownOutcome("no_answer", provider_id=await self._left_as(secret)) from late

    def _answered_late(self, call: "asyncio.Task[Frame]", message: Message) -> None:
        """The answer that nobody waited for any more: it goes up as a receipt does."""
        if call.cancelled() or call.exception() is not None or self._lease is None:
            return
        answer = call.result()
        self._remember(answer["id"], message)
        told = {"kind": "sent", "id": answer["id"], "message_id": message.id, "at": answer["at"] or self._now_ms()}
        self._lease.worker.hear(self._sid, "sent", update=told)

    async def _left_as(self, secret: bytes) -> str | None:
        try:
            return await asyncio.to_thread(self._files.provider_id, secret)
        except (OSError, sqlite3.Error):
            log.warning("web.not_traced", connection_id=self._sid)
            raise UnknownOutcome("not_traced") from None

    def _remember(self, provider_id: str | None, message: Message) -> None:
        if provider_id is not None:
            self._sent[provider_id] = message.id
            while len(self._sent) > REMEMBERED:
                self._sent.popitem(last=False)

    # --- one stay in a worker after another ---

    async def _live(self, on_state: OnState, on_raw: OnRaw) -> None:
        while True:
            outcome = await self._stay(on_state, on_raw)
            if isinstance(outcome, StateChange):
                await on_state(outcome)
                return

    async def _stay(self, on_state: OnState, on_raw: OnRaw) -> StateChange | _Again:
        try:
            pairing = not await self._linked()
            lease = await self._pool.lease(self._sid, pairing=pairing)
        except _KeysMissing:
            # They may be on another machine's disk, or come back with a backup: what is known of them stays.
            return StateChange(state=S.FAILED, reason="keys_missing")
        except Crashes:
            return StateChange(state=S.FAILED, reason="worker_crashes")
        except WorkerGone as gone:
            unable = str(gone).startswith(UNABLE)
            return StateChange(state=S.FAILED if unable else S.RECONNECTING, reason=str(gone))
        events: asyncio.Queue[Frame] = asyncio.Queue()
        lease.listen(events.put_nowait)
        self._lease, self._deadline, self._codes = lease, None, 0
        end: StateChange | _Again = AGAIN
        try:
            end = await self._open(lease) or await self._hear(lease, events, on_state, on_raw)
        finally:
            self._up, self._lease = False, None
            await self._leave(lease)
        return await self._judged(end)

    async def _linked(self) -> bool:
        """Whether there are keys to log in with. Keys that no login names are taken out of use."""
        login, files = await self._credentials.load(), await asyncio.to_thread(self._files.exist)
        if login is None and files:
            await asyncio.to_thread(self._files.set_aside, "unused", at=self._now_ms())
        if login is not None and not files:
            raise _KeysMissing
        return login is not None

    async def _open(self, lease: Lease) -> StateChange | None:
        try:
            await lease.worker.call(
                "open", self._sid, within=OPEN_WITHIN, directory=self._files.name, phone=self._phone
            )
        except CallFailed as failed:
            return self._closed(str(failed))
        except WorkerGone:
            return StateChange(state=S.RECONNECTING, reason="worker_died")
        except TimeoutError:
            lease.worker.kill("hung")
            return StateChange(state=S.RECONNECTING, reason="worker_hung")
        # The library goes on trying in silence where WhatsApp says that it is not available.
        self._deadline = self._after(self._connect_within, StateChange(state=S.RECONNECTING, reason="408"))
        return None

    async def _leave(self, lease: Lease) -> None:
        """Give the place back. What cannot be closed is ended with its worker: it must not go on in secret."""
        if not lease.worker.pairing and not lease.worker.gone.done():
            try:
                await lease.worker.call("close", self._sid, within=CLOSE_WITHIN)
            except (CallFailed, TimeoutError):
                lease.worker.kill("hung")
            except WorkerGone:
                log.debug("web.worker_gone", connection_id=self._sid)
        lease.release()
        if lease.worker.pairing:  # its files are free when the process is gone
            await asyncio.shield(lease.worker.gone)

    async def _judged(self, end: StateChange | _Again) -> StateChange | _Again:
        """Take keys that are of no use out of use."""
        if self._unlinked:
            self._unlinked = False
            await asyncio.to_thread(self._files.set_aside, "paired_anew", at=self._now_ms())
            await self._credentials.set_aside("paired_anew")
        if isinstance(end, StateChange) and (end.state is S.LOGGED_OUT or end.reason in (CORRUPT, KEYS_GONE)):
            reason = CORRUPT if end.reason == CORRUPT else "logged_out"
            await asyncio.to_thread(self._files.set_aside, reason, at=self._now_ms())
            await self._credentials.set_aside(end.reason or reason)
        return end

    async def _hear(
        self, lease: Lease, events: "asyncio.Queue[Frame]", on_state: OnState, on_raw: OnRaw
    ) -> StateChange | _Again:
        waiting: Frame | None = None
        while True:
            event, waiting = waiting or await self._next(events), None
            if event is None:
                assert self._deadline is not None
                return self._deadline.then
            if event["ev"] in ("update", "sent"):
                waiting = await self._commit(lease, event, events, on_raw)
                continue
            outcome = await self._take(lease, event, on_state)
            if outcome is not None:
                return outcome

    async def _next(self, events: "asyncio.Queue[Frame]") -> Frame | None:
        """The next event; None: the deadline is there."""
        try:
            async with asyncio.timeout_at(self._deadline.at if self._deadline else None):
                return await events.get()
        except TimeoutError:
            return None

    async def _commit(self, lease: Lease, event: Frame, events: "asyncio.Queue[Frame]", on_raw: OnRaw) -> Frame | None:
        """Hand up what came in, and let the worker forget it. Receipts that came together go up as one.

        Returns an event that was taken out of the queue and is none of these.
        """
        updates, last, other = [event["update"]], event.get("n"), None
        while updates[0]["kind"] == "receipt" and len(updates) < TOGETHER and not events.empty():
            other = events.get_nowait()
            if other["ev"] != "update" or other["update"]["kind"] != "receipt":
                break
            updates.append(other["update"])
            last, other = other["n"], None
        for update in updates:
            if update["kind"] == "receipt":
                update["message_ids"] = await self._ours(update["ids"])
        raw = inbound.body(updates, me=self._me)
        while not lease.worker.gone.done():  # it is in the worker's file, and comes again
            try:
                await on_raw(raw)
            except Exception as error:  # it is not lost as long as it is not forgotten
                log.warning("web.not_committed", connection_id=self._sid, error=type(error).__name__)
                await asyncio.sleep(COMMIT_AGAIN)
            else:
                if last is not None:
                    lease.worker.tell({"op": "committed", "sid": self._sid, "number": last})
                break
        return other

    async def _ours(self, ids: Sequence[str]) -> dict[str, str]:
        """Our ids of the messages that a receipt names. A receipt may be faster than the answer to its send."""
        if any(id_ not in self._sent for id_ in ids):
            for secret, call in list(self._on_the_line.items()):
                with contextlib.suppress(OSError, sqlite3.Error):
                    self._remember(await asyncio.to_thread(self._files.provider_id, secret), call.message)
        return {id_: self._sent[id_] for id_ in ids if id_ in self._sent}

    # --- what a worker tells ---

    async def _take(self, lease: Lease, event: Frame, on_state: OnState) -> Outcome:
        """What follows from an event: the end of this stay, or nothing."""
        if event["ev"] == "again":
            return AGAIN
        if lease.worker.pairing:
            outcome = await self._take_while_pairing(event, on_state)
        else:
            outcome = await self._take_while_linked(event, on_state)
        return outcome or errors.of_end(event)

    async def _take_while_pairing(self, event: Frame, on_state: OnState) -> Outcome:
        match event["ev"]:
            case "qr" | "code":
                await self._show(event, on_state)
            case "code_refused":
                log.warning("web.code_refused", connection_id=self._sid)
            case "passkey":
                await on_state(StateChange(state=S.PASSKEY_REQUIRED, reason="passkey"))
            case "paired":
                await self._was_paired(event, on_state)
            case "connected":
                self._deadline = self._after(self._settle, AGAIN)
            case "closed":
                return self._closed(event["error"])
            case "pairing_failed":
                return StateChange(state=S.RECONNECTING, reason="pairing_failed")
        return None

    async def _take_while_linked(self, event: Frame, on_state: OnState) -> Outcome:
        match event["ev"]:
            case "connected":
                self._me = Me(jid=event["jid"], lid=event["lid"])
                await self._mended(on_state)
            case "disconnected" if self._up:
                await self._broken("disconnected", on_state)
                self._deadline = self._after(self._back_within, StateChange(state=S.RECONNECTING, reason="428"))
            case "silent" if self._up:
                await self._broken("no_answer", on_state)
            case "restored":
                await self._mended(on_state)
            case "unread":
                log.error(
                    "web.unread", connection_id=self._sid, kind=event["event"], error=errors.short(event["error"])
                )
            case "move":
                return await self._away(on_state)
            case "closed":
                return self._closed(event["error"])
            case "qr" | "code":
                return StateChange(state=S.LOGGED_OUT, reason="401")  # its database has no keys any more
        return None

    async def _show(self, event: Frame, on_state: OnState) -> None:
        """A code to scan or to type. The library stops showing them without a word, so the clock is ours."""
        typed = event["ev"] == "code"
        if self._codes == 0:
            await on_state(StateChange(state=S.QR_PENDING))
            self._deadline = self._after(self._all_codes, AGAIN)
        lasts = self._all_codes if typed else FIRST_CODE if self._codes == 0 else NEXT_CODES
        self._codes += 1
        expires_at = self._now_ms() + round(lasts * 1000)
        await on_state(QrCode(text=event["code"], expires_at=expires_at, typed=typed))

    async def _was_paired(self, event: Frame, on_state: OnState) -> None:
        await self._credentials.save(orjson.dumps({"network": "web", "jid": event["jid"]}))
        # The line ends now (515) and the library logs in by itself; when the close overtook the code, it does not.
        self._deadline = self._after(LOGIN_WITHIN, AGAIN)
        await on_state(StateChange(state=S.STARTING, reason="paired"))

    async def _broken(self, why: str, on_state: OnState) -> None:
        self._up = False
        await on_state(StateChange(state=S.DEGRADED, reason=why))

    async def _mended(self, on_state: OnState) -> None:
        self._deadline = None
        self._up = True
        await on_state(StateChange(state=S.CONNECTED))

    async def _away(self, on_state: OnState) -> _Again:
        """Leave a worker that must end, when what is on the line has its answer."""
        await self._broken("moving", on_state)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(QUIET_WITHIN):
                while self._sending:
                    await asyncio.sleep(0.05)
        return AGAIN

    def _closed(self, words: str) -> StateChange:
        """The library gave up."""
        if errors.is_corrupt(words):
            log.error("web.corrupt_store", connection_id=self._sid)
            return StateChange(state=S.FAILED, reason=CORRUPT)
        log.info("web.closed", connection_id=self._sid, error=errors.short(words))
        return StateChange(state=S.RECONNECTING, reason="unreachable")

    @staticmethod
    def _after(seconds: float, then: StateChange | _Again) -> _Deadline:
        return _Deadline(at=asyncio.get_running_loop().time() + seconds, then=then)
