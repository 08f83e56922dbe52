"""A worker: takes the daemon's requests, runs them side by side, and says regularly that it lives."""

import asyncio
import concurrent.futures
import logging
import os
import resource
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from neonize.utils.log import log as library_log

from zapd.whatsapp.web.frames import LIMIT, Frame, decode, encode
from zapd.whatsapp.web.worker.account import Account

BEAT_EVERY = 2.0  #: seconds
ANSWERS_WITHIN = 30.0  #: seconds in which the library must answer a question that needs no network
_PAGE = os.sysconf("SC_PAGE_SIZE")


async def serve(channel: socket.socket, *, capacity: int, pairing: bool) -> None:
    """Serve the daemon until it hangs up; then end at once, whatever threads the library still blocks."""
    # Each connection blocks a thread for as long as it lives. The default pool has six on a small machine, and hangs.
    threads = concurrent.futures.ThreadPoolExecutor(2 * capacity + 8, thread_name_prefix="neonize")
    asyncio.get_running_loop().set_default_executor(threads)
    library_log.setLevel(logging.DEBUG if pairing else logging.WARNING)
    reader, writer = await asyncio.open_connection(sock=channel, limit=LIMIT)
    host = Host(write=writer.write)
    if pairing:
        _watch_for_passkey(host)
    host.begin()
    while line := await reader.readline():
        host.take(decode(line))
    os._exit(0)


class Host:
    """The accounts of this process."""

    def __init__(self, *, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._accounts: dict[str, Account] = {}
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._operations: dict[str, Callable[[Account, Frame], Awaitable[Frame]]] = {
            "send": Account.send,
            "upload": Account.upload,
            "read": Account.read,
            "typing": Account.typing,
            "resolve": Account.resolve,
            "download": Account.download,
            "logout": lambda account, _: account.logout(),
            "alive": lambda account, _: account.alive(),
        }

    def begin(self) -> None:
        """Say that it is ready, and then that it lives."""
        self._tell({"ev": "ready"})
        self._keep(self._beat(), "beat")

    def take(self, request: Frame) -> None:
        """Run one request. Its reply has the same `n`; `committed` needs none."""
        if request["op"] == "committed":
            account = self._accounts.get(request["sid"])
            if account is not None:
                account.committed(request["number"])
        else:
            self._keep(self._answer(request), f"{request['op']}:{request['n']}")

    def all_hear(self, event: str) -> None:
        """Tell an event of every account, where nobody can say of which it is."""
        for sid in self._accounts:
            self._tell({"ev": event, "sid": sid})

    async def _answer(self, request: Frame) -> None:
        reply: Frame = {"n": request["n"]}
        try:
            reply["result"] = await self._run(request)
        except Exception as error:  # the daemon judges it by its words, as the library has no others
            reply["error"] = f"{type(error).__name__}: {error}"
        self._tell(reply)

    async def _run(self, request: Frame) -> Frame:
        operation, sid = request["op"], request["sid"]
        if operation == "open":
            await self._open(sid, request)
            return {}
        account = self._accounts.get(sid)
        if operation == "close":
            if account is not None:  # else it could not be opened
                await account.close()
                del self._accounts[sid]
            return {}
        if account is None:
            raise LookupError("no such account here")
        return await self._operations[operation](account, request)

    async def _open(self, sid: str, request: Frame) -> None:
        account = Account(
            sid=sid,
            directory=Path(request["directory"]),
            lock=self._lock,
            emit=lambda event, **fields: self._tell({"ev": event, "sid": sid, **fields}),
            phone=request.get("phone"),
        )
        self._accounts[sid] = account
        try:
            await account.open()
        except BaseException:
            self._accounts.pop(sid, None)
            raise

    async def _beat(self) -> None:
        """A library that hangs stops the beat, and the daemon ends this process."""
        while True:
            async with asyncio.timeout(ANSWERS_WITHIN), self._lock:
                for account in self._accounts.values():
                    await account.ask()
            self._tell({"ev": "beat", "rss": _resident_bytes(), "worn": _short_of_files()})
            await asyncio.sleep(BEAT_EVERY)

    def _keep(self, work: Any, name: str) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _tell(self, frame: Frame) -> None:
        self._write(encode(frame))


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


def _short_of_files() -> bool:
    """The library leaves a file open for each account that was closed."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return len(os.listdir("/proc/self/fd")) > limit // 2


class _Passkey(logging.Handler):
    """The library tells no event when WhatsApp asks for a passkey, and writes what it received at debug level."""

    def __init__(self, heard: Callable[[], None]) -> None:
        super().__init__(level=logging.DEBUG)
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        if "<notification" in record.getMessage() and "passkey" in record.getMessage():
            self._heard()


def _watch_for_passkey(host: Host) -> None:
    loop = asyncio.get_running_loop()
    received = logging.getLogger("whatsmeow")
    received.setLevel(logging.DEBUG)

    def heard() -> None:
        loop.call_soon_threadsafe(host.all_hear, "passkey")

    received.addHandler(_Passkey(heard))
