"""What messages ask of connections: what each can do, and its wire on this daemon."""

from collections.abc import AsyncIterator, Mapping, Sequence

from zapd.errors import FieldError, InvalidInput
from zapd.model.message import Message
from zapd.model.pace import Limits
from zapd.model.session import Connection, SessionState, TransportName
from zapd.sessions.kinds import Kind
from zapd.sessions.records import Records
from zapd.whatsapp.manager import SessionManager
from zapd.whatsapp.transport import (
    NOTHING,
    READ,
    TYPING,
    Enclosed,
    NotConnected,
    Peek,
    Permanent,
    RemoteMedia,
    Resolved,
    SendError,
    SendResult,
    Target,
    Trace,
    Tracing,
    Transport,
    Update,
    peek_of,
)


class Wires:
    """The connections, as messaging sees them (its protocol `Accounts`)."""

    def __init__(self, *, records: Records, manager: SessionManager, kinds: Mapping[TransportName, Kind]) -> None:
        self._records = records
        self._manager = manager
        self._kinds = kinds

    async def find(self, tenant: str, connection_id: str) -> Connection | None:
        """The stored connection; a short-lived memory may answer."""
        return await self._records.find(tenant, connection_id)

    def capabilities(self, connection: Connection) -> frozenset[str]:
        """The message types its transport can send."""
        return self._kinds[connection.transport].capabilities

    def check_address(self, connection: Connection, peer: str) -> None:
        """Raises InvalidInput for a recipient that its transport cannot reach."""
        try:
            self._kinds[connection.transport].address(peer)
        except Permanent as error:
            raise InvalidInput(FieldError("to", error.detail)) from None

    def window(self, connection: Connection) -> float | None:
        """For how many seconds after a contact's message one may write freely; None: always."""
        return self._kinds[connection.transport].window(connection)

    def account(self, connection: Connection) -> str:
        """Whose templates it sends: a business account that several connections may share, or the connection."""
        return self._kinds[connection.transport].account(connection) or connection.id

    def connected(self, tenant: str, connection_id: str) -> bool:
        """Whether a send can be tried now, on this daemon."""
        session = self._manager.get(tenant, connection_id)
        return session is not None and session.state is SessionState.CONNECTED

    async def send(self, message: Message, enclosed: Enclosed = NOTHING) -> SendResult:
        """Hand the message and what it refers to to its transport. Raises a SendError."""
        session = self._manager.get(message.tenant, message.connection_id)
        if session is None:
            raise NotConnected("not on this daemon")
        return await session.send(message, enclosed)

    def download(self, tenant: str, connection_id: str, media: RemoteMedia) -> AsyncIterator[bytes]:
        """The content of a file that the provider holds. Raises a SendError, when it is read."""
        return self._live(tenant, connection_id).download(media)

    async def mark_read(self, connection: Connection, target: Target) -> None:
        """Tell the sender of an inbound message that it was read. Raises InvalidInput, or a SendError."""
        self._check_can(connection, READ)
        await self._live(connection.tenant, connection.id).mark_read(target)

    async def typing(self, connection: Connection, peer: str, *, last: Target | None) -> None:
        """Show for some seconds that somebody types. Raises InvalidInput, or a SendError."""
        self._check_can(connection, TYPING)
        await self._live(connection.tenant, connection.id).typing(peer, last=last)

    def _live(self, tenant: str, connection_id: str) -> Transport:
        session = self._manager.get(tenant, connection_id)
        if session is None:
            raise NotConnected("not on this daemon")
        return session.transport

    def _check_can(self, connection: Connection, feature: str) -> None:
        if feature not in self.capabilities(connection):
            raise InvalidInput(FieldError("connection", f"its transport {connection.transport} cannot do: {feature}"))

    async def trace(self, message: Message) -> Trace | None:
        """What became of a send whose answer never came; None: nobody can tell."""
        session = self._manager.get(message.tenant, message.connection_id)
        if session is None or not isinstance(session.transport, Tracing):
            return None
        try:
            return await session.transport.trace(message)
        except SendError:
            return None

    def limits(self, connection: Connection) -> Limits:
        """Its limits beyond the messages a minute, with the defaults of its transport."""
        return connection.limits.over(self._kinds[connection.transport].limits)

    async def resolve(self, connection: Connection, numbers: Sequence[str]) -> Resolved | None:
        """How WhatsApp spells one of these numbers; None: none is there. Raises a SendError."""
        return await self._live(connection.tenant, connection.id).resolve_number(numbers)

    def parse(self, connection: Connection, raw: bytes) -> Sequence[Update]:
        """The updates in a provider's raw bytes. Raises ValueError."""
        return self._kinds[connection.transport].parse(connection, raw)

    def peek(self, connection: Connection, raw: bytes) -> Peek:
        """What kinds of updates a provider's raw bytes hold. Raises ValueError."""
        kind = self._kinds[connection.transport]
        return kind.peek(connection, raw) if kind.peek is not None else peek_of(kind.parse(connection, raw))

    def failure(self, connection: Connection, code: str, said: str) -> SendError | None:
        """What a receipt that says `failed` would have been as the answer to the send; None: nobody knows."""
        return self._kinds[connection.transport].failure(code, said)

    def transport_of(self, tenant: str, connection_id: str) -> TransportName | None:
        """The transport of a connection that runs here or was looked at; for the metrics, so nothing is read."""
        session = self._manager.get(tenant, connection_id)
        if session is not None:
            return session.connection.transport
        known = self._records.remembered(tenant, connection_id)
        return known.transport if known is not None else None
