"""A session: one WhatsApp account, its states and their legal transitions. In the API it is a *connection*."""

from collections.abc import Mapping
from enum import StrEnum

from zapd.model.access import among_tenants
from zapd.model.pace import NO_LIMITS, Limits
from zapd.model.transitions import sources_of
from zapd.records import record


class TransportName(StrEnum):
    """The wire below a session."""

    SANDBOX = "sandbox"
    CLOUD = "cloud"
    ZAPI = "zapi"
    WEB = "web"


class OnAmbiguous(StrEnum):
    """What to do with a message of which nobody knows whether it left."""

    RESEND = "resend"
    HOLD = "hold"
    VERIFY = "verify"  #: wait up to 60 s for a receipt that proves it left, then resend


class SessionState(StrEnum):
    """Where a session is; the reason stands beside it."""

    CREATED = "created"
    STARTING = "starting"
    QR_PENDING = "qr_pending"
    PASSKEY_REQUIRED = "passkey_required"
    CONNECTED = "connected"
    DEGRADED = "degraded"
    RECONNECTING = "reconnecting"
    PAUSED = "paused"
    CLIENT_OUTDATED = "client_outdated"
    LOGGED_OUT = "logged_out"
    BANNED = "banned"
    CLOSING = "closing"
    CLOSED = "closed"
    FAILED = "failed"


class Desired(StrEnum):
    """What the operator wants of a session."""

    CONNECTED = "connected"
    PAUSED = "paused"
    CLOSED = "closed"
    LOGGED_OUT = "logged_out"  #: unlinked on purpose, until somebody pairs it again


T = SessionState
_STOPPABLE = {T.PAUSED, T.CLOSING, T.FAILED, T.LOGGED_OUT, T.BANNED, T.CLIENT_OUTDATED, T.STARTING}

TRANSITIONS: Mapping[SessionState, frozenset[SessionState]] = {
    T.CREATED: frozenset({T.STARTING, T.CLOSING, T.FAILED, T.PAUSED, T.LOGGED_OUT}),
    T.STARTING: frozenset({T.QR_PENDING, T.PASSKEY_REQUIRED, T.CONNECTED, T.RECONNECTING, *_STOPPABLE}),
    T.QR_PENDING: frozenset({T.CONNECTED, T.PASSKEY_REQUIRED, T.RECONNECTING, *_STOPPABLE}),
    T.PASSKEY_REQUIRED: frozenset({T.CONNECTED, T.QR_PENDING, T.RECONNECTING, *_STOPPABLE}),
    T.CONNECTED: frozenset({T.DEGRADED, T.RECONNECTING, *_STOPPABLE}),
    T.DEGRADED: frozenset({T.CONNECTED, T.RECONNECTING, *_STOPPABLE}),
    T.RECONNECTING: frozenset({T.CONNECTED, T.QR_PENDING, T.DEGRADED, *_STOPPABLE}),
    T.PAUSED: frozenset({T.STARTING, T.CONNECTED, T.CLOSING, T.FAILED, T.LOGGED_OUT}),
    T.CLIENT_OUTDATED: frozenset({T.STARTING, T.CLOSING, T.LOGGED_OUT}),
    T.LOGGED_OUT: frozenset({T.STARTING, T.CLOSING}),
    T.BANNED: frozenset({T.STARTING, T.CLOSING, T.LOGGED_OUT}),
    T.CLOSING: frozenset({T.CLOSED, T.STARTING}),
    T.CLOSED: frozenset({T.STARTING}),
    T.FAILED: frozenset({T.STARTING, T.CLOSING, T.LOGGED_OUT}),
}

#: From which states a session may move to each one.
SOURCES = sources_of(TRANSITIONS)


@record
class Connection:
    """The stored record of a session. Times in milliseconds since 1970 UTC."""

    tenant: str
    id: str
    transport: TransportName
    label: str
    desired: Desired
    state: SessionState
    reason: str | None
    since: int
    config: bytes  #: JSON of the transport's own settings, secrets among them; sealed in the store
    on_ambiguous: OnAmbiguous
    rate_per_minute: int | None  #: None: the daemon's default
    created_at: int
    job_id: str | None = None
    qr: str | None = None
    qr_expires_at: int | None = None
    pairing_code: str | None = None  #: to type on the phone instead of scanning `qr`
    pairing_code_expires_at: int | None = None
    limits: Limits = NO_LIMITS  #: its own; the transport's defaults stand where it has none
    new_contacts_until: int | None = None  #: until then nobody is written to who never wrote

    @property
    def key(self) -> str:
        """Its name among all tenants: see `key_of`."""
        return key_of(self.tenant, self.id)


def key_of(tenant: str, connection_id: str) -> str:
    """A connection's name among all tenants: its lane, and its place in memory. Ids never hold a slash."""
    return among_tenants(tenant, connection_id)
