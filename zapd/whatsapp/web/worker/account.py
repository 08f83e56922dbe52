"""One linked account inside a worker: a client of the library, its events, and what can be asked of it.

Several calls of the library abort the process when its client is not running, and two that start or stop at once
corrupt it. So whoever starts, stops or asks such a question holds `lock`, which all accounts of the process share.
"""

import asyncio
import fcntl
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from google.protobuf.json_format import ParseDict
from neonize.aioze import events
from neonize.aioze.client import NewAClient
from neonize.events import UndecryptableMessageEv
from neonize.proto.waCompanionReg.WAWebProtobufsCompanionReg_pb2 import DeviceProps
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import Message
from neonize.utils.enum import ChatPresence, ChatPresenceMedia, ReceiptType
from neonize.utils.jid import build_jid

from zapd.whatsapp.web.frames import Frame
from zapd.whatsapp.web.worker import shapes
from zapd.whatsapp.web.worker.media import upload
from zapd.whatsapp.web.worker.spool import Spool

STORE, SPOOL, LOCK = "store.db", "spool.jsonl", "lock"
LOCKED_WITHIN = 10.0  #: seconds in which an earlier worker, whose daemon was killed, must have ended
FAILS_AT_ONCE = 0.3  #: seconds; a connect that fails at all fails in this time, and others may start after it
STOPS_WITHIN = 10.0  #: seconds for the library to end a connection
PAIRED = 2  #: the library's status of a pairing that worked
#: The library's numbers for why a connection was refused → WhatsApp's.
_CODES = {1: 400, 2: 401, 3: 402, 4: 403, 5: 406, 6: 405, 7: 409, 8: 500, 9: 501, 10: 503}
NOT_OURS = ("status@broadcast", "@newsletter", "@broadcast")  #: chats that are no conversation with the account

Emit = Callable[..., None]


