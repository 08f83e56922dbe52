"""The life of a message, built by hand on a real database and a real Redis; jobs are run by the test.

Only the wire is scripted: `Wire` stands where the sessions stand, and says what the test tells it.
"""

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from prometheus_client import CollectorRegistry

from tests.integration.jobs.engine import Engine, settings
from tests.support import FakeClock, make_ids
from tests.support import store as values
from zapd.announce import Announcer
from zapd.contacts import Contacts
from zapd.jobs.epoch import Epoch
from zapd.jobs.job import Discard, Job, Outcome
from zapd.media.downloads import Downloads
from zapd.media.fetch import Fetcher
from zapd.media.files import Files
from zapd.media.library import Library
from zapd.media.links import Links
from zapd.media.metrics import MediaMetrics
from zapd.messaging.again import Again
from zapd.messaging.enclosed import Enclosing
from zapd.messaging.inbound import Inbounds
from zapd.messaging.metrics import MessageMetrics
from zapd.messaging.pace import Pace
from zapd.messaging.people import People
from zapd.messaging.presence import Presence
from zapd.messaging.receipts import Receipts
from zapd.messaging.receive import Receiver
from zapd.messaging.send import Sender
from zapd.messaging.spelling import Spelling
from zapd.messaging.submit import Messaging, Submit, Submitted
from zapd.messaging.templates import Templates
from zapd.messaging.turns import Turns
from zapd.messaging.windows import Windows
from zapd.model.contact import Contact
from zapd.model.message import Message, MessageStatus
from zapd.model.pace import Limits
from zapd.model.session import Connection, OnAmbiguous, SessionState, TransportName
from zapd.model.webhook import Endpoint, Event
from zapd.outbox import Outbox, job_of
from zapd.store.commands import Change
from zapd.store.connections import ConnectionStore
from zapd.store.contacts import ContactStore, PeerStore
from zapd.store.credentials import CredentialStore
from zapd.store.database import Database
from zapd.store.dead_letters import DeadLetterStore
from zapd.store.deliveries import DeliveryStore
from zapd.store.endpoints import EndpointStore
from zapd.store.events import EventStore
from zapd.store.idempotency import IdempotencyStore
from zapd.store.inbox import InboxStore
from zapd.store.media import MediaStore
from zapd.store.messages import MessageStore
from zapd.store.outbox import OutboxStore
from zapd.store.parked import ParkedStore
from zapd.store.reader import Reader
from zapd.store.templates import TemplateStore
from zapd.store.turns import TurnStore
from zapd.store.vault import Vault
from zapd.store.windows import WindowStore
from zapd.store.writer import Writer
from zapd.webhooks.fanout import Fanout
from zapd.webhooks.guard import Guard
from zapd.webhooks.metrics import WebhookMetrics
from zapd.webhooks.resolver import Resolver
from zapd.whatsapp import cloud_errors, content, numbers, sandbox_wire, zapi_errors
from zapd.whatsapp.transport import (
    LOOKUP,
    AliasChange,
    Enclosed,
    Inbound,
    NotConnected,
    Peek,
    Receipt,
    RemoteMedia,
    Resolved,
    SendError,
    SendResult,
    StateChange,
    Target,
    Trace,
    Update,
    peek_of,
)

SEND = "message:send"
QUEUES = (
    SEND,
    "message:receive",
    "message:status",
    "media:download",
    "webhook:delivery",
    "session:init",
    "session:close",
    "maintenance:cleanup",
)
S = MessageStatus


