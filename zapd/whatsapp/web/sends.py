"""What one account sends, and under which of the provider's ids each message left.

The library gives a message's id only with its answer. When the answer is lost, the id is found in the library's own
database (see `files.py`), so that later receipts still find their message; or it is not there, and nothing left.
"""

import asyncio
import contextlib
import sqlite3
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from zapd.model.message import Message
from zapd.whatsapp.transport import (
    NOTHING,
    Enclosed,
    NotConnected,
    RetryAt,
    SendResult,
    Trace,
    UnknownOutcome,
)
from zapd.whatsapp.web import errors
from zapd.whatsapp.web.files import AccountFiles
from zapd.whatsapp.web.frames import Frame
from zapd.whatsapp.web.line import Line
from zapd.whatsapp.web.outgoing import Outgoing, outgoing
from zapd.whatsapp.web.pool import Lease
from zapd.whatsapp.web.process import CallFailed, WorkerGone

log = structlog.get_logger("zapd.web")

SEND_WITHIN = 45.0  #: seconds, below the timeout of the queue
ANSWERED_AT_ALL = 300.0  #: seconds in which a worker answers a send in some way, as its library does
UPLOAD_WITHIN = 40.0
REMEMBERED = 2_000  #: ids of messages that were sent, to name them in receipts
KEPT_UPLOADS, UPLOAD_LASTS = 32, 3_600.0  #: files that are sent again and again are uploaded once in a while


@dataclass(frozen=True, kw_only=True, slots=True)
class _Call:
    """A send that the worker has."""

    task: "asyncio.Task[Frame]"
    message: Message


class Sends:
    """The sends of one account, in whichever worker it is."""

    def __init__(self, *, line: Line, files: AccountFiles, now_ms: Callable[[], int], send_within: float) -> None:
        self._line = line
        self._files = files
        self._now_ms = now_ms
        self._send_within = send_within
        self._sending = 0
        self._on_the_line: dict[bytes, _Call] = {}  # by secret: until the worker answers or is gone
        self._sent: OrderedDict[str, str] = OrderedDict()  # provider id → our id
        self._uploads: OrderedDict[tuple[str, str], tuple[float, Frame]] = OrderedDict()

    @property
    def under_way(self) -> int:
        """How many wait for their answer."""
        return self._sending

    async def stop(self) -> None:
        """Wait for no answer any more."""
        calls = [call.task for call in self._on_the_line.values()]
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)

    async def send(self, message: Message, enclosed: Enclosed = NOTHING) -> SendResult:
        """Send one message. Raises a SendError."""
        lease = self._line.lease
        if not self._line.up or lease is None:
            raise NotConnected("stopped")
        out = outgoing(message, enclosed, me=self._line.me, now_ms=self._now_ms())
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
        if not self._line.up:
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

    async def ours(self, ids: Sequence[str]) -> dict[str, str]:
        """Our ids of the messages that a receipt names. A receipt may be faster than the answer to its send."""
        if any(id_ not in self._sent for id_ in ids):
            for secret, call in list(self._on_the_line.items()):
                with contextlib.suppress(OSError, sqlite3.Error):
                    self._remember(await asyncio.to_thread(self._files.provider_id, secret), call.message)
        return {id_: self._sent[id_] for id_ in ids if id_ in self._sent}

    async def _upload(self, out: Outgoing) -> None:
        """Put the file on WhatsApp's servers and say in the message where it is. Nothing has left if this fails."""
        if out.file is None or out.part is None:
            return
        key, now = (out.file.sha256, out.part), asyncio.get_running_loop().time()
        kept = self._uploads.get(key)
        if kept is None or now - kept[0] > UPLOAD_LASTS:
            path = str(Path(out.file.path).absolute())
            kept = (now, await self._line.ask("upload", within=UPLOAD_WITHIN, part=out.part, path=path))
            self._uploads[key] = kept
            while len(self._uploads) > KEPT_UPLOADS:
                self._uploads.popitem(last=False)
        out.content[out.part] |= kept[1]

    async def _transmit(self, lease: Lease, out: Outgoing, secret: bytes, message: Message) -> Frame:
        request = {"to": out.to, "content": out.content, "secret": secret.hex()}
        call = asyncio.create_task(
            lease.worker.call("send", self._line.sid, within=ANSWERED_AT_ALL, **request),
            name=f"web:{self._line.sid}:send",
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
        if call.cancelled() or call.exception() is not None or self._line.lease is None:
            return
        answer = call.result()
        self._remember(answer["id"], message)
        told = {"kind": "sent", "id": answer["id"], "message_id": message.id, "at": answer["at"] or self._now_ms()}
        self._line.lease.worker.hear(self._line.sid, "sent", update=told)

    async def _left_as(self, secret: bytes) -> str | None:
        try:
            return await asyncio.to_thread(self._files.provider_id, secret)
        except (OSError, sqlite3.Error):
            log.warning("web.not_traced", connection_id=self._line.sid)
            raise UnknownOutcome("not_traced") from None

    def _remember(self, provider_id: str | None, message: Message) -> None:
        if provider_id is not None:
            self._sent[provider_id] = message.id
            while len(self._sent) > REMEMBERED:
                self._sent.popitem(last=False)
