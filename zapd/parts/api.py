"""HTTP: who may do what, what handlers need, the listener."""

import asyncio
import os
import time
from collections.abc import Callable

from zapd.cron import Cron
from zapd.operations import Operations
from zapd.parts.accounts import Accounts
from zapd.parts.basis import Basis, now_ms
from zapd.parts.engine import Engine
from zapd.parts.hub import Hub
from zapd.parts.jobs import Jobs
from zapd.parts.media import Media
from zapd.parts.messages import Messages
from zapd.parts.privacy import Privacy
from zapd.parts.storage import Storage
from zapd.parts.webhooks import Webhooks
from zapd.state import State
from zapd.telemetry.exposition import Exposition
from zapd.telemetry.metrics import HttpMetrics
from zapd.web import dependencies as need
from zapd.web.application import build
from zapd.web.audit import Audit
from zapd.web.auth import Access
from zapd.web.dashboard.logins import Logins
from zapd.web.dashboard.turns import Turns
from zapd.web.dependencies import Given, JobLimits, SessionPace, given
from zapd.web.keyring import Keyring
from zapd.web.limits import Pace
from zapd.web.server import Server


class Api:
    """The listener with all that stands behind it."""

    def __init__(
        self,
        basis: Basis,
        storage: Storage,
        engine: Engine,
        webhooks: Webhooks,
        accounts: Accounts,
        media: Media,
        messages: Messages,
        hub: Hub,
        jobs: Jobs,
        privacy: Privacy,
        cron: Cron,
        *,
        operations: Operations,
        state: State,
        draining: asyncio.Event,
    ) -> None:
        http = basis.config.http
        keyring = Keyring(
            rows=storage.keys,
            commit=storage.writer.commit,
            ids=basis.ids,
            random_bytes=os.urandom,
            now_ms=now_ms,
            clock=time.monotonic,
        )
        audit = Audit(
            announcer=webhooks.announcer,
            commit=storage.writer.commit,
            now_ms=now_ms,
            pace=pace(60),
            registry=basis.registry,
        )
        application = build(
            given=[
                *of_dashboard(basis, storage, keyring),
                given(need.TENANTS, storage.tenants),
                given(need.PRIVACY, privacy.rules),
                *of_accounts(storage, engine, accounts, messages, operations),
                *of_media(storage, media),
                *of_webhooks(storage, webhooks, operations),
                *of_hub(basis, storage, hub),
                *of_queues(basis, storage, engine, jobs, operations),
                given(need.CRON, cron),
                given(need.SCHEDULES, storage.schedules),
                given(need.SYSTEM, state),
                given(need.METRICS, Exposition(registry=basis.registry).render),
                given(need.KEYRING, keyring),
                given(need.COMMIT, storage.writer.commit),
                given(need.NOW_MS, now_ms),
            ],
            access=access(basis, keyring, audit),
            audit=audit,
            metrics=HttpMetrics(registry=basis.registry),
            ids=basis.ids,
            draining=draining,
            open_metrics=http.loopback_only,
            body_limit=http.body_limit,
            body_timeout=http.body_timeout,
        )
        host, port = http.address
        self.server = Server(app=application, host=host, port=port)


def of_dashboard(basis: Basis, storage: Storage, keyring: Keyring) -> list[Given]:
    """For the pages."""
    logins = Logins(
        rows=storage.logins,
        keyring=keyring,
        commit=storage.writer.commit,
        random_bytes=os.urandom,
        now_ms=now_ms,
        idle=round(basis.config.retention.logins * 1000),
    )
    return [
        given(need.LOGINS, logins),
        given(need.CONVERSATIONS, storage.conversations),
        given(need.COUNTS, storage.messages),
        given(need.TURNS, Turns(clock=time.monotonic, keep=0.9)),
    ]


def of_accounts(
    storage: Storage, engine: Engine, accounts: Accounts, messages: Messages, operations: Operations
) -> list[Given]:
    """For connections, their messages, and the sandbox."""
    return [
        given(need.MESSAGING, messages.messaging),
        given(need.INTAKE, messages.receiver.intake),
        given(need.PROCESS, messages.receiver.process),
        given(need.INBOX, storage.inbox),
        given(need.PRESENCE, messages.presence),
        given(need.BULK, messages.bulk),
        given(need.CONTACTS, messages.contacts),
        given(need.TEMPLATES, messages.templates),
        given(need.LIMITS_LEFT, messages.pace.shown),
        given(need.SESSIONS, accounts.sessions),
        given(need.CAPABILITIES, accounts.wires.capabilities),
        given(need.CONNECTIONS, storage.connections),
        given(need.MESSAGES, storage.messages),
        given(need.NEXT_SEND_AT, operations.next_send_at),
        given(need.SESSION_PACE, session_pace(engine)),
        given(need.SANDBOX, accounts.sandbox),
    ]


