"""The transport of the simulated network."""

from collections.abc import AsyncIterator, Callable, Sequence

import orjson

from zapd.model.message import Message
from zapd.model.session import Connection
from zapd.whatsapp.content import EVERYTHING
from zapd.whatsapp.credentials import Credentials
from zapd.whatsapp.life import Life
from zapd.whatsapp.sandbox_contacts import SandboxSettings
from zapd.whatsapp.sandbox_network import SandboxNetwork
from zapd.whatsapp.sandbox_wire import parse
from zapd.whatsapp.transport import (
    NOTHING,
    Enclosed,
    Health,
    OnRaw,
    OnState,
    RemoteMedia,
    Resolved,
    SendResult,
    Target,
    Update,
)


class SandboxTransport:
    """One account's wire to the simulated network. `read` gives the file that a contact sends, by its `media_id`."""

    capabilities = EVERYTHING

    def __init__(
        self,
        *,
        connection: Connection,
        network: SandboxNetwork,
        credentials: Credentials,
        read: Callable[[str], AsyncIterator[bytes]],
    ) -> None:
        self._read = read
        self._account = network.account(connection.tenant, connection.id)
        self._account.configure(SandboxSettings.read(connection.config))
        self._credentials = credentials
        self._life = Life(name=f"sandbox:{connection.id}")

    async def start(self, *, on_state: OnState, on_raw: OnRaw) -> None:
        """Connect, after pairing where that is due."""
        self._life.begin(
            lambda: self._account.connect(on_state=on_state, on_raw=on_raw, credentials=self._credentials),
            on_state=on_state,
        )

    async def stop(self) -> None:
        """Disconnect."""
        self._account.hang_up()
        await self._life.end()

    async def pair(self, *, phone: str | None = None) -> None:
        """Show another code; with `phone`, one to type there. Raises a SendError."""
        if phone is not None:
            await self._account.show_code()

    async def logout(self) -> None:
        """Unlink the account: its login is refused from now on."""
        self._account.unlink()

    async def send(self, message: Message, enclosed: Enclosed = NOTHING) -> SendResult:  # noqa: ARG002 - ids suffice
        """Send one message. Raises a SendError."""
        return await self._account.send(message)

    async def mark_read(self, target: Target) -> None:  # noqa: ARG002 - the contact does not care
        """Nothing is told to the contact."""
        self._account.check_up()

    async def typing(self, peer: str, *, last: Target | None) -> None:  # noqa: ARG002 - as above
        """Nothing is told to the contact."""
        self._account.check_up()

    def download(self, media: RemoteMedia) -> AsyncIterator[bytes]:
        """What a contact sent: a file that was uploaded to zapd for it. Raises a SendError."""
        self._account.check_up()
        return self._read(str(orjson.loads(media.reference)["media_id"]))

    async def resolve_number(self, candidates: Sequence[str]) -> Resolved | None:
        """Everybody is on the simulated network, under the first spelling."""
        self._account.check_up()
        return Resolved(peer=candidates[0])

    async def health(self) -> Health:
        """Whether the network answers this account."""
        return await self._account.health()

    def parse(self, raw: bytes) -> Sequence[Update]:
        """The updates in the network's JSON. Raises ValueError when the bytes are not of this network."""
        return parse(raw)
