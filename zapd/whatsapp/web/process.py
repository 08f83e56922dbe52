"""One worker process: started, asked, watched, ended. What it prints is kept out of the log, but for its last words."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from zapd.whatsapp.web.frames import LIMIT, Frame, decode, encode

log = structlog.get_logger("zapd.web_worker")

COMMAND = (sys.executable, "-m", "zapd.whatsapp.web.worker")
READY_WITHIN = 60.0  #: seconds; importing the library takes one
ENDS_WITHIN = 5.0  #: seconds from SIGTERM to SIGKILL
_LINE = 4096  # bytes of a printed line that are looked at
_TELLING = re.compile(r"\b(fatal error|panic|runtime error|\w+Error)\b: ?.{0,200}")  # why it dies, above a long trace

#: What a worker gets of the daemon's environment. The rest has passwords in it, or speaks to systemd.
_PASSED_ON = re.compile(
    r"PATH|HOME|LANG|LC_\w+|TZ|TMPDIR|PYTHON\w*|VIRTUAL_ENV|SSL_CERT_(FILE|DIR)|(https?|all|no)_proxy|GO(GC|MEMLIMIT)",
    re.IGNORECASE,
)

#: Else every message says that a bot wrote it. The library sees the environment that the process was started with only.
_SET = {"NEONIZE_BOT_TAG": "off"}

OnEvent = Callable[[Frame], None]


STOPPED = "stopped"  #: how a worker ended that nobody needs
UNABLE = "cannot run: "  #: how a worker ended whose library cannot be loaded here: trying again does not help


class WorkerGone(Exception):
    """The process ended; the argument says how. Nobody knows whether a request that it had was carried out."""


class CallFailed(Exception):
    """The worker answered with an error: the library's words, which may have a phone number in them."""


