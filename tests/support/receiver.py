"""A receiver of webhooks on loopback: keeps what came, and answers as told, also mid-test."""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from aiohttp import web


@dataclass(frozen=True)
class Received:
    """One POST, as it came over the wire. Header names are in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """What to answer."""

    status: int = 204
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Receiver:
    """`async with Receiver() as receiver`, then POST to `receiver.url`.

    `receiver.reply` is the answer to everything; `receiver.script` holds answers to give first, one per POST. While
    `receiver.open` is cleared, POSTs are taken and not answered. `receiver.respond` replaces all of this.
    """

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.reply = Reply()
        self.script: deque[Reply] = deque()
        self.open = asyncio.Event()
        self.open.set()
        self.respond: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> "Receiver":
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/hook"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.open.set()
        if self._runner is not None:
            await self._runner.cleanup()

    def events(self, event_type: str | None = None) -> list[Any]:
        """The bodies received, parsed; only those of one type, if given."""
        bodies = [received.json for received in self.received]
        return [body for body in bodies if event_type is None or body.get("type") == event_type]

    async def _take(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(Received(path=request.path_qs, headers=headers, body=await request.read()))
        await self.open.wait()
        if self.respond is not None:
            return await self.respond(request)
        reply = self.script.popleft() if self.script else self.reply
        return web.Response(status=reply.status, body=reply.body or None, headers=reply.headers)
