"""For tests of the WhatsApp part: values, a ledger in memory, and the upper side of a session, written down."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import orjson

from zapd.model.message import Direction, Message, MessageStatus
from zapd.model.session import Connection, Desired, OnAmbiguous, SessionState, TransportName
from zapd.store.ledger import LedgerEntry
from zapd.whatsapp.transport import (
    NOTHING,
    Enclosed,
    Health,
    OnRaw,
    OnState,
    QrCode,
    RemoteMedia,
    Resolved,
    SendResult,
    StateChange,
    Target,
    Unsupported,
    Update,
)

LOGIN = b'{"network":"sandbox","device":"D1"}'  #: of an account that was paired before


def a_connection(
    connection_id: str = "con_1",
    *,
    transport: TransportName = TransportName.SANDBOX,
    state: SessionState = SessionState.CREATED,
    config: dict[str, object] | None = None,
) -> Connection:
    return Connection(
        tenant="default",
        id=connection_id,
        transport=transport,
        label="test",
        desired=Desired.CONNECTED,
        state=state,
        reason=None,
        since=0,
        config=orjson.dumps(config or {}),
        on_ambiguous=OnAmbiguous.RESEND,
        rate_per_minute=None,
        created_at=0,
    )


def a_message(message_id: str = "msg_1", text: str = "Olá", **fields: object) -> Message:
    message = Message(
        tenant="default",
        id=message_id,
        connection_id="con_1",
        direction=Direction.OUTBOUND,
        status=MessageStatus.SENDING,
        peer="5511999998888",
        type="text",
        payload=orjson.dumps({"text": text}),
        priority=5,
        created_at=0,
    )
    return replace(message, **fields)  # type: ignore[arg-type]  # tests name real fields


class MemoryLedger:
    """The sandbox's ledger without a disk. `away` makes every call fail."""

    def __init__(self) -> None:
        self.entries: dict[str, LedgerEntry] = {}
        self.away = False

    async def write(self, entry: LedgerEntry) -> None:
        self._check()
        self.entries[entry.id] = entry

    async def staged(self, stages: Sequence[tuple[LedgerEntry, int]]) -> None:
        self._check()
        for entry, stage in stages:
            self.entries[entry.id] = replace(self.entries[entry.id], stage=stage)

    async def unfinished(self, tenant: str, connection_id: str, below: int, limit: int) -> Sequence[LedgerEntry]:
        self._check()
        return [entry for entry in self._of(tenant, connection_id) if entry.stage < below][:limit]

    async def page(self, tenant: str, connection_id: str, after: str | None, limit: int) -> Sequence[LedgerEntry]:
        self._check()
        return [entry for entry in self._of(tenant, connection_id) if entry.id > (after or "")][:limit]

    def _of(self, tenant: str, connection_id: str) -> list[LedgerEntry]:
        return [e for e in self.entries.values() if (e.tenant, e.connection_id) == (tenant, connection_id)]

    def _check(self) -> None:
        if self.away:
            raise ConnectionError("the ledger is away")


class MemoryCredentials:
    """A connection's login without a disk."""

    def __init__(self, secret: bytes | None = None) -> None:
        self.secret = secret
        self.aside: list[tuple[bytes, str]] = []

    async def load(self) -> bytes | None:
        return self.secret

    async def save(self, secret: bytes) -> None:
        self.secret = secret

    async def set_aside(self, reason: str) -> None:
        if self.secret is not None:
            self.aside.append((self.secret, reason))
        self.secret = None


class MemoryUploads:
    """Which files the provider holds, without a disk."""

    def __init__(self) -> None:
        self.ids: dict[str, str] = {}

    async def get(self, media_id: str) -> str | None:
        return self.ids.get(media_id)

    async def put(self, media_id: str, provider_id: str) -> None:
        self.ids[media_id] = provider_id


