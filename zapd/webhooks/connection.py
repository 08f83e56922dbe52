"""Connections to receivers: made to vetted addresses, kept for a while, one request at a time on each."""

import asyncio
import socket
import ssl
import time
from collections import deque
from typing import cast

from zapd.webhooks.http_answer import AnswerReader, BadAnswer

CONNECT_TIMEOUT = 5.0  #: seconds for one address, and again for TLS
PER_DESTINATION = 128  #: idle connections to one place
RECEIVE_BUFFER = 64 * 1024  #: bytes in the kernel: of an endless answer no more crosses the wire than is of use

#: Tenant, TLS?, host, port. The tenant, because a connection into its private network is nobody else's.
Destination = tuple[str, bool, str, int]


class Dropped(ConnectionError):
    """The receiver closed the connection before its answer was complete."""


class Connection(asyncio.Protocol):
    """One connection. `exchange` writes a request and returns when `reader` is done."""

    __slots__ = ("_loop", "_reader", "_transport", "_waiter", "first_byte_at", "usable")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._reader: AnswerReader | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.usable = False
        self.first_byte_at = 0.0  #: time.monotonic

    async def exchange(self, request: bytes, reader: AnswerReader) -> None:
        """Raises Dropped or BadAnswer. After any exception, `abort` it."""
        if self._transport is None or not self.usable:
            raise Dropped("the connection was closed")
        self._reader, self._waiter, self.first_byte_at = reader, self._loop.create_future(), 0.0
        self._transport.write(request)
        try:
            await self._waiter
        finally:
            self._reader = self._waiter = None

    def abort(self) -> None:
        """Close at once; nothing that is still buffered goes out."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's do not inherit from it
        self.usable = True

    def data_received(self, data: bytes) -> None:
        if self._reader is None or self._waiter is None or self._waiter.done():
            self.abort()  # bytes that answer no request: never mistake them for the next answer
            return
        self.first_byte_at = self.first_byte_at or time.monotonic()
        try:
            if self._reader.feed(data):
                self._waiter.set_result(None)
        except BadAnswer as error:
            self._waiter.set_exception(error)

    def connection_lost(self, error: Exception | None) -> None:
        self.usable = False
        if self._reader is None or self._waiter is None or self._waiter.done():
            return
        if error is None and self._reader.end():
            self._waiter.set_result(None)
        else:
            self._waiter.set_exception(Dropped("the connection was closed before the answer was complete"))


async def reach(addresses: tuple[str, ...], port: int) -> socket.socket:
    """A socket connected to the first address that answers. Raises OSError (TimeoutError) of the last one."""
    loop = asyncio.get_running_loop()
    failed: OSError | None = None
    for address in addresses:
        made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        try:
            made.setblocking(False)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await loop.sock_connect(made, (address, port))
            return made
        except OSError as error:
            made.close()
            failed = error
        except BaseException:
            made.close()
            raise
    raise failed or OSError("the name has no address")


async def converse(made: socket.socket, *, tls: ssl.SSLContext | None, name: str) -> Connection:
    """The connection over a connected socket; with TLS, `name` is what the certificate must be for.

    Raises OSError (ssl.SSLError, TimeoutError).
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            _, connection = await loop.create_connection(
                lambda: Connection(loop), sock=made, ssl=tls, server_hostname=name if tls else None
            )
        return connection
    except BaseException:
        made.close()
        raise


class Idle:
    """Connections between two requests, by destination; the one used last goes first. Bounded in time and number."""

    def __init__(self, *, keep: float) -> None:
        self._keep = keep  #: seconds
        self._by_destination: dict[Destination, deque[tuple[float, Connection]]] = {}
        self._sweep: asyncio.TimerHandle | None = None

    def take(self, destination: Destination) -> Connection | None:
        """One that is still open, or None."""
        kept = self._by_destination.get(destination)
        while kept:
            connection = kept.pop()[1]
            if connection.usable:
                return connection
        return None

    def put(self, destination: Destination, connection: Connection) -> None:
        """Keep it for the next request."""
        loop = asyncio.get_running_loop()
        kept = self._by_destination.setdefault(destination, deque())
        kept.append((loop.time(), connection))
        if len(kept) > PER_DESTINATION:
            kept.popleft()[1].abort()
        if self._sweep is None:
            self._sweep = loop.call_later(self._keep, self._close_old)

    def close(self) -> None:
        """Close all of them."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for kept in self._by_destination.values():
            for _, connection in kept:
                connection.abort()
        self._by_destination.clear()

    def _close_old(self) -> None:
        loop = asyncio.get_running_loop()
        before = loop.time() - self._keep
        for destination, kept in list(self._by_destination.items()):
            while kept and (kept[0][0] < before or not kept[0][1].usable):
                kept.popleft()[1].abort()
            if not kept:
                del self._by_destination[destination]
        self._sweep = loop.call_later(self._keep, self._close_old) if self._by_destination else None
