"""The transport of WhatsApp Web: one linked account, in whichever worker it is.

A new pairing has a worker of its own, because the library can only be stopped by force while it shows codes. When the
phone has accepted, the account moves to a worker that it shares. From above that is one start.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

import orjson

from zapd.ids import Ids
from zapd.model.message import Message
from zapd.model.session import Connection, SessionState
from zapd.whatsapp.credentials import CORRUPT, Credentials
from zapd.whatsapp.life import Life
from zapd.whatsapp.transport import (
    NOTHING,
    Enclosed,
    Health,
    OnRaw,
    OnState,
    RemoteMedia,
    Resolved,
    SendResult,
    StateChange,
    Target,
    Trace,
    Update,
)
from zapd.whatsapp.web import inbound
from zapd.whatsapp.web.files import AccountFiles
from zapd.whatsapp.web.line import ASK_WITHIN, Line
from zapd.whatsapp.web.outgoing import CAPABILITIES, address, author, stanza
from zapd.whatsapp.web.pool import Crashes, Lease, WorkerPool
from zapd.whatsapp.web.process import UNABLE, WorkerGone
from zapd.whatsapp.web.sends import SEND_WITHIN, UPLOAD_WITHIN, Sends
from zapd.whatsapp.web.settings import WebConfig
from zapd.whatsapp.web.stay import AGAIN, PACES, Again, Paces, Stay

S = SessionState
KEYS_GONE = "406"  #: WhatsApp's number for a ban with which the library deletes the keys


class _KeysMissing(Exception):
    """The account was linked, and its database is not here."""


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
        paces: Paces = PACES,
        send_within: float = SEND_WITHIN,
    ) -> None:
        self._line = Line(sid=connection.key)
        self._sends = Sends(line=self._line, files=files, now_ms=now_ms, send_within=send_within)
        self._pool = pool
        self._files = files
        self._credentials = credentials
        self._ids = ids
        self._now_ms = now_ms
        self._paces = paces
        self._phone = WebConfig.read(connection.config).phone
        self._life = Life(name=f"web:{connection.id}")
        self._here: Stay | None = None
        self._unlinked = False  # what is left of the keys is of no use

    # --- its life ---

    async def start(self, *, on_state: OnState, on_raw: OnRaw) -> None:
        """Connect, after pairing where that is due."""
        self._life.begin(lambda: self._live(on_state, on_raw), on_state=on_state)

    async def stop(self) -> None:
        """Disconnect; a pairing that is not finished is given up."""
        self._line.up = False
        await self._life.end()
        await self._sends.stop()

    async def pair(self, *, phone: str | None = None) -> None:
        """Begin the pairing anew: a code to scan, or with `phone` one to type there. A linked account is unlinked."""
        self._phone = phone
        lease = self._line.lease
        if lease is None:
            return
        if not lease.worker.pairing:
            await self._line.ask("logout", within=ASK_WITHIN)
            self._unlinked = True
        lease.worker.hear(self._line.sid, "again")

    async def logout(self) -> None:
        """Unlink the device at WhatsApp, and take its keys out of use. `stop` follows."""
        lease = self._line.lease
        try:
            if lease is not None and self._line.up:
                self._line.up = False
                await self._line.ask("logout", within=ASK_WITHIN)
        finally:
            await self._life.end()
            await asyncio.to_thread(self._files.set_aside, "logged_out", at=self._now_ms())

    async def health(self) -> Health:
        """Whether the library answers, and says that its line is up. It asks WhatsApp every half minute."""
        told = await self._line.ask("alive", within=ASK_WITHIN)
        alive = bool(told["connected"] and told["logged_in"])
        if alive and not self._line.up and self._here is not None:
            self._here.alive_again()
        return Health(alive=alive, last_frame_at=told["heard_at"] or None, detail=None if alive else "line_down")

    # --- what goes out ---

    async def send(self, message: Message, enclosed: Enclosed = NOTHING) -> SendResult:
        """Send one message. Raises a SendError."""
        return await self._sends.send(message, enclosed)

    async def trace(self, message: Message) -> Trace:
        """What became of a send whose answer never came. Raises as `Sends.trace`."""
        return await self._sends.trace(message)

    async def mark_read(self, target: Target) -> None:
        """Tell the sender that a message was read."""
        chat = address(target.peer)
        await self._line.ask(
            "read", within=ASK_WITHIN, id=stanza(target.provider_id), chat=chat, sender=author(target, self._line.me)
        )

    async def typing(self, peer: str, *, last: Target | None) -> None:  # noqa: ARG002 - the chat suffices
        """Show that somebody types. The phone hides it again after some seconds."""
        await self._line.ask("typing", within=ASK_WITHIN, chat=address(peer), on=True)

    async def resolve_number(self, candidates: Sequence[str]) -> Resolved | None:
        """The first of these numbers that is on WhatsApp."""
        found = await self._line.ask("resolve", within=ASK_WITHIN, numbers=list(candidates))
        ids = found.get("ids")
        return Resolved(peer=inbound.peer_of(*ids), aliases=inbound.aliases_of(*ids)) if ids else None

    async def download(self, media: RemoteMedia) -> AsyncIterator[bytes]:
        """The content of a file. It passes through a file of ours, not through the worker's socket."""
        path = self._pool.directory.absolute() / f"{self._ids.new('dl')}.part"
        try:
            content = orjson.loads(media.reference)
            await self._line.ask("download", within=UPLOAD_WITHIN, content=content, path=str(path))
            with path.open("rb") as file:
                while piece := await asyncio.to_thread(file.read, 256 * 1024):
                    yield piece
        finally:
            path.unlink(missing_ok=True)

    def parse(self, raw: bytes) -> Sequence[Update]:
        """The updates in a worker's bytes. Raises ValueError."""
        return inbound.parse(raw)

    # --- one stay in a worker after another ---

    async def _live(self, on_state: OnState, on_raw: OnRaw) -> None:
        while True:
            outcome = await self._stay(on_state, on_raw)
            if isinstance(outcome, StateChange):
                await on_state(outcome)
                return

    async def _stay(self, on_state: OnState, on_raw: OnRaw) -> StateChange | Again:
        try:
            pairing = not await self._linked()
            lease = await self._pool.lease(self._line.sid, pairing=pairing)
        except _KeysMissing:
            # They may be on another machine's disk, or come back with a backup: what is known of them stays.
            return StateChange(state=S.FAILED, reason="keys_missing")
        except Crashes:
            return StateChange(state=S.FAILED, reason="worker_crashes")
        except WorkerGone as gone:
            unable = str(gone).startswith(UNABLE)
            return StateChange(state=S.FAILED if unable else S.RECONNECTING, reason=str(gone))
        self._line.lease = lease
        stay = self._here = self._stay_in(lease, on_state, on_raw)
        end: StateChange | Again = AGAIN
        try:
            end = await stay.run()
        finally:
            self._line.up, self._line.lease, self._here = False, None, None
            await stay.leave()
        return await self._judged(end)

    def _stay_in(self, lease: Lease, on_state: OnState, on_raw: OnRaw) -> Stay:
        return Stay(
            lease=lease,
            line=self._line,
            sends=self._sends,
            directory=self._files.name,
            phone=self._phone,
            credentials=self._credentials,
            on_state=on_state,
            on_raw=on_raw,
            now_ms=self._now_ms,
            paces=self._paces,
        )

    async def _linked(self) -> bool:
        """Whether there are keys to log in with. Keys that no login names are taken out of use."""
        login, files = await self._credentials.load(), await asyncio.to_thread(self._files.exist)
        if login is None and files:
            await asyncio.to_thread(self._files.set_aside, "unused", at=self._now_ms())
        if login is not None and not files:
            raise _KeysMissing
        return login is not None

    async def _judged(self, end: StateChange | Again) -> StateChange | Again:
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
