"""WhatsApp accounts: the transports, and the sessions on them."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import orjson

from zapd.backoff import Backoff
from zapd.config import Config
from zapd.media.uploads import ConnectionUploads
from zapd.model.pace import Limits
from zapd.model.session import Connection, OnAmbiguous, TransportName
from zapd.parts import zapi
from zapd.parts.basis import Basis, now_ms
from zapd.parts.engine import Engine
from zapd.parts.network import Network
from zapd.parts.storage import Storage
from zapd.parts.webhooks import Webhooks
from zapd.parts.whatsapp_web import WEB, WhatsAppWeb
from zapd.sessions.kinds import Kind
from zapd.sessions.lives import Sessions
from zapd.sessions.records import Records
from zapd.sessions.wires import Wires
from zapd.whatsapp import cloud, cloud_body, cloud_errors, sandbox_wire
from zapd.whatsapp.cloud import CloudConfig, CloudTransport
from zapd.whatsapp.credentials import SqlCredentials
from zapd.whatsapp.manager import Pulse, SessionManager
from zapd.whatsapp.metrics import SessionMetrics
from zapd.whatsapp.sandbox import SandboxTransport
from zapd.whatsapp.sandbox_contacts import SandboxSettings
from zapd.whatsapp.sandbox_ledger import SqlLedger
from zapd.whatsapp.sandbox_network import SandboxNetwork
from zapd.whatsapp.zapi import ZapiTransport


def check_cloud_config(config: Mapping[str, Any]) -> None:
    """Raises InvalidInput naming every wrong key."""
    CloudConfig.read(orjson.dumps(dict(config)))


def check_sandbox_config(config: Mapping[str, Any]) -> None:
    """Raises InvalidInput naming every wrong key."""
    SandboxSettings.read(orjson.dumps(dict(config)))


SANDBOX = Kind(
    capabilities=SandboxTransport.capabilities,
    on_ambiguous=OnAmbiguous.RESEND,
    check_config=check_sandbox_config,
    parse=lambda _connection, raw: sandbox_wire.parse(raw),
    peek=lambda _connection, raw: sandbox_wire.peek(raw),
)
CLOUD = Kind(
    capabilities=CloudTransport.capabilities,
    on_ambiguous=OnAmbiguous.VERIFY,
    limits=Limits(recipient_per_minute=10, recipient_burst=45),  # Meta's pair rate, wire facts §1.10
    check_config=check_cloud_config,
    settings=frozenset(CloudConfig.model_fields),
    parse=lambda connection, raw: cloud.parse(CloudConfig.read(connection.config), raw),
    peek=lambda connection, raw: cloud.peek(CloudConfig.read(connection.config), raw),
    window=lambda connection: cloud.window(CloudConfig.read(connection.config)),
    account=lambda connection: cloud.account(CloudConfig.read(connection.config)),
    address=cloud_body.whom,
    failure=cloud_errors.told,
)


def kinds_of(config: Config) -> Mapping[TransportName, Kind]:
    """What each transport can do and needs."""
    return {
        TransportName.SANDBOX: SANDBOX,
        TransportName.CLOUD: CLOUD,
        TransportName.ZAPI: zapi.kind_of(config),
        TransportName.WEB: replace(WEB, limits=zapi.unofficial(config)),
    }


CLOUD_LOOKS = 900.0  #: seconds; a probe of the Cloud API is a request against the app's hourly limit
KINDS = tuple(TransportName)  #: all that there are


class Accounts:
    """The sessions and what they stand on.

    `intake` keeps the bytes that a transport hands up: (connection, raw, key that drops a repetition); `fetch` gives
    the content of a URL that a provider told, from vetted addresses only; `forget` hears of connections that closed.
    """

    def __init__(
        self,
        basis: Basis,
        storage: Storage,
        network: Network,
        engine: Engine,
        webhooks: Webhooks,
        *,
        intake: Callable[[Connection, bytes, str], Awaitable[bool]],
        limit_lane: Callable[[Connection], Awaitable[None]],
        fetch: Callable[[str], AsyncIterator[bytes]],
        read_media: Callable[[str, str], AsyncIterator[bytes]],
        forget: Callable[[Connection], None],
    ) -> None:
        self._read_media, self._forget = read_media, forget
        self._cloud, self._network, self._intake, self._ids = basis.config.cloud, network, intake, basis.ids
        self._zapi, self._fetch = basis.config.zapi, fetch
        self._commit, self._logins = storage.writer.commit, storage.credentials
        self._media = storage.media
        self._uploads_good_for = basis.config.retention.media_uploads
        sandbox = basis.config.sandbox
        self.sandbox = SandboxNetwork(
            ledger=SqlLedger(store=storage.ledger, writer=storage.writer),
            now_ms=now_ms,
            ids=basis.ids,
            pair_after=sandbox.pair_after,
            latency=sandbox.latency,
            auto_reply=sandbox.auto_reply,
        )
        self.web = WhatsAppWeb(basis, vault=storage.vault, credentials=self.credentials)
        self.metrics = SessionMetrics(registry=basis.registry, transports=list(KINDS))
        self.manager = SessionManager(
            transports={
                TransportName.SANDBOX: self._sandbox_transport,
                TransportName.CLOUD: self._cloud_transport,
                TransportName.ZAPI: self._zapi_transport,
                TransportName.WEB: self.web.transport,
            },
            wanted=storage.connections.wanted,
            on_state=lambda connection, change: self.sessions.on_state(connection, change),
            on_raw=self._take_raw,
            on_up=lambda connection: self.sessions.on_up(connection),
            random=random.random,
            calls=self.metrics.calls,
            start_gap=basis.config.sessions.start_gap,
            reconnect=Backoff(base=1.0, factor=2.0, cap=basis.config.sessions.reconnect_cap, jitter=0.0),
            pair_within=basis.config.sessions.pair_within,
            pulse=pulse(basis.config),
        )
        self.metrics.quiet = self.manager.quiet
        records = Records(
            connections=storage.connections,
            announcer=webhooks.announcer,
            commit=engine.outbox.commit,
            now_ms=now_ms,
            metrics=self.metrics,
        )
        kinds = kinds_of(basis.config)
        self.hold_new_contacts = records.hold_new_contacts
        self.wires = Wires(records=records, manager=self.manager, kinds=kinds)
        self.sessions = Sessions(
            records=records,
            connections=storage.connections,
            manager=self.manager,
            kinds=kinds,
            commit=engine.outbox.commit,
            new_endpoint=webhooks.endpoints.made,
            endpoint_added=storage.endpoints.added,
            endpoints_changed=webhooks.fanout.refresh,
            wake_lane=engine.wake_lane,
            limit_lane=limit_lane,
            credentials=self.credentials,
            closed=self._closed,
            progress=engine.notes.progress,
            ids=basis.ids,
            now_ms=now_ms,
        )

    def _sandbox_transport(self, connection: Connection) -> SandboxTransport:
        return SandboxTransport(
            connection=connection,
            network=self.sandbox,
            credentials=self.credentials(connection),
            read=lambda media_id: self._read_media(connection.tenant, media_id),
        )

    async def _closed(self, connection: Connection) -> None:
        """A connection is closed for good: what its network or its disk kept for it goes."""
        self._forget(connection)
        if connection.transport is TransportName.WEB:
            await self.web.forget(connection)
        else:
            self.sandbox.forget(connection.tenant, connection.id)

    def credentials(self, connection: Connection) -> SqlCredentials:
        """What the account of a connection logs in with."""
        return SqlCredentials(
            tenant=connection.tenant,
            connection_id=connection.id,
            rows=self._logins,
            commit=self._commit,
            ids=self._ids,
            now_ms=now_ms,
        )

    def _cloud_transport(self, connection: Connection) -> CloudTransport:
        return CloudTransport(
            connection=connection,
            http=self._network.http,
            uploads=ConnectionUploads(
                connection=connection,
                store=self._media,
                commit=self._commit,
                now_ms=now_ms,
                good_for=self._uploads_good_for,
            ),
            now_ms=now_ms,
            random=random.random,
            base_url=self._cloud.base_url,
            version=self._cloud.version,
        )

    def _zapi_transport(self, connection: Connection) -> ZapiTransport:
        return zapi.transport(connection, config=self._zapi, http=self._network.http, fetch=self._fetch)

    async def _take_raw(self, connection: Connection, raw: bytes) -> None:
        # A transport's bytes have no key of their own: what they tell is dropped or ignored when it comes twice.
        await self._intake(connection, raw, self._ids.ulid())


def pulse(config: Config) -> Pulse:
    """When the accounts are asked whether they live."""
    sessions = config.sessions
    return Pulse(
        quiet_after=sessions.quiet_after,
        timeout=sessions.probe_timeout,
        by_transport={TransportName.CLOUD: max(CLOUD_LOOKS, sessions.quiet_after)},
    )
