"""The connection to Redis: any number of commands under way at once on one socket, none ever sent twice.

Redis answers in the order of the questions and works on one at a time, so one socket serves as well as a pool, and a
caller that is canceled costs nothing: his answer finds nobody. Packing and parsing are hiredis's.

Why not redis-py: the queues need five commands of one server. It took most of the time of a call, it sends a command
again whose answer was late, and its import is 4.5 MB of every idle daemon.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import hiredis

from zapd.config.address import RedisAddress, redis_address
from zapd.errors import Unavailable

Part = str | bytes | int | float
_NOT_YET = object()  # hiredis's answer while there is no whole one
#: First words of errors that are about the server and not about the command: it is as good as away.
_NOT_SERVING = ("LOADING", "READONLY", "MASTERDOWN", "NOAUTH", "WRONGPASS", "NOREPLICAS")


class Away(Unavailable):
    """Redis does not answer. Whether a command that was sent took effect is not known."""


class Refused(Unavailable):
    """Redis answered with an error; the command had no effect."""


class NoScript(Refused):
    """It does not hold the script of that digest."""


class Redis:
    """One server. Opened by the first command, and anew by the next one after it was lost."""

    def __init__(self, *, address: RedisAddress, name: str, timeout: float) -> None:
        self._address = address
        self._name = name
        self._timeout = timeout
        self._line: _Line | None = None
        self._opening: asyncio.Task[_Line] | None = None

    async def execute(self, *command: Part) -> Any:
        """The answer, as Redis sends it: ints, bytes, lists and None. Raises Away or Refused."""
        line = self._line
        if line is None or line.lost:
            line = await self._opened()
        if line.full:
            await line.room.wait()
        return await line.ask(command)

    async def info(self, section: str) -> dict[str, str]:
        """What the server tells of itself. Raises Away or Refused."""
        text: bytes = await self.execute("INFO", section)
        pairs = (line.partition(":") for line in text.decode(errors="replace").splitlines())
        return {name: value for name, colon, value in pairs if colon}

    async def time(self) -> float:
        """The server's clock, seconds since 1970. Raises Away or Refused."""
        seconds, micros = await self.execute("TIME")
        return int(seconds) + int(micros) / 1e6

    async def close(self) -> None:
        """Close the connection. A later command opens it again."""
        opening, self._opening = self._opening, None
        if opening:
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
        line, self._line = self._line, None
        if line:
            line.close("closed here")

    async def _opened(self) -> "_Line":
        """All who come meanwhile wait for one attempt; it goes on when the first of them is canceled."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(), name=f"redis:{self._name}")
            self._opening.add_done_callback(self._was_opened)
        return await asyncio.shield(self._opening)

    def _was_opened(self, task: asyncio.Task["_Line"]) -> None:
        self._opening = None
        if not task.cancelled() and not task.exception():
            self._line = task.result()

    async def _open(self) -> "_Line":
        try:
            async with asyncio.timeout(self._timeout):
                line = await self._connect()
                try:
                    for command in _greetings(self._address, self._name):
                        await line.ask(command)
                except BaseException:
                    line.close("not opened")
                    raise
                return line
        except TimeoutError as error:
            raise Away(f"no connection within {self._timeout:g} s") from error
        except OSError as error:  # also of TLS and of looking up the name
            raise Away(str(error)) from error
        except Refused as error:  # a wrong password, an unknown database
            raise Away(str(error)) from error

    async def _connect(self) -> "_Line":
        loop = asyncio.get_running_loop()
        address = self._address

        def made() -> _Line:
            return _Line(loop, self._timeout)

        if address.path:
            _, line = await loop.create_unix_connection(made, address.path)
        else:
            tls = _tls(address) if address.tls else None
            _, line = await loop.create_connection(made, address.host, address.port, ssl=tls)
        return line


class _Line(asyncio.Protocol):
    """One socket. Answers come in the order of the questions."""

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout: float) -> None:
        self.lost = False
        self.full = False  #: more is written than goes out: wait for `room`
        self.room = asyncio.Event()
        self._loop = loop
        self._timeout = timeout
        self._reader = hiredis.Reader(notEnoughData=_NOT_YET, replyError=_refusal)
        self._asked: deque[tuple[asyncio.Future[Any], float]] = deque()  # with the time until which to wait
        self._watch: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport

    def ask(self, command: tuple[Part, ...]) -> asyncio.Future[Any]:
        """Send a command; the future gets its answer."""
        if self.lost:
            raise Away("the connection is lost")
        answer: asyncio.Future[Any] = self._loop.create_future()
        self._asked.append((answer, self._loop.time() + self._timeout))
        self._transport.write(hiredis.pack_command(command))  # type: ignore[arg-type]  # its stub knows tuples of one part
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeout, self._look)
        return answer

    def close(self, why: str) -> None:
        """Whoever waits hears why."""
        if self.lost:
            return
        self.lost = True
        self.room.set()
        if self._watch:
            self._watch.cancel()
        self._transport.abort()
        for answer, _ in self._asked:
            if not answer.done():
                answer.set_exception(Away(why))
        self._asked.clear()

    # --- called by the loop ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.close(f"the connection was lost: {exc or 'closed by Redis'}")

    def pause_writing(self) -> None:
        self.full = True
        self.room.clear()

    def resume_writing(self) -> None:
        self.full = False
        self.room.set()

    def data_received(self, data: bytes) -> None:
        gets: Callable[[], Any] = self._reader.gets
        try:
            self._reader.feed(data)
            while (answer := gets()) is not _NOT_YET:
                self._answer(answer)
        except hiredis.ProtocolError as error:
            self.close(f"not an answer of Redis: {error}")

    def _answer(self, answer: Any) -> None:
        if not self._asked:  # lost meanwhile, or it talks unasked: then no answer can be told from another any more
            self.close("an answer without a question")
            return
        waiting, _ = self._asked.popleft()
        if waiting.done():
            return  # canceled
        if isinstance(answer, Unavailable):
            waiting.set_exception(answer)
            if isinstance(answer, Away):
                self.close(str(answer))
        else:
            waiting.set_result(answer)

    def _look(self) -> None:
        """Whether the oldest question has waited for too long; all behind it would too."""
        self._watch = None
        if not self._asked:
            return
        until = self._asked[0][1]
        if until <= self._loop.time():
            self.close(f"no answer within {self._timeout:g} s")
        else:
            self._watch = self._loop.call_at(until, self._look)


def connect(url: str, *, name: str, timeout: float = 3.0) -> Redis:
    """A client. `name` shows in CLIENT LIST; `timeout` (seconds) is for connecting and for each answer."""
    return Redis(address=redis_address(url), name=name, timeout=timeout)


def _greetings(address: RedisAddress, name: str) -> list[tuple[Part, ...]]:
    greetings: list[tuple[Part, ...]] = []
    if address.password:
        user = (address.username,) if address.username else ()
        greetings.append(("AUTH", *user, address.password))
    if address.database:
        greetings.append(("SELECT", address.database))
    return [*greetings, ("CLIENT", "SETNAME", name)]


def _tls(address: RedisAddress) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=address.ca_file or None)
    context.check_hostname = address.check_hostname and address.verify
    context.verify_mode = ssl.CERT_REQUIRED if address.verify else ssl.CERT_NONE
    if address.cert_file:
        context.load_cert_chain(address.cert_file, address.key_file or None)
    return context


def _refusal(text: str) -> Unavailable:
    """hiredis makes the answer of it that an error is."""
    word = text.partition(" ")[0]
    if word == "NOSCRIPT":
        return NoScript(text)
    return Away(text) if word in _NOT_SERVING or text.startswith("ERR max number of clients") else Refused(text)
