"""A simulated WhatsApp network: pairing, latency, receipts, replies and trouble, on a durable ledger.

It keeps the order of a real one: a message is in the ledger before its send is answered. What it has to tell of a
message (three receipts, then a reply) is counted in the ledger too, after it was told; a network that was killed tells
the uncounted again. So everything is told at least once, under ids that never change.
"""

import asyncio
from collections.abc import Callable, Sequence

import orjson

from zapd.errors import Conflict
from zapd.ids import Ids
from zapd.model.message import Message
from zapd.model.session import SessionState
from zapd.store.ledger import LedgerEntry
from zapd.whatsapp.credentials import CORRUPT, CorruptCredentials, Credentials
from zapd.whatsapp.sandbox_contacts import Cast, SandboxContact, SandboxSettings
from zapd.whatsapp.sandbox_faults import AT_ONCE, REFUSALS, Fault, FaultKind, Script
from zapd.whatsapp.sandbox_ledger import Ledger
from zapd.whatsapp.sandbox_receipts import Order, Receipts
from zapd.whatsapp.sandbox_wire import body, contact_wrote
from zapd.whatsapp.transport import (
    Health,
    NotConnected,
    OnRaw,
    OnState,
    Permanent,
    QrCode,
    SendResult,
    StateChange,
    UnknownOutcome,
)

QR_LIFE = 20.0  #: seconds that a code can be scanned, as WhatsApp's
CODE_LIFE = 180.0  #: seconds that a code can be typed

_ORDERS = {FaultKind.DUPLICATE_RECEIPTS: Order(times=2), FaultKind.OUT_OF_ORDER_RECEIPTS: Order(backwards=True)}


