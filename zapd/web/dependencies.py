"""What the handlers need, each under a typed key of the application. `parts/api.py` gives them.

The protocols name exactly the methods that handlers call.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, TypeVar

from aiohttp import web

from zapd.enqueue import Taken, Wanted
from zapd.ids import Ids
from zapd.jobs.broker import Pauses
from zapd.jobs.inspect import JobPage, JobView, LanePage, QueueStats, Stranger
from zapd.jobs.job import Job
from zapd.jobs.notes import Noted
from zapd.jobs.rates import QueuePace
from zapd.jobs.settings import QueueSettings as EngineSettings
from zapd.media.links import Links
from zapd.messaging.bulk import BulkRequest
from zapd.messaging.submit import Submit, Submitted
from zapd.model.access import Tenant
from zapd.model.batch import Batch, BatchKind, BatchState, Member, MemberState
from zapd.model.contact import Alias, Contact
from zapd.model.dead_letter import DeadFilter, DeadLetter
from zapd.model.media import Media
from zapd.model.message import Direction, Message, MessageStatus
from zapd.model.schedule import Schedule, Spec
from zapd.model.session import Connection
from zapd.model.webhook import Attempt, BodyFormat, Category, Delivery, DeliveryState, Endpoint, Event, Options
from zapd.sessions import CreateConnection, Created, UpdateConnection
from zapd.store.commands import Change
from zapd.store.dead_letters import Place
from zapd.store.deliveries import LoadedDelivery
from zapd.store.inbox import InboxRow
from zapd.store.ledger import LedgerEntry
from zapd.store.outbox import OutboxRow
from zapd.web.audit import Audit
from zapd.web.auth import Access
from zapd.web.dashboard.logins import Logins
from zapd.web.dashboard.turns import Turns
from zapd.web.keyring import Commit, Keyring
from zapd.web.route import Route
from zapd.webhooks.ping import Pinger
from zapd.webhooks.resend import Resender
from zapd.whatsapp.sandbox_contacts import SandboxContact
from zapd.whatsapp.sandbox_faults import Fault
from zapd.whatsapp.transport import StateChange

T = TypeVar("T")
Given = Callable[[web.Application], None]


def given(key: web.AppKey[T], value: T) -> Given:
    """What handlers find under this key."""

    def give(app: web.Application) -> None:
        app[key] = value

    return give


class JobState(StrEnum):
    """Where a job is, as the API names it."""

    WAITING = "waiting"
    ACTIVE = "active"
    DELAYED = "delayed"
    STAGED = "staged"  #: waits for its turn in its lane
    COMPLETED = "completed"
    DEAD = "dead"


class Messaging(Protocol):
    """Messages, as clients act on them."""

    async def submit(self, request: Submit) -> Submitted: ...
    async def retry(self, tenant: str, message_id: str) -> Message: ...
    async def cancel(self, tenant: str, message_id: str) -> Message: ...


class Presence(Protocol):
    """Read marks and typing."""

    async def mark_read(self, message: Message) -> None: ...
    async def typing(self, tenant: str, connection_id: str, peer: str) -> None: ...


class InboxRows(Protocol):
    """What providers sent."""

    async def get(self, tenant: str, inbox_id: str) -> InboxRow | None: ...
    async def listed(
        self, tenant: str, *, connection_id: str | None, failed: bool | None, after: str | None, limit: int
    ) -> Sequence[InboxRow]: ...


class BulkSends(Protocol):
    """Many messages at once."""

    async def submit(self, request: BulkRequest) -> tuple[list[dict[str, Any]], bool]: ...


class People(Protocol):
    """Contacts."""

    async def get(self, tenant: str, contact_id: str) -> Contact: ...
    async def listed(
        self, tenant: str, *, opted_out: bool | None, found: str | None, after: str | None, limit: int
    ) -> Sequence[Contact]: ...
    async def create(self, tenant: str, aliases: Sequence[Alias], *, name: str | None) -> Contact: ...
    async def rename(self, tenant: str, contact_id: str, name: str | None) -> Contact: ...
    async def opt_out(self, tenant: str, contact_id: str, *, by: str) -> Contact: ...
    async def opt_in(self, tenant: str, contact_id: str, *, by: str) -> Contact: ...
    async def delete(self, tenant: str, contact_id: str) -> None: ...
    async def merge(self, tenant: str, contact_id: str, other_id: str) -> Contact: ...


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
    def capabilities(self, connection: Connection) -> frozenset[str]: ...


class ConnectionRows(Protocol):
    """The stored connections."""

    async def get(self, tenant: str, connection_id: str) -> Connection | None: ...
    async def listed(self, tenant: str, *, after: str | None, limit: int) -> Sequence[Connection]: ...
    async def named(self, connection_id: str) -> Sequence[Connection]:
        """Those with this id, of all tenants."""


class MessageRows(Protocol):
    """The stored messages."""

    async def get(self, tenant: str, message_id: str) -> Message | None: ...
    async def history(
        self,
        tenant: str,
        connection_id: str,
        *,
        direction: Direction | None,
        status: MessageStatus | None,
        after: str | None,
        limit: int,
    ) -> Sequence[Message]: ...


class EventRows(Protocol):
    """The event log."""

    async def get(self, tenant: str, event_id: str) -> Event | None: ...
    async def listed(
        self,
        tenant: str,
        *,
        type: str | None,
        category: Category | None,
        connection_id: str | None,
        source: str | None = None,
        since: int | None = None,
        until: int | None = None,
        after: str | None,
        limit: int,
    ) -> Sequence[Event]: ...
    async def of_message(self, tenant: str, message_id: str) -> Sequence[Event]: ...
    async def after(self, seq: int, limit: int, tenant: str) -> Sequence[Event]: ...
    async def last_seq(self) -> int: ...


class EndpointRows(Protocol):
    """The stored endpoints."""

    def added(self, endpoint: Endpoint) -> Change: ...
    def updated(self, endpoint: Endpoint) -> Change: ...
    def deleted(self, tenant: str, endpoint_id: str) -> Change: ...
    def unnumbered(self, tenant: str, endpoint_id: str) -> Change: ...
    async def get(self, tenant: str, endpoint_id: str) -> Endpoint | None: ...
    async def listed(self, tenant: str, *, after: str | None, limit: int) -> Sequence[Endpoint]: ...


class EndpointRules(Protocol):
    """Makes and changes endpoints; stores nothing."""

    async def made(
        self,
        *,
        tenant: str,
        url: str,
        types: Sequence[str],
        connection_id: str | None,
        format: BodyFormat,
        headers: Mapping[str, str],
        secret: str | None,
        signing: Sequence[str],
        options: Options,
    ) -> Endpoint: ...
    async def changed(
        self,
        endpoint: Endpoint,
        *,
        url: str | None,
        types: Sequence[str] | None,
        headers: Mapping[str, str] | None,
        enabled: bool | None,
        options: Mapping[str, Any],
    ) -> Endpoint: ...
    def rotated(self, endpoint: Endpoint, *, secret: str | None, overlap: float) -> Endpoint: ...
    def without_old_secrets(self, endpoint: Endpoint, *, force: bool) -> Endpoint: ...


class DeliveryRows(Protocol):
    """The stored deliveries."""

    async def get(self, tenant: str, delivery_id: str) -> Delivery | None: ...
    async def load(self, tenant: str, delivery_id: str) -> LoadedDelivery | None: ...
    async def events_after(
        self, tenant: str, endpoint_id: str, seq: int, limit: int
    ) -> Sequence[tuple[int, Delivery, Event]]: ...
    async def listed(
        self,
        tenant: str,
        *,
        endpoint_id: str | None,
        state: DeliveryState | None,
        after: str | None,
        limit: int,
    ) -> Sequence[Delivery]: ...
    async def of_message(self, tenant: str, message_id: str) -> Sequence[Delivery]: ...
    async def attempts(self, tenant: str, delivery_id: str) -> Sequence[Attempt]: ...


class Jobs(Protocol):
    """The queues in Redis."""

    async def stats(self, queue: str) -> QueueStats: ...
    async def job(self, queue: str, job_id: str) -> JobView | None: ...
    async def list_jobs(self, queue: str, state: str, after: str | None, limit: int) -> JobPage: ...
    async def lanes(self, queue: str, after: str | None, limit: int) -> LanePage: ...
    async def quarantine(self, queue: str, limit: int) -> list[Stranger]: ...
    async def clean(self, queue: str) -> tuple[int, int]:
        """Drops what is past its retention: how many completed and dead jobs."""


class Enqueuer(Protocol):
    """The way into and out of own queues."""

    async def add(self, wanted: Sequence[Wanted]) -> Sequence[Taken]: ...
    async def take_back(self, tenant: str, job_id: str) -> OutboxRow | None: ...


class LiveJobs(Protocol):
    """The jobs that have not ended, as SQL knows them."""

    async def get(self, tenant: str, job_id: str) -> OutboxRow | None: ...


class JobNotes(Protocol):
    """What jobs tell of themselves."""

    async def of(self, queue: str, job_id: str) -> Noted: ...


class DeadLetters(Protocol):
    """Jobs that were given up."""

    async def get(self, tenant: str, letter_id: str) -> DeadLetter | None: ...
    async def listed(
        self, tenant: str, wanted: DeadFilter, *, after: Place | None, limit: int
    ) -> Sequence[DeadLetter]: ...
    def every(self, tenant: str, wanted: DeadFilter) -> AsyncIterator[DeadLetter]: ...
    async def count(self, tenant: str, wanted: DeadFilter) -> int: ...
    async def by_queue(self) -> Mapping[str, int]: ...
    async def edit(self, tenant: str, letter_id: str, payload: bytes) -> DeadLetter: ...
    async def retry(self, letter: DeadLetter) -> None: ...
    async def retry_all(
        self, tenant: str, wanted: DeadFilter, *, most: int, rate: float | None
    ) -> tuple[int, int, int]: ...
    async def drop(self, letter: DeadLetter) -> bool: ...
    async def purge(self, tenant: str, wanted: DeadFilter, *, most: int) -> int: ...
    async def clean(self, queue: str) -> int: ...


class Batches(Protocol):
    """Makes batches and chains."""

    async def create(
        self, tenant: str, batch_id: str | None, kind: BatchKind, jobs: Sequence[Job], callback: bytes | None
    ) -> Batch: ...


class BatchRows(Protocol):
    """The stored batches."""

    async def get(self, tenant: str, batch_id: str) -> Batch | None: ...
    async def counts(self, tenant: str, batch_id: str) -> Mapping[MemberState, int]: ...
    async def listed(
        self, tenant: str, *, state: BatchState | None, after: str | None, limit: int
    ) -> Sequence[Batch]: ...
    async def members(self, tenant: str, batch_id: str, *, after: int, limit: int) -> Sequence[Member]: ...


class Cron(Protocol):
    """What happens by the clock."""

    async def create(self, tenant: str, schedule_id: str | None, spec: Spec, *, paused: bool) -> Schedule: ...
    async def update(self, schedule: Schedule, spec: Spec) -> Schedule: ...
    async def pause(self, schedule: Schedule, *, paused: bool) -> Schedule: ...
    async def delete(self, schedule: Schedule) -> None: ...
    async def fire_now(self, schedule: Schedule) -> str: ...


class ScheduleRows(Protocol):
    """The stored schedules."""

    async def get(self, tenant: str, schedule_id: str) -> Schedule | None: ...
    async def listed(self, tenant: str, *, after: str | None, limit: int) -> Sequence[Schedule]: ...


@dataclass(frozen=True)
class JobLimits:
    """Bytes: one payload, and a whole body with jobs."""

    payload: int
    body: int


class Controls(Protocol):
    """What operators change while zapd runs."""

    @property
    def max_in_flight(self) -> int: ...
    def changed(self, queue: str) -> Mapping[str, Any]: ...
    def pauses(self) -> Mapping[str, Pauses]: ...
    async def change(self, queue: str, changes: Mapping[str, Any]) -> None: ...
    async def limit_all(self, max_in_flight: int | None) -> None: ...
    async def pause(
        self, queue: str, *, kind: str | None = None, lane: str | None = None, paused: bool = True
    ) -> None: ...
    async def pause_all(self, *, paused: bool = True) -> None: ...


class QueueSettings(Protocol):
    """What the API shows of a queue's configuration. `action`: empty for zapd's own queues."""

    @property
    def priority(self) -> int: ...
    @property
    def concurrency(self) -> int: ...
    @property
    def max_concurrency(self) -> int: ...
    @property
    def attempts(self) -> int: ...
    @property
    def action(self) -> str: ...
    @property
    def kinds(self) -> Sequence[str]: ...
    @property
    def unique_policy(self) -> str: ...
    @property
    def unique_for(self) -> float | None: ...


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


class Library(Protocol):
    """Takes files in."""

    async def upload(
        self, tenant: str, chunks: AsyncIterator[bytes], *, mime: str | None, filename: str | None
    ) -> Media: ...


class MediaRows(Protocol):
    """The stored records of files."""

    async def get(self, tenant: str, media_id: str) -> Media | None: ...


class System(Protocol):
    """The daemon."""

    def services(self) -> Mapping[str, Mapping[str, Any]]:
        """Per part: `up`, `restarts`, `failed` (why, or None)."""

    def not_ready(self) -> str | None:
        """Why the daemon takes no part at the moment; None: it does."""

    async def status(self) -> Mapping[str, Any]:
        """The whole state, as JSON."""


class ConversationRows(Protocol):
    """The messages, by contact."""

    async def listed(self, tenant: str, connection_id: str, limit: int) -> Sequence[Message]: ...
    async def thread(self, tenant: str, connection_id: str, peer: str, limit: int) -> Sequence[Message]: ...


class TenantRows(Protocol):
    """The tenants."""

    def ensured(self, tenant: str, name: str, at: int) -> Change: ...
    async def get(self, tenant: str) -> Tenant | None: ...
    async def listed(self, *, after: str | None, limit: int) -> Sequence[Tenant]: ...


class Privacy(Protocol):
    """What the law asks for."""

    async def export(self, tenant: str, peers: Sequence[str]) -> dict[str, Any]: ...
    async def erase(self, tenant: str, peers: Sequence[str]) -> dict[str, int]: ...
    async def erase_tenant(self, tenant: str) -> str: ...
    async def rotate(self) -> str: ...
    async def rotation(self) -> Mapping[str, Any]: ...


class Counts(Protocol):
    """How many messages are in the states that somebody must look at."""

    async def attention_counts(self, tenant: str) -> Mapping[MessageStatus, int]: ...


@dataclass
class Viewers:
    """How many event streams are open."""

    count: int = 0


@dataclass(frozen=True)
class SessionPace:
    """The pace of a session whose connection names none."""

    per_minute: int
    burst: int


MESSAGING = web.AppKey("messaging", Messaging)
PRESENCE = web.AppKey("presence", Presence)
INBOX = web.AppKey("inbox", InboxRows)
SESSIONS = web.AppKey("sessions", Sessions)
BULK = web.AppKey("bulk", BulkSends)
CONTACTS = web.AppKey("contacts", People)
#: The limits of a connection, and what is left of them.
LIMITS_LEFT: web.AppKey[Callable[[Connection], Awaitable[dict[str, Any]]]] = web.AppKey("limits_left")
CONNECTIONS = web.AppKey("connections", ConnectionRows)
MESSAGES = web.AppKey("messages", MessageRows)
EVENTS = web.AppKey("events", EventRows)
ENDPOINT_ROWS = web.AppKey("endpoint_rows", EndpointRows)
ENDPOINTS = web.AppKey("endpoints", EndpointRules)
DELIVERIES = web.AppKey("deliveries", DeliveryRows)
JOBS = web.AppKey("jobs", Jobs)
JOB_LIMITS = web.AppKey("job_limits", JobLimits)
ENQUEUER = web.AppKey("enqueuer", Enqueuer)
OUTBOX = web.AppKey("outbox", LiveJobs)
DEAD = web.AppKey("dead", DeadLetters)
BATCHES = web.AppKey("batches", Batches)
BATCH_ROWS = web.AppKey("batch_rows", BatchRows)
CRON = web.AppKey("cron", Cron)
SCHEDULES = web.AppKey("schedules", ScheduleRows)
NOTES = web.AppKey("notes", JobNotes)
CONTROLS = web.AppKey("controls", Controls)
KEYRING = web.AppKey("keyring", Keyring)
ACCESS = web.AppKey("access", Access)
AUDIT = web.AppKey("audit", Audit)
TENANTS = web.AppKey("tenants", TenantRows)
LOGINS = web.AppKey("logins", Logins)
CONVERSATIONS = web.AppKey("conversations", ConversationRows)
PRIVACY = web.AppKey("privacy", Privacy)
COUNTS = web.AppKey("counts", Counts)
TURNS = web.AppKey("turns", Turns)
PAGE_VIEWERS = web.AppKey("page_viewers", Viewers)
SANDBOX = web.AppKey("sandbox", Sandbox)
LIBRARY = web.AppKey("library", Library)
MEDIA_ROWS = web.AppKey("media_rows", MediaRows)
MEDIA_LINKS = web.AppKey("media_links", Links)
SYSTEM = web.AppKey("system", System)
IDS = web.AppKey("ids", Ids)
SESSION_PACE = web.AppKey("session_pace", SessionPace)
DRAINING = web.AppKey("draining", asyncio.Event)  #: set when the daemon drains: streams end
VIEWERS = web.AppKey("viewers", Viewers)
QUEUES: web.AppKey[Mapping[str, QueueSettings]] = web.AppKey("queues")
ROUTES: web.AppKey[tuple[Route, ...]] = web.AppKey("routes")
NOW_MS: web.AppKey[Callable[[], int]] = web.AppKey("now_ms")
#: (hash of a content) → where it is.
MEDIA_PATH: web.AppKey[Callable[[str], Path]] = web.AppKey("media_path")
#: `Writer.commit`
COMMIT: web.AppKey[Commit] = web.AppKey("commit")
#: Refreshes the memory of endpoints after a change.
ENDPOINTS_CHANGED: web.AppKey[Callable[[], Awaitable[None]]] = web.AppKey("endpoints_changed")
PINGER = web.AppKey("pinger", Pinger)
RESENDER = web.AppKey("resender", Resender)
#: An endpoint was changed: it gets a new chance at once.
ENDPOINT_RENEWED: web.AppKey[Callable[[Endpoint], Awaitable[None]]] = web.AppKey("endpoint_renewed")
#: The public keys in use, of all endpoints or of one.
PUBLIC_KEYS: web.AppKey[Callable[[str | None], Awaitable[Sequence[str]]]] = web.AppKey("public_keys")
#: (connection, raw bytes, provider key) → False: they came before. Raises ValueError when not of the provider.
INTAKE: web.AppKey[Callable[[Connection, bytes, str], Awaitable[bool]]] = web.AppKey("intake")
#: (tenant, inbox id) → the jobs that read the row once more.
PROCESS: web.AppKey[Callable[[str, str], Awaitable[list[str]]]] = web.AppKey("process")
#: (tenant, delivery id) → the delivery, queued again.
RETRY_DELIVERY: web.AppKey[Callable[[str, str], Awaitable[Delivery]]] = web.AppKey("retry_delivery")
#: (queue, job id) → for how many seconds the job runs on this daemon; None: it does not.
STARTED: web.AppKey[Callable[[str, str], float | None]] = web.AppKey("started")
#: (tenant, queue, job id, priority) → False: it runs; None: there is none. Changes the outbox row too.
REPRIORITIZE: web.AppKey[Callable[[str, str, str, int], Awaitable[bool | None]]] = web.AppKey("reprioritize")
#: (queue, its numbers) → how fast jobs come and go.
QUEUE_PACE: web.AppKey[Callable[[str, QueueStats], QueuePace]] = web.AppKey("queue_pace")
#: queue → the settings that the engine goes by now.
ENGINE_SETTINGS: web.AppKey[Mapping[str, EngineSettings]] = web.AppKey("engine_settings")
#: When the connection's next message may leave (ms); None: at once.
NEXT_SEND_AT: web.AppKey[Callable[[Connection], Awaitable[int | None]]] = web.AppKey("next_send_at")
#: (Accept header) → body and content type of the metrics.
METRICS: web.AppKey[Callable[[str], Awaitable[tuple[bytes, str]]]] = web.AppKey("metrics")