class Wire:
    """The accounts' network. Each send takes the next of `answers`; when none is left, it is taken as `P1`, `P2` …"""

    def __init__(self, *, connections: ConnectionStore, clock: FakeClock) -> None:
        self.up = True
        self.sent: list[Message] = []
        self.enclosed: list[Enclosed] = []
        self.answers: deque[SendResult | Exception] = deque()
        self.parser: Callable[[Connection, bytes], Sequence[Update]] = lambda _, raw: sandbox_wire.parse(raw)
        self.window_seconds: float | None = None
        self.read: list[Target] = []
        self.typed: list[tuple[str, Target | None]] = []
        self.files: deque[bytes | Exception] = deque()  #: what downloads get, in order
        self.traces: Trace | None = None
        self.before_answer: Callable[[Message], Awaitable[None]] | None = None
        self.asked: list[tuple[str, ...]] = []
        self.on_whatsapp: set[str] = set()
        self.lookup_trouble: Exception | None = None
        self.lookups = False
        self._connections = connections
        self._clock = clock

    async def find(self, tenant: str, connection_id: str) -> Connection | None:
        return await self._connections.get(tenant, connection_id)

    def capabilities(self, connection: Connection) -> frozenset[str]:
        return content.EVERYTHING if self.lookups else content.EVERYTHING - {LOOKUP}

    def connected(self, tenant: str, connection_id: str) -> bool:
        return self.up

    def account(self, connection: Connection) -> str:
        return "77"

    async def send(self, message: Message, enclosed: Enclosed) -> SendResult:
        self.sent.append(message)
        self.enclosed.append(enclosed)
        if self.before_answer is not None:
            await self.before_answer(message)
        if not self.answers:
            return SendResult(provider_id=f"P{len(self.sent)}", accepted_at=self._clock.now_ms())
        answer = self.answers.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def trace(self, message: Message) -> Trace | None:
        return self.traces

    async def resolve(self, connection: Connection, numbers: Sequence[str]) -> Resolved | None:
        self.asked.append(tuple(numbers))
        if self.lookup_trouble is not None:
            raise self.lookup_trouble
        found = [number for number in numbers if number in self.on_whatsapp]
        return Resolved(peer=found[0]) if found else None

    def parse(self, connection: Connection, raw: bytes) -> Sequence[Update]:
        return self.parser(connection, raw)

    def peek(self, connection: Connection, raw: bytes) -> Peek:
        return peek_of(self.parser(connection, raw))

    def failure(self, connection: Connection, code: str, said: str) -> SendError | None:
        return cloud_errors.told(code, said) or zapi_errors.told(code, said)

    def check_address(self, connection: Connection, peer: str) -> None:
        pass  # everybody is reached

    def window(self, connection: Connection) -> float | None:
        return self.window_seconds

    async def mark_read(self, connection: Connection, target: Target) -> None:
        self._check_up()
        self.read.append(target)

    async def typing(self, connection: Connection, peer: str, *, last: Target | None) -> None:
        self._check_up()
        self.typed.append((peer, last))

    async def download(self, tenant: str, connection_id: str, media: RemoteMedia) -> AsyncIterator[bytes]:
        self._check_up()
        content = self.files.popleft()
        if isinstance(content, Exception):
            raise content
        yield content

    def _check_up(self) -> None:
        if not self.up:
            raise NotConnected("disconnected")


