"""WhatsApp Web: the stock neonize wheel against a server on the loopback."""

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from tests.contract.whatsapp.network import Network
from tests.support.whatsapp_web import Content
from tests.support.whatsapp_web.parts import fakeserver
from tests.support.whatsapp_web.world import CONTACT, USER, Phone, Templates, World, templates, world
from zapd.whatsapp.sandbox_faults import FaultKind
from zapd.whatsapp.transport import Transport

_TROUBLES = {
    FaultKind.ANSWER_LOST: "hush",
    FaultKind.TRANSIENT: "500",
    FaultKind.PERMANENT: "400",
    FaultKind.RATE_LIMITED: "429",
}


class WebSide:
    echoes = True
    undeliverable = "400"
    troubles = frozenset(_TROUBLES)

    def __init__(self, web: World, phone: Phone) -> None:
        web.server.answers_with = ("delivered", "read")
        self.upside = phone.upside
        self.transport: Transport = phone.transport
        self._web = web

    async def trouble(self, kind: FaultKind) -> None:
        self._web.server.troubles.append(_TROUBLES[kind])

    async def write(self, text: str) -> None:
        await self._web.server.write(USER, CONTACT, Content(conversation=text), id="IN1")

    def arrived(self) -> int:
        return len(self._web.server.arrived)


async def side() -> AsyncIterator[Network]:
    fakeserver()
    paired: Templates = await templates()
    with tempfile.TemporaryDirectory() as folder:
        async with world(Path(folder) / "web") as web:
            phone = web.phone(send_within=5.0)
            paired.give(phone)
            yield WebSide(web, phone)