class SandboxNetwork:
    """All accounts. `pair_after` (seconds after its first QR code an account is paired) and `latency` (seconds)."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        now_ms: Callable[[], int],
        ids: Ids,
        pair_after: float = 1.0,
        latency: float = 0.05,
        auto_reply: bool = True,
    ) -> None:
        self._ledger = ledger
        self._now_ms = now_ms
        self._ids = ids
        self._pair_after = pair_after
        self._latency = latency
        self._auto_reply = auto_reply
        self._accounts: dict[tuple[str, str], Account] = {}

    def account(self, tenant: str, connection_id: str) -> "Account":
        """The account of a connection; a new one, not paired, at the first call."""
        account = self._accounts.get((tenant, connection_id))
        if account is None:
            account = self._accounts[tenant, connection_id] = self._new_account(tenant, connection_id)
        return account

    def forget(self, tenant: str, connection_id: str) -> None:
        """The connection is closed for good: only its ledger stays."""
        self._accounts.pop((tenant, connection_id), None)

    async def ledger(self, tenant: str, connection_id: str, *, after: str | None, limit: int) -> Sequence[LedgerEntry]:
        """What arrived, in the order it came; those after the entry id `after`."""
        return await self._ledger.page(tenant, connection_id, after, limit)

    def _new_account(self, tenant: str, connection_id: str) -> "Account":
        receipts = Receipts(
            tenant=tenant,
            connection_id=connection_id,
            ledger=self._ledger,
            now_ms=self._now_ms,
            latency=self._latency,
            cast=Cast(auto_reply=self._auto_reply),
        )
        return Account(
            tenant=tenant,
            connection_id=connection_id,
            ledger=self._ledger,
            receipts=receipts,
            now_ms=self._now_ms,
            ids=self._ids,
            pair_after=self._pair_after,
            latency=self._latency,
            auto_reply=self._auto_reply,
        )


class Account:
    """One number on the network."""

    def __init__(
        self,
        *,
        tenant: str,
        connection_id: str,
        ledger: Ledger,
        receipts: Receipts,
        now_ms: Callable[[], int],
        ids: Ids,
        pair_after: float,
        latency: float,
        auto_reply: bool,
    ) -> None:
        self._tenant = tenant
        self._connection_id = connection_id
        self._ledger = ledger
        self._now_ms = now_ms
        self._ids = ids
        self._pair_after = pair_after
        self._latency = latency
        self._auto_reply = auto_reply
        self._configured = False
        self._zombie = False  # connected, but nothing gets through
        self._script = Script()
        self._away_until = 0.0
        self._receipts = receipts
        self.up = False
        self._unlinked = False  # the login that zapd has is good for nothing any more
        self._gone = asyncio.Event()  # the connection of which a send or probe waits for an answer has ended
        self._on_state: OnState | None = None
        self._on_raw: OnRaw | None = None

    def configure(self, settings: SandboxSettings) -> None:
        """The connection's own settings; its faults once, so that a reconnect does not bring them again."""
        self._latency = self._latency if settings.latency is None else settings.latency
        self._pair_after = self._pair_after if settings.pair_after is None else settings.pair_after
        self._auto_reply = self._auto_reply if settings.auto_reply is None else settings.auto_reply
        self._receipts.latency = self._latency
        if not self._configured:
            self.people(settings.contacts)
            self._script.replace(fault for fault in settings.faults if fault.kind not in AT_ONCE)
        self._configured = True

    def people(self, contacts: Sequence[SandboxContact]) -> None:
        """Who is there from now on, and what they answer."""
        self._receipts.cast = Cast(contacts, auto_reply=self._auto_reply)

    async def connect(self, *, on_state: OnState, on_raw: OnRaw, credentials: Credentials) -> None:
        """One connection, from its start until it is cancelled or cut. Raises CorruptCredentials."""
        self._on_state, self._on_raw, self._gone = on_state, on_raw, asyncio.Event()
        self._zombie = False
        if asyncio.get_running_loop().time() < self._away_until:
            await on_state(StateChange(state=SessionState.RECONNECTING, reason="428"))
            return
        logged_in = await self._logged_in(credentials)
        if logged_in and self._unlinked:
            await on_state(StateChange(state=SessionState.LOGGED_OUT, reason="401"))
            return
        if not logged_in:
            await self._pair(on_state)
            self._unlinked = False
            await credentials.save(orjson.dumps({"network": "sandbox", "device": self._ids.ulid()}))
        await self._receipts.catch_up(self._hand_up)
        self.up = True
        await on_state(StateChange(state=SessionState.CONNECTED))
        await self._receipts.run(self._hand_up)

    def hang_up(self) -> None:
        """The connection is over."""
        self.up = False
        self._gone.set()
        self._on_state = self._on_raw = None

    def unlink(self) -> None:
        """From now on the login is refused; a new pairing makes another."""
        self._unlinked = True

    async def show_code(self) -> None:
        """Show a code that is typed on the phone. Raises NotConnected when nothing is being paired."""
        if self._on_state is None or self.up:
            raise NotConnected("not pairing")
        code = self._ids.ulid()[-8:]
        at = self._now_ms() + round(CODE_LIFE * 1000)
        await self._on_state(QrCode(text=f"{code[:4]}-{code[4:]}", expires_at=at, typed=True))

    async def health(self) -> Health:
        """The answer to a probe."""
        if self._zombie:
            await self._gone.wait()
        return Health(alive=self.up, last_frame_at=self._now_ms() if self.up else None)

    async def script(self, faults: Sequence[Fault]) -> None:
        """Follow this script instead of the old one; what is of `AT_ONCE` happens now."""
        self._script.replace(fault for fault in faults if fault.kind not in AT_ONCE)
        for fault in [fault for fault in faults if fault.kind in AT_ONCE]:
            await self._happen(fault)

    async def _happen(self, fault: Fault) -> None:
        match fault.kind:
            case FaultKind.ZOMBIE:
                self._zombie = True
            case FaultKind.LOGOUT:
                self.unlink()
                await self._cut(StateChange(state=SessionState.LOGGED_OUT, reason="401"))
            case FaultKind.CLOSE:
                if fault.code == "401":
                    self.unlink()
                await self._cut(StateChange(state=SessionState.RECONNECTING, reason=fault.code))
            case _:
                self._away_until = asyncio.get_running_loop().time() + fault.seconds
                await self._cut(StateChange(state=SessionState.RECONNECTING, reason="428"))

    async def inbound(self, *, peer: str, type_: str, payload: object) -> str:
        """A contact writes; returns the provider id after it was handed out. Raises Conflict when not connected."""
        if not self.up or self._on_raw is None or self._zombie:
            raise Conflict("the connection is not connected")
        provider_id = f"SBXI{self._ids.ulid()}"
        told = contact_wrote(provider_id, peer=peer, type_=type_, payload=payload, at=self._now_ms())
        await self._on_raw(body([told]))
        return provider_id

    async def send(self, message: Message) -> SendResult:
        """Take a message: wait `latency`, keep it, answer. Raises a SendError, by the script or when not connected."""
        self.check_up()
        if self._latency:
            await asyncio.sleep(self._latency)
            self.check_up()
        if self._zombie:
            await self._gone.wait()
            raise UnknownOutcome("answer_lost", "the line was dead")
        if not self._receipts.cast.exists(message.peer):
            raise Permanent("131026", "this number is not on the network")
        fault = self._script.next_send()
        kind = fault.kind if fault else None
        if fault and fault.kind in REFUSALS:
            raise REFUSALS[fault.kind](fault)
        entry = self._entry(message)
        await self._ledger.write(entry)
        if kind is FaultKind.EARLY_RECEIPTS and self._on_raw is not None:
            await self._receipts.tell_all(entry, self._on_raw)
        else:
            self._receipts.add(entry, _ORDERS.get(kind) if kind else None)
        if fault and kind is FaultKind.SLOW:
            await asyncio.sleep(fault.ms / 1000)
        if kind is FaultKind.ANSWER_LOST:
            raise UnknownOutcome("answer_lost")
        return SendResult(provider_id=entry.id, accepted_at=entry.at, peer=entry.peer)

    async def _hand_up(self, raw: bytes) -> None:
        if self._zombie:
            await asyncio.Event().wait()  # until the connection is cancelled: the ledger tells it again
        if self._on_raw is not None:
            await self._on_raw(raw)

    @staticmethod
    async def _logged_in(credentials: Credentials) -> bool:
        secret = await credentials.load()
        if secret is None:
            return False
        try:
            return bool(orjson.loads(secret)["device"])
        except (ValueError, LookupError, TypeError) as error:
            await credentials.set_aside(f"{CORRUPT}: not a login of the sandbox")
            raise CorruptCredentials("not a login of the sandbox") from error

    async def _pair(self, on_state: OnState) -> None:
        await on_state(StateChange(state=SessionState.QR_PENDING))
        left = self._pair_after
        while True:
            text = f"2@{self._ids.ulid()},{self._connection_id},{self._ids.ulid()}"
            await on_state(QrCode(text=text, expires_at=self._now_ms() + round(QR_LIFE * 1000)))
            await asyncio.sleep(min(left, QR_LIFE))
            left -= QR_LIFE
            if left <= 0:
                return

    async def _cut(self, end: StateChange) -> None:
        self.up = False
        if self._on_state is not None:
            await self._on_state(end)

    def check_up(self) -> None:
        """Raises NotConnected."""
        if not self.up:
            raise NotConnected("disconnected")

    def _entry(self, message: Message) -> LedgerEntry:
        return LedgerEntry(
            tenant=self._tenant,
            connection_id=self._connection_id,
            id=f"SBX{self._ids.ulid()}",
            message_id=message.id,
            peer=message.peer,
            type=message.type,
            payload=message.payload,
            at=self._now_ms(),
        )