class Upside:
    """What a session or transport tells upwards, written down. `away` makes it fail."""

    def __init__(self) -> None:
        self.states: list[SessionState] = []
        self.changes: list[StateChange] = []
        self.codes: list[QrCode] = []
        self.raws: list[bytes] = []
        self.refused = 0
        self.away = False

    async def on_state(self, told: StateChange | QrCode) -> None:
        await self._reach()
        if isinstance(told, QrCode):
            self.codes.append(told)
        else:
            self.changes.append(told)
            self.states.append(told.state)

    def heard(self, event: asyncio.Event) -> OnState:
        """`on_state` that sets the event afterwards."""

        async def on_state(told: StateChange | QrCode) -> None:
            await self.on_state(told)
            event.set()

        return on_state

    async def on_raw(self, raw: bytes) -> None:
        await self._reach()
        self.raws.append(raw)

    async def _reach(self) -> None:
        await asyncio.sleep(0)
        if self.away:
            self.refused += 1
            raise ConnectionError("the store is away")

    async def on_session_up(self, connection: Connection) -> None:
        pass

    async def on_session_state(self, connection: Connection, told: StateChange | QrCode) -> None:
        await self.on_state(told)

    async def on_session_raw(self, connection: Connection, raw: bytes) -> None:
        await self.on_raw(raw)


class ScriptedTransport:
    """A transport that does what the test tells it; `say` speaks as the wire."""

    capabilities = frozenset({"text"})

    def __init__(self) -> None:
        self.starts = 0
        self.stops = 0
        self.sent: list[Message] = []
        self.trouble: Exception | None = None
        self.start_trouble: Exception | None = None
        self.reached = asyncio.Event()  # a send came as far as the wire
        self.answer = asyncio.Event()
        self.answer.set()
        self.connects = True
        self.alive = True
        self.mute = False  # it answers no probe
        self.probes = 0
        self.logouts = 0
        self.logout_trouble: Exception | None = None
        self.paired_with: list[str | None] = []
        self._on_state: OnState | None = None

    async def start(self, *, on_state: OnState, on_raw: OnRaw) -> None:
        self.starts += 1
        if self.start_trouble:
            raise self.start_trouble
        self._on_state = on_state
        if self.connects:
            await on_state(StateChange(state=SessionState.CONNECTED))

    async def stop(self) -> None:
        self.stops += 1
        self._on_state = None

    async def say(self, state: SessionState, reason: str | None = None) -> None:
        assert self._on_state, "the transport is not started"
        await self._on_state(StateChange(state=state, reason=reason))

    async def pair(self, *, phone: str | None = None) -> None:
        assert self._on_state, "the transport is not started"
        self.paired_with.append(phone)
        await self._on_state(QrCode(text="ABCD-EFGH", expires_at=99, typed=True))

    async def logout(self) -> None:
        self.logouts += 1
        if self.logout_trouble:
            raise self.logout_trouble

    async def health(self) -> Health:
        self.probes += 1
        if self.mute:
            await asyncio.Event().wait()
        if self.trouble:
            raise self.trouble
        return Health(alive=self.alive)

    async def send(self, message: Message, enclosed: Enclosed = NOTHING) -> SendResult:
        self.reached.set()
        await self.answer.wait()
        if self.trouble:
            raise self.trouble
        self.sent.append(message)
        return SendResult(provider_id=f"P{len(self.sent)}", accepted_at=1)

    async def mark_read(self, target: Target) -> None:
        raise Unsupported("mark_read")

    async def typing(self, peer: str, *, last: Target | None) -> None:
        raise Unsupported("typing")

    async def download(self, media: RemoteMedia) -> AsyncIterator[bytes]:
        raise Unsupported("download")
        yield b""

    async def resolve_number(self, candidates: Sequence[str]) -> Resolved | None:
        raise Unsupported("resolve_number")

    def parse(self, raw: bytes) -> Sequence[Update]:
        raise ValueError(raw)


async def no_files(name: str) -> AsyncIterator[bytes]:
    """For a transport that is to fetch and read nothing."""
    raise AssertionError(name)
    yield b""