class Account:
    """Open from `open` to `close`. Everything it hears goes to `emit(event, **fields)`."""

    def __init__(self, *, sid: str, directory: Path, lock: asyncio.Lock, emit: Emit, phone: str | None) -> None:
        self._sid = sid
        self._directory = directory
        self._lock = lock
        self._emit = emit
        self._phone = phone
        self._open = False
        self._code_asked = False
        self._connect: asyncio.Task[None] | None = None
        self._held: int | None = None
        self._spool: Spool | None = None
        self.heard_at = 0.0  #: when the library last told something, in seconds since 1970

    async def open(self) -> None:
        """Start the client. Whether it connects is told by events; `closed` when it cannot or ends."""
        self._directory.mkdir(parents=True, exist_ok=True)
        await self._hold_files()
        try:
            await asyncio.to_thread(_check, self._directory / STORE)
            self._spool = Spool(self._directory / SPOOL)
            self._client = self._new_client()
            async with self._lock:
                self._connect = await self._client.connect()
                self._open = True
                await asyncio.wait({self._connect}, timeout=FAILS_AT_ONCE)
        except BaseException:
            self._let_go()
            raise
        self._connect.add_done_callback(self._ended)
        self._hand_over()

    async def close(self) -> None:
        """Stop the client; what it holds is free afterwards. Raises TimeoutError when the library does not let go."""
        async with self._lock:
            if self._open:
                self._open = False
                async with asyncio.timeout(STOPS_WITHIN):
                    await self._client.stop()
                # Collected later, it would stop whichever client has this name by then.
                self._client._stop_finalizer.detach()
        if self._connect is not None:
            await asyncio.wait({self._connect}, timeout=STOPS_WITHIN)
        self._let_go()

    async def logout(self) -> Frame:
        """Unlink the device at WhatsApp."""
        await self._client.logout()
        return {}

    def committed(self, number: int) -> None:
        """The daemon has committed the updates up to this one."""
        if self._spool is not None:
            self._spool.committed(number)
            self._hand_over()

    async def ask(self) -> None:
        """Ask the library anything: one that hangs does not answer."""
        if self._open:
            await self._client.is_connected

    async def alive(self) -> Frame:
        """Whether the line is up."""
        connected, logged_in = await self._client.is_connected, await self._client.is_logged_in
        return {"connected": connected, "logged_in": logged_in, "heard_at": round(self.heard_at * 1000)}

    async def send(self, request: Frame) -> Frame:
        """Send a message; `secret` (hexadecimal) is how its id can be found again if the answer is lost."""
        message = ParseDict(request["content"], Message())
        message.messageContextInfo.messageSecret = bytes.fromhex(request["secret"])
        sent = await self._client.send_message(_jid(request["to"]), message)
        return {"id": sent.ID, "at": sent.Timestamp * 1000}

    async def upload(self, request: Frame) -> Frame:
        """Put a file on WhatsApp's servers."""
        return await upload(self._client, path=Path(request["path"]), part=request["part"])

    async def read(self, request: Frame) -> Frame:
        """Tell a sender that a message was read."""
        chat, sender = _jid(request["chat"]), _jid(request["sender"])
        await self._client.mark_read(request["id"], chat=chat, sender=sender, receipt=ReceiptType.READ)
        return {}

    async def typing(self, request: Frame) -> Frame:
        """Show that somebody types, or no longer."""
        state = ChatPresence.CHAT_PRESENCE_COMPOSING if request["on"] else ChatPresence.CHAT_PRESENCE_PAUSED
        media = ChatPresenceMedia.CHAT_PRESENCE_MEDIA_TEXT
        await self._client.send_chat_presence(_jid(request["chat"]), state, media)
        return {}

    async def resolve(self, request: Frame) -> Frame:
        """Which of some numbers are on WhatsApp, in the order they were asked."""
        found = await self._client.is_on_whatsapp(*(f"+{number}" for number in request["numbers"]))
        on = {answer.Query.strip("+").partition("@")[0]: answer.JID for answer in found if answer.IsIn}
        number = next((number for number in request["numbers"] if number in on), None)
        return {"ids": await self._ids(on[number])} if number else {}

    async def download(self, request: Frame) -> Frame:
        """Write a file that WhatsApp holds to `path`."""
        content = await self._client.download_any(ParseDict(request["content"], Message()))
        await asyncio.to_thread(Path(request["path"]).write_bytes, content)
        return {"size": len(content)}

    # --- what the library tells ---

    def _new_client(self) -> NewAClient:
        name = DeviceProps(os="zapd", platformType=DeviceProps.DESKTOP)  # what the phone shows in its list of devices
        client = NewAClient(str(self._directory / STORE), uuid=self._sid, props=name)
        client.event.qr(self._qr)
        heard: dict[Any, Callable[[Any], Any]] = {
            events.PairStatusEv: self._pairing,
            events.ConnectedEv: self._connected,
            events.DisconnectedEv: lambda _: self._emit("disconnected"),
            events.KeepAliveTimeoutEv: lambda _: self._emit("silent"),
            events.KeepAliveRestoredEv: lambda _: self._emit("restored"),
            events.LoggedOutEv: lambda e: self._emit("logged_out", code=_CODES.get(e.Reason) if e.OnConnect else 401),
            events.StreamReplacedEv: lambda _: self._emit("replaced"),
            events.ClientOutdatedEv: lambda _: self._emit("outdated"),
            events.ConnectFailureEv: lambda e: self._emit("refused", code=_CODES.get(e.Reason)),
            events.TemporaryBanEv: lambda e: self._emit("banned", code=int(e.Code), expires=int(e.Expire)),
            events.ReceiptEv: lambda e: self._update(shapes.receipt(e)),
            events.MessageEv: lambda e: self._update(shapes.message(e)),
            UndecryptableMessageEv: lambda e: self._update(shapes.undecryptable(e)),
        }
        for event, handle in heard.items():
            client.event(event)(self._guarded(handle))
        return client

    def _guarded(self, handle: Callable[[Any], Any]) -> Callable[[Any, Any], Awaitable[None]]:
        """The library swallows what a handler raises: it must be told here, or a message is gone without a word."""

        async def heard(_client: Any, event: Any) -> None:
            self.heard_at = time.time()
            try:
                outcome = handle(event)
                if outcome is not None:
                    await outcome
            except Exception as error:
                self._emit("unread", event=type(event).__name__, error=f"{type(error).__name__}: {error}")

        return heard

    async def _qr(self, _client: Any, code: bytes) -> None:
        self.heard_at = time.time()
        if self._phone is None:
            self._emit("qr", code=code.decode())
            return
        if self._code_asked:
            return  # one code to type is good for as long as the library shows codes to scan
        self._code_asked = True
        try:
            self._emit("code", code=await self._client.PairPhone(self._phone, True))
        except Exception as error:  # WhatsApp refuses who asks too often; the code to scan still works
            self._phone = None
            self._emit("code_refused", error=str(error))
            self._emit("qr", code=code.decode())

    def _pairing(self, event: Any) -> None:
        if event.Status == PAIRED:
            self._emit("paired", jid=shapes.jid(event.ID))
        else:
            self._emit("pairing_failed", error=event.Error)

    async def _connected(self, _event: Any) -> None:
        async with self._lock:
            if not self._open:
                return
            me = await self._client.get_me()
        self._emit("connected", jid=shapes.jid(me.JID), lid=shapes.jid(me.LID))

    async def _ids(self, jid: Any) -> list[str]:
        """A person's ids: this one, and the number behind a hidden id or the other way round, where it is known."""
        async with self._lock:
            if not self._open:
                return [shapes.jid(jid)]
            other = self._client.get_pn_from_lid if jid.Server == "lid" else self._client.get_lid_from_pn
            try:
                ids = [shapes.jid(jid), shapes.jid(await other(jid))]
            except Exception:  # the library knows no other
                ids = [shapes.jid(jid)]
        return [id_ for id_ in ids if id_]

    def _update(self, update: Frame) -> None:
        if self._spool is not None and not update["chat"].endswith(NOT_OURS):
            self._spool.add(update)
            self._hand_over()

    def _hand_over(self) -> None:
        for item in self._spool.due() if self._spool is not None else ():
            self._emit("update", **item)

    def _ended(self, connect: "asyncio.Task[None]") -> None:
        error = None if connect.cancelled() else connect.exception()
        if self._open:
            self._emit("closed", error=str(error) if error else "")

    # --- its files ---

    async def _hold_files(self) -> None:
        """Wait until no other process uses the files: two clients with one set of keys destroy each other's."""
        self._held = os.open(self._directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        end = time.monotonic() + LOCKED_WITHIN
        while True:
            try:
                fcntl.flock(self._held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > end:
                    self._let_go()
                    raise TimeoutError("another process uses this account's files") from None
            await asyncio.sleep(0.05)

    def _let_go(self) -> None:
        if self._spool is not None:
            self._spool.close()
            self._spool = None
        if self._held is not None:
            os.close(self._held)
            self._held = None


def _check(store: Path) -> None:
    """Raises sqlite3.DatabaseError when the file is not a whole database; a missing one is made by the library."""
    if not store.exists():
        return
    link = sqlite3.connect(store)
    try:
        told = link.execute("PRAGMA quick_check(1)").fetchone()[0]
        if told != "ok":
            raise sqlite3.DatabaseError(told)
    finally:
        link.close()


def _jid(written: str) -> Any:
    user, _, server = written.partition("@")
    return build_jid(user, server or "s.whatsapp.net")
