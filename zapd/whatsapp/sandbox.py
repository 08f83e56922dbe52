"""The transport of the simulated network."""

from collections.abc import Sequence

from zapd.model.message import Message
from zapd.model.session import Connection, SessionState
from zapd.whatsapp.life import Life
from zapd.whatsapp.sandbox_network import SandboxNetwork
from zapd.whatsapp.sandbox_wire import parse
from zapd.whatsapp.transport import OnRaw, OnState, SendResult, Update

#: States in which an account has been paired already: a restart of zapd does not ask for the code again.
_PAIRED = {SessionState.CONNECTED, SessionState.DEGRADED, SessionState.RECONNECTING, SessionState.PAUSED}


class SandboxTransport:
    """One account's wire to the simulated network."""

    capabilities = frozenset({"text", "template"})

    def __init__(self, *, connection: Connection, network: SandboxNetwork) -> None:
        self._account = network.account(connection.tenant, connection.id)
        self._account.paired |= connection.state in _PAIRED
        self._life = Life(name=f"sandbox:{connection.id}")

    async def start(self, *, on_state: OnState, on_raw: OnRaw) -> None:
        """Connect, after pairing where that is due."""
        self._life.begin(lambda: self._account.connect(on_state=on_state, on_raw=on_raw), on_state=on_state)

    async def stop(self) -> None:
        """Disconnect."""
        self._account.hang_up()
        await self._life.end()

    async def send(self, message: Message) -> SendResult:
        """Send one message. Raises a SendError."""
        return await self._account.send(message)

    def parse(self, raw: bytes) -> Sequence[Update]:
        """The updates in the network's JSON. Raises ValueError when the bytes are not of this network."""
        return parse(raw)
