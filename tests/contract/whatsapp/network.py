"""What a transport brings to take part in the contract suite.

To join: write `sides/<transport>.py` with an async generator `side()` that yields a `Network` and cleans up after it,
and add it to `SIDES` in conftest.py. Nothing else in the suite names a transport.
"""

from typing import Protocol

from tests.support.whatsapp import Upside
from zapd.whatsapp.sandbox_faults import FaultKind
from zapd.whatsapp.transport import Inbound, Receipt, Transport


class Network(Protocol):
    """The other side: what a test can make it do, and what it got."""

    transport: Transport
    upside: Upside
    troubles: frozenset[FaultKind]  #: those that the wire of this transport can have
    echoes: bool  #: its receipts carry our own message id
    undeliverable: str  #: the code of a message that can never arrive

    async def trouble(self, kind: FaultKind) -> None:
        """Meet the next send with this, one of `troubles`."""

    async def write(self, text: str) -> None:
        """5511987654321, whose name is Ana, writes this."""

    def arrived(self) -> int:
        """How many messages reached it."""


def updates(network: Network) -> list[object]:
    """Everything that was told, in order."""
    return [update for raw in network.upside.raws for update in network.transport.parse(raw)]


def receipts(network: Network) -> list[Receipt]:
    return [update for update in updates(network) if isinstance(update, Receipt)]


def inbound(network: Network) -> list[Inbound]:
    return [update for update in updates(network) if isinstance(update, Inbound)]
