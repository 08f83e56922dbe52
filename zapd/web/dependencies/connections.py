"""WhatsApp accounts, and the simulated network."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

from zapd.model.session import Connection
from zapd.sessions.requests import CreateConnection, Created, UpdateConnection
from zapd.store.ledger import LedgerEntry
from zapd.store.templates import Template
from zapd.whatsapp.sandbox_contacts import SandboxContact
from zapd.whatsapp.sandbox_faults import Fault
from zapd.whatsapp.transport import StateChange


class Sessions(Protocol):
    """Connections, as clients act on them."""

    async def create(self, request: CreateConnection) -> Created: ...
    async def update(self, tenant: str, connection_id: str, request: UpdateConnection) -> Connection: ...
    async def close(self, tenant: str, connection_id: str) -> str: ...
    async def pause(self, tenant: str, connection_id: str) -> Connection: ...
    async def resume(self, tenant: str, connection_id: str) -> Connection: ...
    async def pair(self, tenant: str, connection_id: str, *, phone: str | None) -> Connection: ...
    async def logout(self, tenant: str, connection_id: str) -> Connection: ...
    async def hear(self, connection: Connection, change: StateChange | None) -> None: ...


class ConnectionRows(Protocol):
    """The stored connections."""

    async def get(self, tenant: str, connection_id: str) -> Connection | None: ...
    async def listed(self, tenant: str, *, after: str | None, limit: int) -> Sequence[Connection]: ...
    async def not_closed(self, tenant: str, limit: int) -> Sequence[Connection]: ...
    async def named(self, connection_id: str) -> Sequence[Connection]:
        """Those with this id, of all tenants."""


class SandboxAccount(Protocol):
    """One number on the simulated network."""

    async def inbound(self, *, peer: str, type_: str, payload: object) -> str: ...
    async def script(self, faults: Sequence[Fault]) -> None: ...
    def people(self, contacts: Sequence[SandboxContact]) -> None: ...


class Sandbox(Protocol):
    """The simulated network."""

    def account(self, tenant: str, connection_id: str) -> SandboxAccount: ...
    async def ledger(
        self, tenant: str, connection_id: str, *, after: str | None, limit: int
    ) -> Sequence[LedgerEntry]: ...


class Templates(Protocol):
    """What providers said of templates."""

    async def listed(
        self, connection: Connection, *, after: tuple[str, str] | None, limit: int
    ) -> Sequence[Template]: ...
    async def forget(self, connection: Connection, name: str, language: str) -> None: ...
    def refused_now(self, template: Template) -> bool: ...


@dataclass(frozen=True)
class SessionPace:
    """The pace of a session whose connection names none."""

    per_minute: int
    burst: int


SESSIONS = web.AppKey("sessions", Sessions)
#: What the transport of a connection can do.
CAPABILITIES: web.AppKey[Callable[[Connection], frozenset[str]]] = web.AppKey("capabilities")
#: The limits of a connection, and what is left of them.
LIMITS_LEFT: web.AppKey[Callable[[Connection], Awaitable[dict[str, Any]]]] = web.AppKey("limits_left")
TEMPLATES = web.AppKey("templates", Templates)
CONNECTIONS = web.AppKey("connections", ConnectionRows)
SANDBOX = web.AppKey("sandbox", Sandbox)
#: As it is now: a reload or an operator may change it.
SESSION_PACE: web.AppKey[Callable[[], SessionPace]] = web.AppKey("session_pace")
#: When the connection's next message may leave (ms); None: at once.
NEXT_SEND_AT: web.AppKey[Callable[[Connection], Awaitable[int | None]]] = web.AppKey("next_send_at")
