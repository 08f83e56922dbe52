"""The life of a connection: create, start, what its transport tells, pause, resume, pair, log out, close.

The desired state is what the operator asked for, the actual one is what the transport tells. Both are stored.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace

import orjson

from zapd.errors import Conflict, Unavailable
from zapd.ids import Ids
from zapd.jobs.job import Done, Job, Outcome
from zapd.model.session import Connection, Desired, SessionState, TransportName, key_of
from zapd.model.webhook import Endpoint
from zapd.sessions.kinds import Kind
from zapd.sessions.records import Records
from zapd.sessions.requests import CreateConnection, Created, UpdateConnection
from zapd.store.commands import Change, Row
from zapd.store.connections import ConnectionStore
from zapd.whatsapp.credentials import Credentials
from zapd.whatsapp.manager import ASKED, SessionManager, comes_back
from zapd.whatsapp.transport import PAIR, QrCode, SendError, StateChange

INIT, CLOSE, SEND = "session:init", "session:close", "message:send"
INIT_PRIORITY, CLOSE_PRIORITY = 10, 8
PAIRED = frozenset({SessionState.CONNECTED, SessionState.DEGRADED, SessionState.RECONNECTING})


class Sessions:
    """Connections, as the API and the queues see them."""

    def __init__(
        self,
        *,
        records: Records,
        connections: ConnectionStore,
        manager: SessionManager,
        kinds: Mapping[TransportName, Kind],
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
    ) -> None:
        self._records = records
        self._connections = connections
        self._manager = manager
        self._kinds = kinds
        self._commit = commit
        self._new_endpoint = new_endpoint
        self._endpoint_added = endpoint_added
        self._endpoints_changed = endpoints_changed
        self._wake_lane = wake_lane
        self._limit_lane = limit_lane
        self._credentials = credentials
        self._closed = closed
        self._progress = progress
        self._ids = ids
        self._now_ms = now_ms

    # --- what a person may do ---

    async def create(self, request: CreateConnection) -> Created:
        """Make a connection and the job that starts it.

        The same id again while it is starting gives the same job; later it is a Conflict. Raises InvalidInput.
        """
        kind = self._kinds[request.transport]
        kind.check_keys(request.config)
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
            on_ambiguous=request.on_ambiguous or kind.on_ambiguous,
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
            return await self._created_before(request, connection_id)
        await self._endpoints_changed()
        return Created(
            connection=connection, job_id=job.id, webhook_secret=endpoint.secrets[0].value if endpoint else None
        )

    async def _created_before(self, request: CreateConnection, connection_id: str) -> Created:
        connection = await self._connections.get(request.tenant, connection_id)
        pending = connection is not None and connection.state in (SessionState.CREATED, SessionState.STARTING)
        if connection is None or not pending or connection.transport is not request.transport:
            closed = connection is not None and connection.desired is Desired.CLOSED
            raise Conflict(f"connection {connection_id} exists already{', closed: take another id' if closed else ''}")
        return Created(connection=connection, job_id=connection.job_id or "", webhook_secret=None)

    async def close(self, tenant: str, connection_id: str) -> str:
        """Close for good; returns the id of the job that does it. Messages that still wait stay stored."""
        connection = await self._records.existing(tenant, connection_id)
        job = self._job(CLOSE, CLOSE_PRIORITY, tenant, connection_id, self._now_ms())
        if connection.state is not SessionState.CLOSED:
            await self._commit(self._connections.desire(tenant, connection_id, Desired.CLOSED), jobs=[job])
            await self._records.moved(connection, StateChange(state=SessionState.CLOSING, reason=ASKED))
        return job.id

    async def pause(self, tenant: str, connection_id: str) -> Connection:
        """Send nothing on this connection until `resume`; what is accepted waits."""
        connection = await self._records.open_one(tenant, connection_id)
        await self._commit(self._connections.desire(tenant, connection_id, Desired.PAUSED))
        if not await self._manager.pause(tenant, connection_id, ASKED):
            await self._records.moved(connection, StateChange(state=SessionState.PAUSED, reason=ASKED))
        return await self._records.existing(tenant, connection_id)

    async def resume(self, tenant: str, connection_id: str) -> Connection:
        """Send again. Also starts a connection whose trouble a person has mended."""
        connection = await self._records.open_one(tenant, connection_id)
        await self._commit(self._connections.desire(tenant, connection_id, Desired.CONNECTED))
        with suppress(Unavailable):  # when Redis loses its data, only what is to be connected gets its rate back
            await self._limit_lane(connection)
        await self._manager.resume(connection)
        return await self._records.existing(tenant, connection_id)

    async def update(self, tenant: str, connection_id: str, request: UpdateConnection) -> Connection:
        """New settings; what is not given stays. A session whose transport's own settings change connects anew.

        Raises NotFound, Conflict (closed), InvalidInput.
        """
        connection = await self._records.open_one(tenant, connection_id)
        config = orjson.loads(connection.config) | dict(request.config)
        self._kinds[connection.transport].check_keys(request.config)
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
        latest = await self._records.existing(tenant, connection_id)
        if request.config and connection.desired is Desired.CONNECTED:
            await self._manager.close(tenant, connection_id)
            await self._manager.start(latest)
        return await self._records.existing(tenant, connection_id)

    async def pair(self, tenant: str, connection_id: str, *, phone: str | None = None) -> Connection:
        """Link the account, anew if it was logged out: a code to scan or, with its phone's number, one to type there.

        Raises Conflict when it is linked, InvalidInput for a transport without pairing, Unavailable.
        """
        connection = await self._records.open_one(tenant, connection_id)
        if PAIR not in self._kinds[connection.transport].capabilities:
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
        return await self._records.existing(tenant, connection_id)

    async def logout(self, tenant: str, connection_id: str) -> Connection:
        """Unlink the account. Its login is kept aside, messages wait, and `pair` links it again."""
        connection = await self._records.open_one(tenant, connection_id)
        if PAIR not in self._kinds[connection.transport].capabilities:
            raise Conflict(f"a connection of {connection.transport} has no login to give back; pause or delete it")
        await self._commit(self._connections.desire(tenant, connection_id, Desired.LOGGED_OUT))
        if not await self._manager.logout(connection):
            await self._records.moved(connection, StateChange(state=SessionState.LOGGED_OUT, reason=ASKED))
        # Last: a crash before it leaves a login that the provider has ended, and the next start says so.
        await self._credentials(connection).set_aside(ASKED)
        return await self._records.existing(tenant, connection_id)

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
            await self._records.moved(connection, StateChange(state=SessionState.CLOSING, reason=ASKED))
            await self._records.moved(
                replace(connection, state=SessionState.CLOSING), StateChange(state=SessionState.CLOSED, reason=ASKED)
            )
        return Done()

    async def init_dead(self, job: Job, reason: str, error: str) -> None:
        """The session could not be started."""
        connection = await self._connections.get(job.tenant, orjson.loads(job.payload)["connection_id"])
        if connection is not None:
            await self._records.moved(connection, StateChange(state=SessionState.FAILED, reason=f"{reason}: {error}"))

    # --- what a transport tells ---

    async def on_state(self, connection: Connection, change: StateChange | QrCode) -> None:
        """Store and announce it."""
        if isinstance(change, QrCode):
            await self._records.shows(connection, change)
            return
        await self._records.moved(connection, change)
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
