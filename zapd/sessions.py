"""The life of a connection: create, start, what its transport tells, pause, resume, close.

The desired state is what the operator asked for, the actual one is what the transport tells. Both are stored; the
memory here only saves a read per message and is never older than `REMEMBER` seconds.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from zapd.announce import Announcement, Announcer, iso, together
from zapd.errors import Conflict, FieldError, InvalidInput, NotFound, Unavailable
from zapd.ids import Ids
from zapd.jobs.job import Done, Job, Outcome
from zapd.model.message import Message
from zapd.model.pace import NO_LIMITS, Limits
from zapd.model.session import Connection, Desired, OnAmbiguous, SessionState, TransportName, key_of, sources
from zapd.model.webhook import Endpoint, Severity
from zapd.store.commands import Change, Row
from zapd.store.connections import ConnectionStore
from zapd.whatsapp.credentials import Credentials
from zapd.whatsapp.manager import ASKED, SessionManager, comes_back
from zapd.whatsapp.metrics import SessionMetrics
from zapd.whatsapp.transport import (
    NOTHING,
    PAIR,
    READ,
    TYPING,
    Enclosed,
    NotConnected,
    Peek,
    QrCode,
    RemoteMedia,
    Resolved,
    SendError,
    SendResult,
    StateChange,
    Target,
    Trace,
    Tracing,
    Transport,
    Update,
    peek_of,
)

INIT, CLOSE, SEND = "session:init", "session:close", "message:send"
INIT_PRIORITY, CLOSE_PRIORITY = 10, 8
PAIRED = frozenset({SessionState.CONNECTED, SessionState.DEGRADED, SessionState.RECONNECTING})
REMEMBER = 5.0  #: seconds; another daemon may change a connection
ON_AMBIGUOUS = {
    TransportName.SANDBOX: OnAmbiguous.RESEND,
    TransportName.CLOUD: OnAmbiguous.VERIFY,
    TransportName.ZAPI: OnAmbiguous.HOLD,
    TransportName.WEB: OnAmbiguous.HOLD,
}
TROUBLE = frozenset(
    {
        SessionState.LOGGED_OUT,
        SessionState.BANNED,
        SessionState.FAILED,
        SessionState.CLIENT_OUTDATED,
        SessionState.PAUSED,
    }
)


@dataclass(frozen=True, kw_only=True)
class CreateConnection:
    """A connection that somebody wants. `config` has the keys of its transport (DESIGN §7)."""

    tenant: str
    transport: TransportName
    label: str
    id: str | None = None
    config: Mapping[str, Any]
    webhook_url: str | None = None
    rate_per_minute: int | None = None
    limits: Limits = NO_LIMITS
    on_ambiguous: OnAmbiguous | None = None


@dataclass(frozen=True, kw_only=True)
class UpdateConnection:
    """What to change of a connection; None and empty stay as they are. `config` is the transport's own settings."""

    label: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    rate_per_minute: int | None = None
    limits: Limits = NO_LIMITS
    on_ambiguous: OnAmbiguous | None = None


