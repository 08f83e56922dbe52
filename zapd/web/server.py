"""The listener: opens last, closes last, and lets freshly accepted connections have their answer."""

import asyncio
import socket
from collections.abc import Sequence

from aiohttp import web

GRACE = 0.3  #: seconds between closing the listener and closing connections (operations.md §0.4, measured)
BACKLOG = 1024


class Server:
    """Serves one application, on inherited sockets (systemd) or on an address of its own."""

    def __init__(self, *, app: web.Application, host: str, port: int) -> None:
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=5.0)
        self._address = (host, port)
        self._sites: list[web.BaseSite] = []

    async def start(self, inherited: Sequence[socket.socket]) -> None:
        """Listen. Raises OSError when the address is taken."""
        await self._runner.setup()
        host, port = self._address
        self._sites = [web.SockSite(self._runner, sock, backlog=BACKLOG) for sock in inherited]
        self._sites = self._sites or [web.TCPSite(self._runner, host, port, backlog=BACKLOG)]
        for site in self._sites:
            await site.start()

    async def close(self) -> None:
        """Take no new connections, answer what was accepted, then close. Safe to call twice and before `start`."""
        for site in self._sites:
            await site.stop()
        if self._sites:
            await asyncio.sleep(GRACE)
        self._sites = []
        await self._runner.cleanup()
