"""The simulated network."""

from collections.abc import AsyncIterator

from tests.contract.whatsapp.network import Network
from tests.support import FakeClock, make_ids
from tests.support.whatsapp import MemoryCredentials, MemoryLedger, Upside, a_connection, no_files
from zapd.whatsapp.sandbox import SandboxTransport
from zapd.whatsapp.sandbox_faults import REFUSALS, Fault, FaultKind
from zapd.whatsapp.sandbox_network import SandboxNetwork
from zapd.whatsapp.transport import Transport


class SandboxSide:
    troubles = frozenset({FaultKind.ANSWER_LOST, *REFUSALS})

    echoes = True
    undeliverable = "131026"

    def __init__(self) -> None:
        self.upside = Upside()
        self.ledger = MemoryLedger()
        network = SandboxNetwork(
            ledger=self.ledger, now_ms=FakeClock().now_ms, ids=make_ids(), pair_after=0.01, latency=0.0
        )
        self.transport: Transport = SandboxTransport(
            connection=a_connection(), network=network, credentials=MemoryCredentials(), read=no_files
        )
        self.account = network.account("default", "con_1")

    async def trouble(self, kind: FaultKind) -> None:
        await self.account.script([Fault(kind=kind)])

    async def write(self, text: str) -> None:
        await self.account.inbound(peer="5511987654321", type_="text", payload={"text": text})

    def arrived(self) -> int:
        return len(self.ledger.entries)


async def side() -> AsyncIterator[Network]:
    yield SandboxSide()
