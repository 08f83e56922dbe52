"""A TCP proxy that does to a connection what networks do: delay, silence, resets, lost answers."""

import asyncio
import contextlib
import random
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

_PIECE = 1 << 16


class Proxy:
    """`async with Proxy(socket) as proxy`: what connects to `proxy.url` talks to the server at that Unix socket.

    `latency` and `jitter` (seconds) hold every piece back. `requests` and `answers` cleared: nothing passes that way,
    no FIN either (a blackhole; only `answers`: half-open). `drop` is asked about each request; what it says True to
    is forwarded, its answer is thrown away and the connection is reset.
    """

    def __init__(self, upstream: Path) -> None:
        self.upstream = upstream
        self.latency = self.jitter = 0.0
        self.requests, self.answers = asyncio.Event(), asyncio.Event()
        self.drop: Callable[[bytes], bool] | None = None
        self.dropped = 0
        self.accepted = 0
        self.port = 0
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.heal()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def blackhole(self) -> None:
        """Nothing passes, and nobody is told."""
        self.requests.clear()
        self.answers.clear()

    def half_open(self) -> None:
        """Requests arrive, answers do not."""
        self.answers.clear()

    def heal(self) -> None:
        """Everything passes; what was held back goes on."""
        self.latency = self.jitter = 0.0
        self.drop = None
        self.requests.set()
        self.answers.set()

    def reset(self) -> None:
        """RST on every connection."""
        for writer in list(self._open):
            writer.transport.abort()

    async def __aenter__(self) -> "Proxy":
        self._server = await asyncio.start_server(self._take, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.heal()
        assert self._server
        self._server.close()
        self.reset()
        await self._server.wait_closed()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        try:
            up_reader, up_writer = await asyncio.open_unix_connection(str(self.upstream))
        except OSError:
            writer.transport.abort()
            return
        link = _Link(self, writer, up_writer)
        self._open |= {writer, up_writer}
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(link.pump(reader, up_writer, self.requests, is_request=True))
                group.create_task(link.pump(up_reader, writer, self.answers, is_request=False))
        except* OSError:
            pass
        finally:
            self._open -= {writer, up_writer}
            link.abort()


class _Link:
    """One connection through the proxy."""

    def __init__(self, proxy: Proxy, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._ends = (client, server)
        self._doomed = False

    async def pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event, *, is_request: bool
    ) -> None:
        proxy = self._proxy
        while piece := await reader.read(_PIECE):
            if proxy.latency or proxy.jitter:
                await asyncio.sleep(proxy.latency + proxy.jitter * random.random())
            await gate.wait()
            if is_request:
                self._doomed = self._doomed or (proxy.drop is not None and proxy.drop(piece))
            elif self._doomed:
                proxy.dropped += 1
                break
            writer.write(piece)
            await writer.drain()
        self.abort()

    def abort(self) -> None:
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.transport.abort()
