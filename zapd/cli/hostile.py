"""A receiver of webhooks that misbehaves on purpose, one way for each path. Only the standard library.

`zapd doctor receiver` and `make chaos` run it against zapd; `zapd doctor receiver --serve` lets anybody run it against
whatever sends webhooks.
"""

import asyncio
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cache

MAX_REQUEST = 4 * 1024 * 1024  #: bytes that it reads of one request
HUGE = 1024**3  #: bytes of the body at /huge
_CHUNK = b"\0" * 65536
_DRIP = 0.5  # seconds between two bytes of those who drip
_METADATA = "http://169.254.169.254/latest/meta-data/"

Writer = asyncio.StreamWriter


class HostileReceiver:
    """`async with HostileReceiver() as receiver`, then POST to `receiver.url("hang")`.

    `healed`: from then on it takes everything at once. `taken` and `asked` count POSTs by path.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self.healed = False
        self.asked: Counter[str] = Counter()
        self.taken: Counter[str] = Counter()
        self.ids: dict[str, set[str]] = {}  #: path → `webhook-id`s that it took
        self.base = ""
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "HostileReceiver":
        self._server = await asyncio.start_server(self._serve, self._host, self._port)
        host, port = self._server.sockets[0].getsockname()[:2]
        self.base = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def url(self, mode: str) -> str:
        """Where it misbehaves this way."""
        return f"{self.base}/{mode}"

    async def _serve(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            pass
        except asyncio.CancelledError:
            pass  # we stop; Python 3.11's streams would report a canceled task as an error
        finally:
            self._tasks.discard(task)
            writer.close()
            with suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: Writer) -> bool:
        """Answer one request; returns whether the connection may carry another."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        await reader.readexactly(min(int(fields.get("content-length", 0)), MAX_REQUEST))
        mode = head[0].split(" ")[1].strip("/").partition("?")[0] or "ok"
        self.asked[mode] += 1
        behave = None if self.healed else MODES.get(mode)
        if behave is not None and not (mode == "flapping" and self.asked[mode] % 2 == 0):
            await behave(writer)
            return False
        self.taken[mode] += 1
        self.ids.setdefault(mode, set()).add(fields.get("webhook-id", ""))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        return True


async def _hang(_: Writer) -> None:
    await asyncio.sleep(3600)


async def _slow_loris(writer: Writer) -> None:
    await _drip(writer, b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 3600)


async def _slow_body(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    await _drip(writer, b"b" * 3600)


async def _drip(writer: Writer, data: bytes) -> None:
    for i in range(len(data)):
        writer.write(data[i : i + 1])
        await writer.drain()
        await asyncio.sleep(_DRIP)


async def _huge(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % HUGE)
    for _ in range(HUGE // len(_CHUNK)):
        writer.write(_CHUNK)
        await writer.drain()


async def _endless_chunks(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1\r\nx\r\n" * 1000)
        await writer.drain()


async def _gzip_bomb(writer: Writer) -> None:
    body = _bomb()
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        + body
    )
    await writer.drain()


@cache
def _bomb() -> bytes:
    """64 MiB of zeros in 64 KiB of gzip."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join(packer.compress(_CHUNK) for _ in range(1024)) + packer.flush()


async def _endless_head(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-Much: " + b"y" * 8000 + b"\r\n")
        await writer.drain()


async def _redirect(writer: Writer) -> None:
    writer.write(
        f"HTTP/1.1 302 Found\r\nLocation: {_METADATA}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
    )
    await writer.drain()


async def _too_many(writer: Writer) -> None:
    writer.write(b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    await writer.drain()


async def _flapping(writer: Writer) -> None:
    writer.transport.abort()


async def _garbage(writer: Writer) -> None:
    writer.write(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
    await writer.drain()


MODES: dict[str, Callable[[Writer], Awaitable[None]]] = {
    "hang": _hang,
    "slow-loris": _slow_loris,
    "slow-body": _slow_body,
    "huge": _huge,
    "endless-chunks": _endless_chunks,
    "gzip-bomb": _gzip_bomb,
    "endless-head": _endless_head,
    "redirect": _redirect,
    "429-storm": _too_many,
    "flapping": _flapping,
    "garbage": _garbage,
}