def session_pace(engine: Engine) -> Callable[[], SessionPace]:
    """The pace of sessions as it is now: HUP and operators change it."""

    def now() -> SessionPace:
        sends = engine.settings["message:send"]
        return SessionPace(per_minute=round(sends.lane_rate_per_minute or 0), burst=sends.lane_burst)

    return now


def of_media(storage: Storage, media: Media) -> list[Given]:
    """For files of messages."""
    return [
        given(need.LIBRARY, media.library),
        given(need.MEDIA_ROWS, storage.media),
        given(need.MEDIA_LINKS, media.links),
        given(need.MEDIA_PATH, media.files.path),
    ]


def of_webhooks(storage: Storage, webhooks: Webhooks, operations: Operations) -> list[Given]:
    """For events, endpoints and deliveries."""
    return [
        given(need.EVENTS, storage.events),
        given(need.ENDPOINT_ROWS, storage.endpoints),
        given(need.ENDPOINTS, webhooks.endpoints),
        given(need.ENDPOINTS_CHANGED, webhooks.fanout.refresh),
        given(need.ENDPOINT_RENEWED, webhooks.renewed),
        given(need.PINGER, webhooks.pinger),
        given(need.RESENDER, webhooks.resender),
        given(need.PUBLIC_KEYS, webhooks.public_keys),
        given(need.DELIVERIES, storage.deliveries),
        given(need.RETRY_DELIVERY, operations.retry_delivery),
    ]


def of_hub(basis: Basis, storage: Storage, hub: Hub) -> list[Given]:
    """For sources, rules, actions and replay."""
    return [
        given(need.EVENT_INTAKE, hub.intake),
        given(need.INGEST, hub.ingest),
        given(need.QUARANTINE, hub.quarantine),
        given(need.DEFINER, hub.definer),
        given(need.REGISTRY, hub.registry),
        given(need.DESK, hub.desk),
        given(need.ACTOR, hub.actor),
        given(need.REPLAYER, hub.replayer),
        given(need.BACKTEST, hub.backtest),
        given(need.TARGETS, hub.targets),
        given(need.SYNCER, hub.syncer),
        given(need.EVENT_RAW, storage.event_states.raw),
        given(need.HOOK_DEADLINE, basis.config.events.hook_deadline),
    ]


def of_queues(basis: Basis, storage: Storage, engine: Engine, jobs: Jobs, operations: Operations) -> list[Given]:
    """For queues, jobs, dead letters and batches."""
    limits = basis.config.jobs
    return [
        given(need.JOBS, engine.broker),
        given(need.QUEUES, engine.controls.queues),
        given(need.CONTROLS, engine.controls),
        given(need.QUEUE_PACE, engine.rates.pace),
        given(need.ENGINE_SETTINGS, engine.settings),
        given(need.REPRIORITIZE, operations.reprioritize),
        given(need.JOB_LIMITS, JobLimits(payload=limits.payload_limit, body=limits.bulk_limit)),
        given(need.ENQUEUER, jobs.enqueuer),
        given(need.OUTBOX, storage.outbox),
        given(need.DEAD, jobs.dead),
        given(need.BATCHES, jobs.batches),
        given(need.BATCH_ROWS, storage.batches),
        given(need.NOTES, engine.notes),
        given(need.STARTED, engine.started),
    ]


def access(basis: Basis, keyring: Keyring, audit: Audit) -> Access:
    """Who may come in, and how often."""
    limits = basis.config.limits
    return Access(
        keyring=keyring,
        per_key=pace(limits.key_per_minute),
        per_tenant=pace(limits.tenant_per_minute),
        per_address=pace(limits.ip_per_minute),
        wrong_keys=pace(limits.failed_auth_per_minute),
        denied=audit.denied,
        trusted_proxies=basis.config.http.trusted_proxies,
    )


def pace(per_minute: int) -> Pace:
    """A pace whose burst is one minute's worth."""
    return Pace(rate=per_minute / 60, burst=per_minute, clock=time.monotonic)
