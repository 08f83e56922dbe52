"""WhatsApp's media servers: files arrive and leave encrypted, over HTTPS."""

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web

from tests.support.certificates import self_signed


class MediaHost:
    """`files` by their path, as they came."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.refuses = False
        self.host = ""

    async def take(self, request: web.Request) -> web.Response:
        if self.refuses:
            return web.Response(status=500)
        path = f"/v/{len(self.files)}"
        self.files[path] = await request.read()
        return web.json_response({"url": f"https://{self.host}{path}?a=1", "direct_path": f"{path}?a=1"})

    async def give(self, request: web.Request) -> web.Response:
        content = self.files.get(request.path)
        return web.Response(body=content) if content is not None else web.Response(status=404)


@contextlib.asynccontextmanager
async def media_host(directory: Path) -> AsyncIterator[MediaHost]:
    """A server that every worker trusts which is started meanwhile."""
    directory.mkdir(parents=True, exist_ok=True)
    tls, _ = self_signed(directory, "localhost")
    host = MediaHost()
    app = web.Application(client_max_size=200 * 1024**2)
    app.router.add_post("/mms/{kind}/{token}", host.take)
    app.router.add_get("/v/{number}", host.give)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    host.host = f"localhost:{runner.addresses[0][1]}"
    before = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = str(directory / "certificate.pem")
    try:
        yield host
    finally:
        os.environ.pop("SSL_CERT_FILE")
        if before is not None:
            os.environ["SSL_CERT_FILE"] = before
        await runner.cleanup()