class World:
    """Parts by name. The outbox commits; `relaying` lets it talk to Redis too."""

    def __init__(self, database: Database, redis_url: str, media_dir: Path) -> None:
        self.media_dir = media_dir
        self.clock = FakeClock()
        self.ids = make_ids(self.clock.now_ms)
        self.database = database
        self.reader = Reader(database=database)
        self.writer = Writer(database=database)
        vault = Vault(keys=[bytes(32)], random_bytes=os.urandom)
        self.connections = ConnectionStore(database=database, reader=self.reader, vault=vault)
        self.credentials = CredentialStore(database=database, reader=self.reader, vault=vault)
        self.messages = MessageStore(database=database, reader=self.reader)
        self.parked = ParkedStore(database=database, reader=self.reader)
        self.events = EventStore(database=database, reader=self.reader)
        self.endpoints = EndpointStore(database=database, reader=self.reader, vault=vault)
        self.deliveries = DeliveryStore(database=database, reader=self.reader)
        self.outbox_rows = OutboxStore(database=database, reader=self.reader)
        self.inbox = InboxStore(reader=self.reader, database=database)
        self.windows = WindowStore(reader=self.reader)
        self.media = MediaStore(database=database, reader=self.reader)
        self.idempotency = IdempotencyStore(reader=self.reader)
        self._build_queues(redis_url)
        self._build_messaging()

    def _build_queues(self, redis_url: str) -> None:
        self.engine = Engine(redis_url, *[settings(name, attempts=5) for name in QUEUES])
        self.outbox = self.another_outbox()

    def another_outbox(self, **changes: Any) -> Outbox:
        """An outbox on the same database and Redis."""
        parts: dict[str, Any] = {
            "writer": self.writer,
            "rows": self.outbox_rows,
            "broker": self.engine.broker,
            "on_dead": lambda job, reason, error: self.sender.dead(job, reason, error),
            "lost_data": Epoch(redis=self.engine.redis, prefix="zapd1", mark=os.urandom(8).hex()).lost,
            "on_lost": self._noop,
            "now_ms": self.clock.now_ms,
        }
        return Outbox(**(parts | changes))

    def _build_messaging(self) -> None:
        self.fanout = Fanout(
            endpoints=self.endpoints,
            deliveries=self.deliveries,
            ids=self.ids,
            priority=3,
            metrics=WebhookMetrics(registry=CollectorRegistry()),
            limit=self._noop,
        )
        self.announcer = Announcer(events=self.events, fan_out=self.fanout.changes, ids=self.ids)
        self.files = Files(directory=self.media_dir, random_bytes=os.urandom)
        guard = Guard(allow_loopback=True)
        self.fetcher = Fetcher(resolver=Resolver(guard=guard), timeout=10.0, at_once=4)
        self.library = Library(
            store=self.media,
            files=self.files,
            fetcher=self.fetcher,
            commit=self.outbox.commit,
            ids=self.ids,
            now_ms=self.clock.now_ms,
            max_size=1024 * 1024,
            metrics=MediaMetrics(registry=CollectorRegistry()),
        )
        self.wire = Wire(connections=self.connections, clock=self.clock)
        commit, now_ms = self.outbox.commit, self.clock.now_ms
        self.registry = CollectorRegistry()
        metrics = MessageMetrics(
            registry=self.registry,
            transports=["sandbox"],
            types=["text"],
            transport_of=lambda _tenant, _connection_id: "sandbox",
        )
        again = Again(
            accounts=self.wire,
            job_of=lambda message, at: self.messaging.send_job(message, at=at),
            ids=self.ids,
            now_ms=now_ms,
        )
        self.receipts = Receipts(
            messages=self.messages,
            parked=self.parked,
            announcer=self.announcer,
            commit=commit,
            now_ms=now_ms,
            metrics=metrics,
            another_try=again.job,
        )
        enclosing = Enclosing(messages=self.messages, files_of=self.library.files_of)
        self.contacts = Contacts(
            rows=ContactStore(database=self.database, reader=self.reader),
            announcer=self.announcer,
            commit=commit,
            ids=self.ids,
            now_ms=now_ms,
        )
        self.peers = PeerStore(database=self.database, reader=self.reader)
        self.limits: dict[str, Limits] = {}
        self.held: list[tuple[str, int]] = []
        self.turns = Turns(
            store=TurnStore(reader=self.reader), windows=self.windows, queued=self.messages.queued, commit=commit
        )
        self.pace = Pace(
            peers=self.peers,
            windows=self.windows,
            limits_of=lambda connection: self.limits.get(connection.id, connection.limits),
            hold=self._hold_new_people,
            turns=self.turns,
            sent_since=self.events.sent_since,
            now_ms=now_ms,
        )
        self.troubles: list[StateChange] = []
        self.templates = Templates(
            accounts=self.wire,
            store=TemplateStore(database=self.database, reader=self.reader),
            announcer=self.announcer,
            commit=commit,
            now_ms=now_ms,
        )
        self.people = People(
            templates=self.templates,
            contacts=self.contacts,
            pace=self.pace,
            accounts=self.wire,
            messages=self.messages,
            commit=commit,
            trouble=self._trouble,
            now_ms=now_ms,
        )
        self.spelling = spelling = Spelling(
            accounts=self.wire,
            peers=self.peers,
            commit=commit,
            per_minute=lambda connection: self.limits.get(connection.id, connection.limits).lookups_per_minute,
            now_ms=now_ms,
            clock=lambda: self.clock.now_ms() / 1000,
        )
        windows = Windows(accounts=self.wire, store=self.windows, now_ms=now_ms)
        self.sender = Sender(
            people=self.people,
            windows=windows,
            pace=self.pace,
            spelling=spelling,
            templates=self.templates,
            accounts=self.wire,
            messages=self.messages,
            receipts=self.receipts,
            enclosing=enclosing,
            announcer=self.announcer,
            commit=commit,
            now_ms=now_ms,
            metrics=metrics,
        )
        self.learnt: list[Inbound | AliasChange] = []
        self.receiver = Receiver(
            people=self.people,
            accounts=self.wire,
            inbox=self.inbox,
            receipts=self.receipts,
            inbounds=self._inbounds(metrics),
            commit=commit,
            ids=self.ids,
            now_ms=now_ms,
        )
        self.presence = Presence(accounts=self.wire, messages=self.messages, windows=self.windows)
        self.messaging = Messaging(
            opted_out=self.contacts.opted_out,
            accounts=self.wire,
            messages=self.messages,
            outbox_rows=self.outbox_rows,
            idempotency=self.idempotency,
            announcer=self.announcer,
            commit=commit,
            cancel_job=self.engine.broker.cancel,
            letter_gone=DeadLetterStore.removed,
            enclosing=enclosing,
            attach=self.library.attach,
            check_window=windows.check,
            check_template=self.templates.check,
            recipient=numbers.recipient,
            check_content=content.validate,
            ids=self.ids,
            now_ms=now_ms,
            metrics=metrics,
        )

    def _inbounds(self, metrics: MessageMetrics) -> Inbounds:
        self.links = Links(keys=[bytes(32)], base_url="http://z", lifetime=60.0, now_ms=self.clock.now_ms)
        self.downloads = Downloads(
            store=self.media,
            files=self.files,
            links=self.links,
            download=self.wire.download,
            announcer=self.announcer,
            commit=self.outbox.commit,
            new_id=self.ids.new,
            now_ms=self.clock.now_ms,
            priority=3,
            max_size=1024 * 1024,
            metrics=MediaMetrics(registry=CollectorRegistry()),
        )
        return Inbounds(
            messages=self.messages,
            windows=self.windows,
            downloads=self.downloads,
            announcer=self.announcer,
            commit=self.outbox.commit,
            on_aliases=self._learn,
            on_preference=lambda connection, told: self.people.prefers(connection, told),
            on_template=lambda connection, told: self.templates.heard(connection, told),
            ids=self.ids,
            now_ms=self.clock.now_ms,
            metrics=metrics,
        )

    async def _learn(self, connection: Connection, update: Inbound | AliasChange) -> Contact | None:
        self.learnt.append(update)
        return await self.people.learn(connection, update)

    async def _hold_new_people(self, connection: Connection, until: int) -> None:
        self.held.append((connection.id, until))
        await self.change(self.connections.new_contacts_held(connection.tenant, connection.id, until))

    async def _trouble(self, connection: Connection, change: StateChange) -> None:
        self.troubles.append(change)

    async def _noop(self, *_: object) -> None:
        return None

    # --- what a test does ---

    async def change(self, *changes: Change) -> None:
        await self.writer.commit_all(changes)

    async def connect(
        self, connection_id: str = "con_1", *, on_ambiguous: OnAmbiguous = OnAmbiguous.RESEND, **changes: Any
    ) -> Connection:
        """A stored connection, connected unless `changes` say otherwise."""
        given = {"transport": TransportName.SANDBOX, "state": SessionState.CONNECTED, "on_ambiguous": on_ambiguous}
        connection = values.connection(connection_id, **(given | changes))
        await self.change(self.connections.added(connection))
        return connection

    async def subscribe(self, *types: str, tenant: str = "default") -> Endpoint:
        """An endpoint that wants these events."""
        endpoint = values.endpoint(types=types, tenant=tenant)
        await self.change(self.endpoints.added(endpoint))
        await self.fanout.refresh()
        return endpoint

    async def submit(self, **changes: Any) -> Submitted:
        given = {"connection_id": "con_1", "to": "5511999998888", "type": "text", "payload": b'{"text":"Oi"}'}
        return await self.messaging.submit(Submit(**({"tenant": "default"} | given | changes)))

    async def message(self, message_id: str, tenant: str = "default") -> Message:
        message = await self.messages.get(tenant, message_id)
        assert message is not None
        return message

    async def status(self, message_id: str) -> MessageStatus:
        return (await self.message(message_id)).status

    async def jobs(self, queue: str) -> list[Job]:
        """The jobs of a queue that SQL answers for."""
        rows = await self.outbox_rows.scan(after=None, created_before=1 << 62, limit=1000)
        return [job_of(row) for row in rows if row.queue == queue]

    async def job(self, submitted: Submitted) -> Job:
        (job,) = [job for job in await self.jobs(SEND) if job.id == submitted.job_id]
        return job

    async def run(self, job: Job) -> Outcome:
        """Let the sender have a job; like the pool, tell it when the job is given up."""
        outcome = await self.sender.send(job)
        if isinstance(outcome, Discard):
            await self.sender.dead(job, outcome.reason, outcome.error)
        return outcome

    async def tell(self, *updates: dict[str, Any], connection: Connection | None = None) -> list[Outcome]:
        """The network tells this in one body; it is read at once, by the jobs that were made for it."""
        await self.intake(*updates, connection=connection)
        return await self.read()

    async def intake(
        self, *updates: dict[str, Any], connection: Connection | None = None, key: str | None = None
    ) -> bool:
        connection = connection or await self.wire.find("default", "con_1")
        assert connection is not None
        return await self.receiver.intake(connection, sandbox_wire.body(updates), key or self.ids.ulid())

    async def read(self) -> list[Outcome]:
        """Run every job that reads what came in, and let their rows go."""
        jobs = [*await self.jobs("message:receive"), *await self.jobs("message:status")]
        outcomes = [await self.receiver.receive(job) for job in jobs]
        await self.change(*[self.outbox_rows.removed(job.tenant, job.id) for job in jobs])
        return outcomes

    # --- what a test looks at ---

    async def story(self, message_id: str) -> list[str]:
        """What the event log says of a message, in its order, without the `message.` before each."""
        return [event.type.removeprefix("message.") for event in await self.events.of_message("default", message_id)]

    async def event(self, message_id: str, event_type: str) -> Event:
        (event,) = [e for e in await self.events.of_message("default", message_id) if e.type == event_type]
        return event


