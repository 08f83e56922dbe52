"""The Cloud API against a fake server, over real HTTP."""

from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
from aiohttp import web

from tests.contract.whatsapp.network import Network
from tests.support import FakeClock
from tests.support.fake_meta import APP_SECRET, CONFIG, FakeMeta
from tests.support.whatsapp import MemoryUploads, Upside, a_connection
from zapd.model.session import TransportName
from zapd.whatsapp.cloud import CloudTransport
from zapd.whatsapp.cloud_webhook import check_signature
from zapd.whatsapp.sandbox_faults import FaultKind
from zapd.whatsapp.transport import Transport


class CloudSide:
    echoes = True
    undeliverable = "131026"

    def __init__(self, meta: FakeMeta, http: aiohttp.ClientSession, upside: Upside) -> None:
        self.upside = upside
        self.meta = meta
        self.transport: Transport = CloudTransport(
            connection=a_connection(transport=TransportName.CLOUD, config=CONFIG),
            http=http,
            uploads=MemoryUploads(),
            now_ms=FakeClock().now_ms,
            random=lambda: 0.0,
            base_url=meta.url,
        )
        self._troubles: dict[FaultKind, Callable[[], None]] = {
            FaultKind.ANSWER_LOST: meta.lose_answers,
            FaultKind.TRANSIENT: lambda: meta.refuse(131000, 500),
            FaultKind.PERMANENT: lambda: meta.refuse(131026),
            FaultKind.RATE_LIMITED: lambda: meta.refuse(130429, 429),
            FaultKind.PAIR_RATE: lambda: meta.refuse(131056),
        }
        self.troubles = frozenset(self._troubles)

    async def trouble(self, kind: FaultKind) -> None:
        self._troubles[kind]()

    async def write(self, text: str) -> None:
        await self.meta.inbound(text)

    def arrived(self) -> int:
        return len(self.meta.accepted)


def hook(upside: Upside) -> Callable[[web.Request], Awaitable[web.Response]]:
    """zapd's webhook route, as far as a transport needs it."""

    async def handle(request: web.Request) -> web.Response:
        raw = await request.read()
        check_signature(raw, request.headers.get("X-Hub-Signature-256"), app_secret=APP_SECRET)
        await upside.on_raw(raw)
        return web.Response()

    return handle


async def side() -> AsyncIterator[Network]:
    upside = Upside()
    app = web.Application()
    app.router.add_post("/hook", hook(upside))
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with FakeMeta(receipts=True) as meta, aiohttp.ClientSession() as http:
        meta.webhook_url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        yield CloudSide(meta, http, upside)
    await runner.cleanup()
