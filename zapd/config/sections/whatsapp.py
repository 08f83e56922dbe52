"""WhatsApp accounts: their networks, their pace, whom they write to, what they carry."""

from typing import Annotated

from pydantic import Field

from zapd.config.sections.section import Count, Few, Positive, Section, Whole
from zapd.config.values import (
    Duration,
    HttpUrl,
    Integer,
    MaybeUrl,
    Size,
    Words,
)


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
    session_per_minute: Annotated[Integer, Field(ge=1, le=80)] = 25
    """Messages a minute of a connection that names no rate: Z-API itself waits 1 to 3 s between messages."""
    hooks_url: MaybeUrl = ""
    """Where Z-API reaches zapd, such as https://zapd.example.com; zapd then sets the webhooks, else you do."""


class WebConfig(Section):
    """WhatsApp Web: accounts linked by a QR code, in worker processes."""

    sessions_per_worker: Annotated[Integer, Field(ge=1, le=100)] = 12
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
    fetches: Few = 16
    """Files that are fetched at once; more wait for their turn."""
    link_lifetime: Annotated[Duration, Field(gt=0, le=7 * 86_400)] = 3600.0
    """How long a signed link to a file works."""
    public_url: MaybeUrl = ""
    """What stands before the links to files, such as https://zapd.example.com; "" is http:// and http.listen."""