def receipt(status: MessageStatus | str, provider_id: str = "P1", *, at: int = values.NOW, **fields: Any) -> Any:
    """A receipt on the sandbox's wire."""
    return {"kind": "receipt", "id": provider_id, "status": str(status), "at": at, **fields}


def told(status: MessageStatus, provider_id: str = "P1", *, at: int = values.NOW, **fields: Any) -> Receipt:
    """A receipt as the transport gives it."""
    return Receipt(provider_id=provider_id, status=status, at=at, **fields)


def data_of(event: Event) -> dict[str, Any]:
    """The data that receivers get."""
    found: dict[str, Any] = orjson.loads(event.payload)["data"]
    return found


@asynccontextmanager
async def world_on(sqlite_url: str, redis_url: str) -> AsyncIterator[World]:
    """A world on a database that has its tables."""
    database = Database(url=sqlite_url)
    world = World(database, redis_url, Path(sqlite_url.removeprefix("sqlite+aiosqlite:///")).parent / "media")
    services = [
        asyncio.create_task(world.writer.run(), name="writer"),
        asyncio.create_task(world.reader.run(), name="reader"),
    ]
    try:
        yield world
    finally:
        await world.writer.stop()
        await world.reader.stop()
        await asyncio.gather(*services)
        await world.fetcher.close()
        await world.engine.close()
        await database.close()


@asynccontextmanager
async def relaying(outbox: Outbox) -> AsyncIterator[asyncio.Task[None]]:
    """The outbox as the supervisor runs it."""
    task = asyncio.create_task(outbox.run(), name="outbox")
    try:
        yield task
    finally:
        await outbox.stop()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