@dataclass(frozen=True, kw_only=True)
class Created:
    """`webhook_secret` is shown this once."""

    connection: Connection
    job_id: str
    webhook_secret: str | None


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What one transport can do and needs."""

    capabilities: frozenset[str]
    check_config: Callable[[Mapping[str, Any]], None]  #: raises InvalidInput naming `config.<key>`
    parse: Callable[[Connection, bytes], Sequence[Update]]
    complete: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda config: config  #: adds what zapd makes itself
    rate_per_minute: int | None = None  #: where none is asked for
    #: What `parse` would find, in less time; None: `parse` is asked.
    peek: Callable[[Connection, bytes], Peek] | None = None
    #: Seconds after a contact's message in which one may write freely; None: always.
    window: Callable[[Connection], float | None] = lambda _: None
    limits: Limits = NO_LIMITS  #: where a connection has none of its own


class Sessions:
    """Connections, as the API and the queues see them."""

    def __init__(
        self,
        *,
        connections: ConnectionStore,
        manager: SessionManager,
        kinds: Mapping[TransportName, Kind],
        announcer: Announcer,
        commit: Callable[..., Awaitable[Row | None]],
        new_endpoint: Callable[..., Awaitable[Endpoint]],
        endpoint_added: Callable[[Endpoint], Change],
        endpoints_changed: Callable[[], Awaitable[None]],
        wake_lane: Callable[[str, str], Awaitable[None]],
        limit_lane: Callable[[Connection], Awaitable[None]],
        credentials: Callable[[Connection], Credentials],
        closed: Callable[[Connection], Awaitable[None]],
        progress: Callable[[str, str, float], None],
        ids: Ids,
        now_ms: Callable[[], int],
        metrics: SessionMetrics,
    ) -> None:
        self._progress = progress
        self._connections = connections
        self._manager = manager
        self._kinds = kinds
        self._announcer = announcer
        self._commit = commit
        self._new_endpoint = new_endpoint
        self._endpoint_added = endpoint_added
        self._endpoints_changed = endpoints_changed
        self._wake_lane = wake_lane
        self._limit_lane = limit_lane
        self._credentials = credentials
        self._closed = closed
        self._ids = ids
        self._now_ms = now_ms
        self._metrics = metrics
        self._known: dict[tuple[str, str], tuple[float, Connection]] = {}

    # --- what messaging asks (the Accounts protocol) ---

    async def find(self, tenant: str, connection_id: str) -> Connection | None:
        """The stored connection, at most `REMEMBER` seconds old."""
        known = self._known.get((tenant, connection_id))
        if known is not None and time.monotonic() - known[0] < REMEMBER:
            return known[1]
        connection = await self._connections.get(tenant, connection_id)
        self._known.pop((tenant, connection_id), None)
        if connection is not None:
            self._known[tenant, connection_id] = (time.monotonic(), connection)
        return connection

    def capabilities(self, connection: Connection) -> frozenset[str]:
        """The message types its transport can send."""
        return self._kinds[connection.transport].capabilities

    def window(self, connection: Connection) -> float | None:
        """For how many seconds after a contact's message one may write freely; None: always."""
        return self._kinds[connection.transport].window(connection)

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

    def transport_of(self, tenant: str, connection_id: str) -> TransportName | None:
        """The transport of a connection that runs here or was looked at; for the metrics, so nothing is read."""
        session = self._manager.get(tenant, connection_id)
        if session is not None:
            return session.connection.transport
        known = self._known.get((tenant, connection_id))
        return known[1].transport if known is not None else None

    # --- what a person may do ---

    async def create(self, request: CreateConnection) -> Created:
        """Make a connection and the job that starts it.

        The same id again while it is starting gives the same job; later it is a Conflict. Raises InvalidInput.
        """
        kind = self._kinds.get(request.transport)
        if kind is None:
            names = ", ".join(sorted(self._kinds))
            raise InvalidInput(FieldError("transport", f"this release has {names}; {request.transport} comes later"))
        kind.check_config(request.config)
        now = self._now_ms()
        connection_id = request.id or self._ids.new("con")
        job = self._job(INIT, INIT_PRIORITY, request.tenant, connection_id, now)
        connection = Connection(
            tenant=request.tenant,
            id=connection_id,
            transport=request.transport,
            label=request.label,
            desired=Desired.CONNECTED,
            state=SessionState.CREATED,
            reason=None,
            since=now,
            config=orjson.dumps(dict(kind.complete(request.config))),
            on_ambiguous=request.on_ambiguous or ON_AMBIGUOUS[request.transport],
            rate_per_minute=request.rate_per_minute or kind.rate_per_minute,
            limits=request.limits,
            created_at=now,
            job_id=job.id,
        )
        endpoint, changes = None, []
        if request.webhook_url is not None:
            endpoint = await self._new_endpoint(
                tenant=request.tenant,
                url=request.webhook_url,
                connection_id=connection_id,
                url_field="webhook_url",
            )
            changes.append(self._endpoint_added(endpoint))
        if await self._commit(self._connections.added(connection), *changes, jobs=[job]) is None:
            return await self._created_before(request.tenant, connection_id)
        await self._endpoints_changed()
        return Created(
            connection=connection, job_id=job.id, webhook_secret=endpoint.secrets[0].value if endpoint else None
        )

    async def _created_before(self, tenant: str, connection_id: str) -> Created:
        connection = await self._connections.get(tenant, connection_id)
        if connection is None or connection.state not in (SessionState.CREATED, SessionState.STARTING):
            raise Conflict(f"connection {connection_id} exists already")
        return Created(connection=connection, job_id=connection.job_id or "", webhook_secret=None)

    async def close(self, tenant: str, connection_id: str) -> str:
        """Close for good; returns the id of the job that does it. Messages that still wait stay stored."""
        connection = await self._existing(tenant, connection_id)
        job = self._job(CLOSE, CLOSE_PRIORITY, tenant, connection_id, self._now_ms())
        if connection.state is not SessionState.CLOSED:
            await self._commit(self._connections.desire(tenant, connection_id, Desired.CLOSED), jobs=[job])
            await self._move(connection, StateChange(state=SessionState.CLOSING, reason=ASKED))
        return job.id

    async def pause(self, tenant: str, connection_id: str) -> Connection:
        """Send nothing on this connection until `resume`; what is accepted waits."""
        connection = await self._open_one(tenant, connection_id)
        await self._commit(self._connections.desire(tenant, connection_id, Desired.PAUSED))
        if not await self._manager.pause(tenant, connection_id, ASKED):
            await self._move(connection, StateChange(state=SessionState.PAUSED, reason=ASKED))
        return await self._existing(tenant, connection_id)

    async def resume(self, tenant: str, connection_id: str) -> Connection:
        """Send again. Also starts a connection whose trouble a person has mended."""
        connection = await self._open_one(tenant, connection_id)
        await self._commit(self._connections.desire(tenant, connection_id, Desired.CONNECTED))
        with suppress(Unavailable):  # when Redis loses its data, only what is to be connected gets its rate back
            await self._limit_lane(connection)
        await self._manager.resume(connection)
        return await self._existing(tenant, connection_id)

    async def update(self, tenant: str, connection_id: str, request: UpdateConnection) -> Connection:
        """New settings; what is not given stays. A session whose transport's own settings change connects anew.

        Raises NotFound, Conflict (closed), InvalidInput.
        """
        connection = await self._open_one(tenant, connection_id)
        config = orjson.loads(connection.config) | dict(request.config)
        self._kinds[connection.transport].check_config(config)
        changed = replace(
            connection,
            label=request.label or connection.label,
            config=orjson.dumps(config),
            rate_per_minute=request.rate_per_minute or connection.rate_per_minute,
            on_ambiguous=request.on_ambiguous or connection.on_ambiguous,
            limits=request.limits.over(connection.limits),
        )
        await self._commit(self._connections.updated(changed))
        with suppress(Unavailable):
            await self._limit_lane(changed)
        latest = await self._existing(tenant, connection_id)
        if request.config and connection.desired is Desired.CONNECTED:
            await self._manager.close(tenant, connection_id)
            await self._manager.start(latest)
        return await self._existing(tenant, connection_id)

    async def pair(self, tenant: str, connection_id: str, *, phone: str | None = None) -> Connection:
        """Link the account, anew if it was logged out: a code to scan or, with its phone's number, one to type there.

        Raises Conflict when it is linked, InvalidInput for a transport without pairing, Unavailable.
        """
        connection = await self._open_one(tenant, connection_id)
        if PAIR not in self.capabilities(connection):
            raise Conflict(f"a connection of {connection.transport} is not paired: its config has the credentials")
        if connection.state in PAIRED:
            raise Conflict(f"connection {connection_id} is {connection.state}; log it out first")
        await self._commit(self._connections.desire(tenant, connection_id, Desired.CONNECTED))
        with suppress(Unavailable):
            await self._limit_lane(connection)
        try:
            await self._manager.pair(connection, phone=phone)
        except (SendError, TimeoutError) as error:
            raise Unavailable(f"the pairing did not begin: {error or 'the transport does not answer'}") from error
        return await self._existing(tenant, connection_id)

    async def logout(self, tenant: str, connection_id: str) -> Connection:
        """Unlink the account. Its login is kept aside, messages wait, and `pair` links it again."""
        connection = await self._open_one(tenant, connection_id)
        if PAIR not in self.capabilities(connection):
            raise Conflict(f"a connection of {connection.transport} has no login to give back; pause or delete it")
        await self._commit(self._connections.desire(tenant, connection_id, Desired.LOGGED_OUT))
        if not await self._manager.logout(connection):
            await self._move(connection, StateChange(state=SessionState.LOGGED_OUT, reason=ASKED))
        # Last: a crash before it leaves a login that the provider has ended, and the next start says so.
        await self._credentials(connection).set_aside(ASKED)
        return await self._existing(tenant, connection_id)

    async def _open_one(self, tenant: str, connection_id: str) -> Connection:
        connection = await self._existing(tenant, connection_id)
        if connection.state in (SessionState.CLOSING, SessionState.CLOSED):
            raise Conflict(f"connection {connection_id} is {connection.state}")
        return connection

    # --- handlers of the queues session:init and session:close ---

    async def init(self, job: Job) -> Outcome:
        """Start the session; a session that runs is left alone.

        Progress: 25 its record is read, 50 its pace holds and it starts, 100 it is started; what its wire does from
        then on is its state.
        """
        connection_id = orjson.loads(job.payload)["connection_id"]
        connection = await self._connections.get(job.tenant, connection_id)
        self._progress(job.queue, job.id, 25)
        if connection is not None and connection.desired is Desired.CONNECTED:
            await self._limit_lane(connection)
            self._progress(job.queue, job.id, 50)
            await self._manager.start(connection)
            latest = await self._connections.get(job.tenant, connection_id)
            if latest is not None and latest.desired is Desired.CLOSED:
                return await self.finish_close(job)  # its own job may have run while this one started the session
        self._progress(job.queue, job.id, 100)
        return Done()

    async def finish_close(self, job: Job) -> Outcome:
        """Stop the session and say that it is closed."""
        await self._manager.close(job.tenant, orjson.loads(job.payload)["connection_id"])
        connection = await self._connections.get(job.tenant, orjson.loads(job.payload)["connection_id"])
        if connection is not None:
            await self._closed(connection)
        if connection is not None and connection.state is not SessionState.CLOSED:
            await self._move(connection, StateChange(state=SessionState.CLOSING, reason=ASKED))
            await self._move(
                replace(connection, state=SessionState.CLOSING), StateChange(state=SessionState.CLOSED, reason=ASKED)
            )
        return Done()

    async def init_dead(self, job: Job, reason: str, error: str) -> None:
        """The session could not be started."""
        connection = await self._connections.get(job.tenant, orjson.loads(job.payload)["connection_id"])
        if connection is not None:
            await self._move(connection, StateChange(state=SessionState.FAILED, reason=f"{reason}: {error}"))

    # --- what a transport tells ---

    async def on_state(self, connection: Connection, change: StateChange | QrCode) -> None:
        """Store and announce it."""
        if isinstance(change, QrCode):
            event = self._announcer.announce(
                "connection.qr",
                tenant=connection.tenant,
                at=self._now_ms(),
                data={"pairing_code" if change.typed else "qr": change.text},
                connection_id=connection.id,
            )
            shown = self._connections.shown(
                connection.tenant, connection.id, change.text, change.expires_at, typed=change.typed
            )
            await self._commit(shown, *event.changes, jobs=event.jobs)
            return
        await self._move(connection, change)
        if change.state is SessionState.LOGGED_OUT:
            # The provider ended the login: it can never be used again, and the next pairing makes another.
            await self._credentials(connection).set_aside(change.reason or "logged_out")

    async def hear(self, connection: Connection, change: StateChange | None) -> None:
        """What a provider's webhook says of the line. It brings back a session that gave up waiting for it."""
        session = self._manager.get(connection.tenant, connection.id)
        connected = change is not None and change.state is SessionState.CONNECTED
        if session is None or (session.finished and not connected):
            return
        if not session.finished:
            await session.hear(change)
        elif connection.desired is Desired.CONNECTED and comes_back(replace(connection, reason=None)):
            await self._manager.start(connection)

    async def on_up(self, connection: Connection) -> None:
        """Sends are possible: the messages that waited for it leave at once."""
        await self._wake_lane(SEND, connection.key)

    async def _move(self, connection: Connection, change: StateChange) -> None:
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
            connection.tenant, connection.id, to=change.state, frm=sources(change.state), reason=change.reason, at=now
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

    async def _existing(self, tenant: str, connection_id: str) -> Connection:
        self._known.pop((tenant, connection_id), None)
        connection = await self.find(tenant, connection_id)
        if connection is None:
            raise NotFound(f"there is no connection {connection_id}")
        return connection

    @staticmethod
    def _job(queue: str, priority: int, tenant: str, connection_id: str, now: int) -> Job:
        key = key_of(tenant, connection_id)
        return Job(
            id=f"{queue.replace(':', '-')}-{key}",
            queue=queue,
            payload=orjson.dumps({"connection_id": connection_id}),
            priority=priority,
            created_at=now,
            lane=key,
            tenant=tenant,
        )


def _alarming(change: StateChange) -> bool:
    """Whether a person must act: trouble that nobody asked for."""
    return change.state in TROUBLE and change.reason != ASKED
