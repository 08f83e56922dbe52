"""What is stored of connections: found, moved from state to state, and announced.

The memory here only saves a read per message and is never older than `REMEMBER` seconds.
"""

import time
from collections.abc import Awaitable, Callable

from zapd.announce import Announcement, Announcer, iso, together
from zapd.errors import Conflict, NotFound
from zapd.model.session import SOURCES, Connection, SessionState
from zapd.model.webhook import Severity
from zapd.store.commands import Row
from zapd.store.connections import ConnectionStore
from zapd.whatsapp.manager import ASKED
from zapd.whatsapp.metrics import SessionMetrics
from zapd.whatsapp.transport import QrCode, StateChange

REMEMBER = 5.0  #: seconds; another daemon may change a connection
TROUBLE = frozenset(
    {
        SessionState.LOGGED_OUT,
        SessionState.BANNED,
        SessionState.FAILED,
        SessionState.CLIENT_OUTDATED,
        SessionState.PAUSED,
        SessionState.PASSKEY_REQUIRED,
    }
)


class Records:
    """The stored connections of all tenants."""

    def __init__(
        self,
        *,
        connections: ConnectionStore,
        announcer: Announcer,
        commit: Callable[..., Awaitable[Row | None]],
        now_ms: Callable[[], int],
        metrics: SessionMetrics,
    ) -> None:
        self._connections = connections
        self._announcer = announcer
        self._commit = commit
        self._now_ms = now_ms
        self._metrics = metrics
        self._known: dict[tuple[str, str], tuple[float, Connection]] = {}

    # --- found ---

    async def find(self, tenant: str, connection_id: str) -> Connection | None:
        """The stored connection, at most `REMEMBER` seconds old."""
        known = self._known.get((tenant, connection_id))
        if known is not None and time.monotonic() - known[0] < REMEMBER:
            return known[1]
        connection = await self._connections.get(tenant, connection_id)
        self._known.pop((tenant, connection_id), None)
        if connection is not None and connection.state is not SessionState.CLOSED:  # those only become more and more
            self._known[tenant, connection_id] = (time.monotonic(), connection)
        return connection

    def remembered(self, tenant: str, connection_id: str) -> Connection | None:
        """The same from memory only, however old."""
        known = self._known.get((tenant, connection_id))
        return known[1] if known is not None else None

    async def existing(self, tenant: str, connection_id: str) -> Connection:
        """As it is stored now. Raises NotFound."""
        self._known.pop((tenant, connection_id), None)
        connection = await self.find(tenant, connection_id)
        if connection is None:
            raise NotFound(f"there is no connection {connection_id}")
        return connection

    async def open_one(self, tenant: str, connection_id: str) -> Connection:
        """The same, when it is not closed. Raises NotFound, Conflict."""
        connection = await self.existing(tenant, connection_id)
        if connection.state in (SessionState.CLOSING, SessionState.CLOSED):
            raise Conflict(f"connection {connection_id} is {connection.state}")
        return connection

    # --- changed ---

    async def moved(self, connection: Connection, change: StateChange) -> None:
        """It goes to another state, if the stored one allows it."""
        now = self._now_ms()
        event = self._announcer.announce(
            "connection.state",
            tenant=connection.tenant,
            at=now,
            data={"state": change.state, "reason": change.reason},
            connection_id=connection.id,
            severity=Severity.WARNING if change.state in TROUBLE else Severity.INFO,
        )
        moved = self._connections.moved(
            connection.tenant, connection.id, to=change.state, frm=SOURCES[change.state], reason=change.reason, at=now
        )
        events = together(event, self._alert(connection, change, now)) if _alarming(change) else event
        if await self._commit(moved, *events.changes, jobs=events.jobs) is not None:
            self._metrics.moved(connection.transport, change.state)
        self._known.pop((connection.tenant, connection.id), None)

    def _alert(self, connection: Connection, change: StateChange, now: int) -> Announcement:
        """Somebody must act: this connection does not come back by itself. Its queue is kept."""
        return self._announcer.announce(
            "connection.alert",
            tenant=connection.tenant,
            at=now,
            data={"state": change.state, "reason": change.reason, "label": connection.label},
            connection_id=connection.id,
            severity=Severity.ERROR,
        )

    async def shows(self, connection: Connection, code: QrCode) -> None:
        """A code to scan or to type."""
        event = self._announcer.announce(
            "connection.qr",
            tenant=connection.tenant,
            at=self._now_ms(),
            data={"pairing_code" if code.typed else "qr": code.text},
            connection_id=connection.id,
        )
        shown = self._connections.shown(connection.tenant, connection.id, code.text, code.expires_at, typed=code.typed)
        await self._commit(shown, *event.changes, jobs=event.jobs)

    async def hold_new_contacts(self, connection: Connection, until: int) -> None:
        """Until then (ms) nobody is written to who never wrote. A longer hold stays."""
        latest = await self._connections.get(connection.tenant, connection.id)
        if latest is None or (latest.new_contacts_until or 0) >= until:
            return
        event = self._announcer.announce(
            "connection.restricted",
            tenant=connection.tenant,
            at=self._now_ms(),
            data={"reason": "reachout_restricted", "new_contacts_until": iso(until)},
            connection_id=connection.id,
            severity=Severity.WARNING,
        )
        held = self._connections.new_contacts_held(connection.tenant, connection.id, until)
        await self._commit(held, *event.changes, jobs=event.jobs)
        self._known.pop((connection.tenant, connection.id), None)


def _alarming(change: StateChange) -> bool:
    """Whether a person must act: trouble that nobody asked for."""
    return change.state in TROUBLE and change.reason != ASKED