class Worker:
    """One process. `heard_at` is by the loop's clock, `rss` is in bytes as it said last."""

    def __init__(self, *, command: Sequence[str], directory: Path, capacity: int, pairing: bool) -> None:
        loop = asyncio.get_running_loop()
        self.pairing = pairing
        self.rss = 0
        self.worn = False  #: it should be exchanged soon
        self.heard_at = loop.time()
        self.gone: asyncio.Future[str] = loop.create_future()  #: how it ended
        self._ready = asyncio.Event()
        self._command = command
        self._directory = directory
        self._capacity = capacity
        self._listeners: dict[str, OnEvent] = {}
        self._replies: dict[int, asyncio.Future[Frame]] = {}
        self._number = 0
        self._last_words: str | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._life: asyncio.Task[None] | None = None
        self._why: str | None = None  # what was said before it ended: by itself, or by whoever ended it

    @property
    def pid(self) -> int | None:
        """Its process id, once it runs."""
        return self._process.pid if self._process else None

    @property
    def ending(self) -> bool:
        """Whether it is gone, or was told to go."""
        return self._why is not None or self.gone.done()

    async def start(self) -> None:
        """Start it. Raises WorkerGone when it does not get ready."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = await self._spawn(theirs.fileno())
        except OSError as error:
            ours.close()
            self.gone.set_result(f"{UNABLE}{error}")
            raise WorkerGone(self.gone.result()) from error
        if self._why:  # stopped while it was starting
            self._signal(signal.SIGKILL)
        reader, self._writer = await asyncio.open_connection(sock=ours, limit=LIMIT)
        self._life = asyncio.create_task(self._live(self._process, reader), name=f"web-worker:{self.pid}")
        await self._get_ready()
        log.info("worker.started", pid=self.pid, pairing=self.pairing)

    async def _spawn(self, channel: int) -> asyncio.subprocess.Process:
        options = [str(channel), str(self._capacity), *(["--pairing"] if self.pairing else [])]
        return await asyncio.create_subprocess_exec(
            *self._command,
            *options,
            cwd=self._directory,
            env={name: value for name, value in os.environ.items() if _PASSED_ON.fullmatch(name)} | _SET,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[channel],
            start_new_session=True,  # Ctrl-C on the terminal is the daemon's to answer
        )

    async def call(self, operation: str, sid: str, *, within: float, **fields: object) -> Frame:
        """Ask it something. Raises WorkerGone, CallFailed, or TimeoutError when it does not answer in time."""
        if self.gone.done():
            raise WorkerGone(self.gone.result())
        self._number += 1
        number = self._number
        reply: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
        self._replies[number] = reply
        try:
            self.tell({"n": number, "op": operation, "sid": sid, **fields})
            async with asyncio.timeout(within):
                answer = await reply
        finally:
            del self._replies[number]
        if "error" in answer:
            raise CallFailed(answer["error"])
        result: Frame = answer["result"]
        return result

    def tell(self, frame: Frame) -> None:
        """Say something that needs no reply."""
        if not self.gone.done():
            self._writer.write(encode(frame))

    def listen(self, sid: str, on_event: OnEvent) -> None:
        """Hear the events of one account, until `forget`."""
        self._listeners[sid] = on_event

    def forget(self, sid: str) -> None:
        """Hear no more of it."""
        self._listeners.pop(sid, None)

    def hear(self, sid: str, event: str, **fields: object) -> None:
        """Let an account hear an event that is the daemon's, not the process's, in its turn."""
        listener = self._listeners.get(sid)
        if listener is not None:
            listener({"ev": event, "sid": sid, **fields})

    def kill(self, why: str) -> None:
        """End it at once. `gone` is done soon after."""
        self._why = self._why or why
        self._signal(signal.SIGKILL)

    async def stop(self) -> None:
        """End it and wait for that. Whoever has an account here has closed it before. Safe to call twice."""
        self._why = self._why or STOPPED
        self._signal(signal.SIGTERM)
        if self._life is None:
            return
        try:
            async with asyncio.timeout(ENDS_WITHIN):
                await asyncio.shield(self.gone)
        except TimeoutError:
            self.kill("did not stop")
        await self._life

    async def _get_ready(self) -> None:
        ready = asyncio.create_task(self._ready.wait(), name=f"web-worker:{self.pid}:ready")
        try:
            either: set[asyncio.Future[Any]] = {ready, self.gone}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED, timeout=READY_WITHIN)
        finally:
            ready.cancel()
            if not self._ready.is_set():
                self.kill("was not ready in time")
        if not self._ready.is_set():
            raise WorkerGone(await self.gone)

    async def _live(self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader) -> None:
        assert process.stdout is not None
        drain = asyncio.create_task(self._drain(process.stdout), name=f"web-worker:{process.pid}:printed")
        try:
            await self._hear(reader)
        except (OSError, ValueError) as error:  # torn in the middle of a line, or what is no line of ours
            self._why = self._why or f"said something that is no frame ({type(error).__name__})"
        finally:
            self._signal(signal.SIGKILL)  # one that hung up has no use any more
            self._writer.close()
            code = await process.wait()
            await drain
            self._end(code)

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            self.heard_at = asyncio.get_running_loop().time()
            frame = decode(line)
            if "n" in frame and "ev" not in frame:
                reply = self._replies.get(frame["n"])
                if reply is not None and not reply.done():
                    reply.set_result(frame)
            elif "sid" in frame:
                listener = self._listeners.get(frame["sid"])
                if listener is not None:
                    listener(frame)
            else:
                self._of_itself(frame)

    def _of_itself(self, frame: Frame) -> None:
        match frame["ev"]:
            case "ready":
                self._ready.set()
            case "beat":
                self.rss, self.worn = frame["rss"], frame["worn"]
            case "unable":
                self._why = f"{UNABLE}{frame['error']}"

    async def _drain(self, printed: asyncio.StreamReader) -> None:
        """Read what it prints: a full pipe would stop it. Lines may name people, so they are shown at debug only."""
        rest = b""
        while chunk := await printed.read(65_536):
            *lines, rest = (rest + chunk).split(b"\n")
            rest = rest[:_LINE]
            for line in lines:
                text = line[:_LINE].decode(errors="replace")
                log.debug("worker.printed", pid=self.pid, line=text)
                found = _TELLING.search(text)
                if found:
                    self._last_words = found.group()

    def _end(self, code: int) -> None:
        how = self._why or f"ended by itself, {_spoken(code)}"
        if self._why == STOPPED:
            log.info("worker.stopped", pid=self.pid)
        else:
            log.error("worker.died", pid=self.pid, how=how, last_words=self._last_words)
        self.gone.set_result(how)
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(WorkerGone(how))
        for sid, listener in list(self._listeners.items()):
            listener({"ev": "gone", "sid": sid, "how": how})

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            # Not by `send_signal`: it may collect a dead process before the loop does, and the exit code is gone.
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, number)


def _spoken(code: int) -> str:
    return f"by {signal.Signals(-code).name}" if code < 0 else f"with {code}"
