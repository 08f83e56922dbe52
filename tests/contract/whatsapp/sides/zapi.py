"""Z-API against a fake server, over real HTTP."""

from collections.abc import AsyncIterator, Callable

import aiohttp
from aiohttp import web

from tests.contract.whatsapp.network import Network
from tests.support import FakeClock
from tests.support.fake_zapi import CONFIG, FakeZapi, received
from tests.support.whatsapp import Upside, a_connection, no_files
from zapd.model.session import TransportName
from zapd.whatsapp.sandbox_faults import FaultKind
from zapd.whatsapp.transport import Transport
from zapd.whatsapp.zapi import ZapiTransport


class ZapiSide:
    echoes = False
    undeliverable = "no_such_number"

    def __init__(self, zapi: FakeZapi, http: aiohttp.ClientSession, upside: Upside) -> None:
        self.upside = upside
        self.zapi = zapi
        self.transport: Transport = ZapiTransport(
            connection=a_connection(transport=TransportName.ZAPI, config=CONFIG),
            http=http,
            fetch=no_files,
            now_ms=FakeClock().now_ms,
            base_url=zapi.url,
            hook_url=zapi.hook_url,
        )
        zapi.numbers["5511987654321"] = "551187654321"
        self._troubles: dict[FaultKind, Callable[[], None]] = {
            FaultKind.ANSWER_LOST: zapi.lose_answers,
            FaultKind.TRANSIENT: lambda: zapi.refuse("Error on send message", 500),
            FaultKind.PERMANENT: lambda: zapi.refuse("Phone number does not exist"),
            FaultKind.RATE_LIMITED: lambda: zapi.answer(b"slow down", 429, retry_after="7"),
        }
        self.troubles = frozenset(self._troubles)

    async def trouble(self, kind: FaultKind) -> None:
        self._troubles[kind]()

    async def write(self, text: str) -> None:
        await self.zapi.call_back(received(text={"message": text}))

    def arrived(self) -> int:
        return len(self.zapi.sent)


async def side() -> AsyncIterator[Network]:
    upside = Upside()

    async def hook(request: web.Request) -> web.Response:
        await upside.on_raw(await request.read())
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", hook)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with FakeZapi(receipts=True) as zapi, aiohttp.ClientSession() as http:
        zapi.hook_url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        yield ZapiSide(zapi, http, upside)
    await runner.cleanup()
