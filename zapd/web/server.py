"""The listener: opens last, closes last, and lets freshly accepted connections have their answer."""

import asyncio
import logging
import socket
from collections.abc import Sequence
from weakref import WeakKeyDictionary

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

log = structlog.get_logger("zapd.web")

FIRST_REQUEST = 20.0  #: seconds that a new connection may take for the head of its first request
_LOOK_EVERY = 5.0  # seconds
GRACE = 0.3  #: seconds between closing the listener and closing connections (operations.md §0.4, measured)
BACKLOG = 1024
#: Bytes of a body that may wait for their handler: each pause of a sender costs a turn of the loop.
READ_AHEAD = 256 * 1024


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether aiohttp logs a fault of ours. Bytes that are no HTTP are their sender's, and may hold a key: one line."""
    error = record.exc_info[1] if record.exc_info else None
    if not isinstance(error, HttpProcessingError):
        return True
    log.info("request.malformed", reason=type(error).__name__)
    return False


class Server:
    """Serves one application, on inherited sockets (systemd) or on an address of its own."""

    def __init__(self, *, app: web.Application, host: str, port: int) -> None:
        logging.getLogger("aiohttp.server").addFilter(_is_ours)  # the same function twice counts once
        # A compressed body is refused (`bodies.whole`), so nothing here opens one.
        self._runner = web.AppRunner(
            app,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=5.0,
            auto_decompress=False,
            read_bufsize=READ_AHEAD,
        )
        self._address = (host, port)
        self._seen: WeakKeyDictionary[object, float] = WeakKeyDictionary()  # silent connections, since when
        self._watch: asyncio.Task[None] | None = None
        self._sites: list[web.BaseSite] = []

    async def start(self, inherited: Sequence[socket.socket]) -> None:
        """Listen. Raises OSError when the address is taken, or is none."""
        await self._runner.setup()
        host, port = self._address
        self._sites = [web.SockSite(self._runner, sock, backlog=BACKLOG) for sock in inherited]
        self._sites = self._sites or [web.TCPSite(self._runner, host, port, backlog=BACKLOG)]
        for site in self._sites:
            try:
                await site.start()
            except socket.gaierror as error:
                raise OSError(f"[http] listen: there is no host {host}: {error}") from error
        self._watch = asyncio.create_task(self._close_silent(), name="web:silent")

    async def close(self) -> None:
        """Take no new connections, answer what was accepted, then close. Safe to call twice and before `start`."""
        for site in self._sites:
            await site.stop()
        if self._sites:
            await asyncio.sleep(GRACE)
        self._sites = []
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        await self._runner.cleanup()

    async def _close_silent(self) -> None:
        """aiohttp gives a client for ever to send its first head; a few thousand such would use up our sockets."""
        loop = asyncio.get_running_loop()
        while self._runner.server is not None:
            now = loop.time()
            for connection in list(self._runner.server.connections):
                if connection._request_count or connection._current_request is not None:
                    self._seen.pop(connection, None)
                elif now - self._seen.setdefault(connection, now) > FIRST_REQUEST and connection.transport is not None:
                    connection.transport.abort()
            await asyncio.sleep(_LOOK_EVERY)
