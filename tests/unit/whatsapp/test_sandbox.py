"""The simulated network on a ledger in memory."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import FakeClock, eventually, make_ids
from tests.support.whatsapp import LOGIN, MemoryCredentials, MemoryLedger, Upside, a_connection, a_message, no_files
from zapd.errors import Conflict, InvalidInput
from zapd.model.message import MessageStatus
from zapd.model.session import SessionState
from zapd.whatsapp import sandbox_wire
from zapd.whatsapp.sandbox import SandboxTransport
from zapd.whatsapp.sandbox_contacts import SandboxContact, SandboxSettings
from zapd.whatsapp.sandbox_faults import Fault, FaultKind
from zapd.whatsapp.sandbox_network import Account, SandboxNetwork
from zapd.whatsapp.transport import (
    Aliases,
    Inbound,
    NotConnected,
    Permanent,
    Receipt,
    SendError,
    UnknownOutcome,
    Update,
)

S = SessionState
K = FaultKind


class Rig:
    """One account; `again` is what a kill -9 and a new process leave: the ledger."""

    def __init__(self, ledger: MemoryLedger | None = None, *, login: bytes | None = LOGIN, **pace: float) -> None:
        self.ledger = ledger or MemoryLedger()
        self.upside = Upside()
        self.network = SandboxNetwork(
            ledger=self.ledger,
            now_ms=FakeClock().now_ms,
            ids=make_ids(seed=len(self.ledger.entries)),
            pair_after=pace.get("pair_after", 0.01),
            latency=pace.get("latency", 0.0),
        )
        self.credentials = MemoryCredentials(login)
        self.transport = SandboxTransport(
            connection=a_connection(), network=self.network, credentials=self.credentials, read=no_files
        )

    @property
    def account(self) -> Account:
        return self.network.account("default", "con_1")

    async def connect(self) -> "Rig":
        await self.transport.start(on_state=self.upside.on_state, on_raw=self.upside.on_raw)
        await eventually(lambda: S.CONNECTED in self.upside.states)
        return self

    def updates(self) -> list[Update]:
        return [update for raw in self.upside.raws for update in self.transport.parse(raw)]

    def told(self) -> list[str]:
        return [u.status.value if isinstance(u, Receipt) else "reply" for u in self.updates()]

    async def fault(self, kind: FaultKind, **more: float) -> None:
        await self.account.script([Fault(kind=kind, **more)])  # type: ignore[arg-type]  # pydantic checks


@pytest.fixture
async def rigs() -> AsyncIterator[Callable[..., Rig]]:
    made: list[Rig] = []

    def make(*args: MemoryLedger, **more: object) -> Rig:
        made.append(Rig(*args, **more))  # type: ignore[arg-type]  # the test's own arguments
        return made[-1]

    yield make
    await asyncio.gather(*(rig.transport.stop() for rig in made))


@pytest.fixture
async def rig(rigs: Callable[..., Rig]) -> Rig:
    return await rigs().connect()


ALL = ["sent", "delivered", "read", "reply"]


async def test_a_new_account_shows_a_code_and_pairs_itself(rigs: Callable[..., Rig]) -> None:
    rig = await rigs(login=None).connect()
    assert rig.upside.states == [S.QR_PENDING, S.CONNECTED]
    assert rig.upside.codes[0].text.startswith("2@")


async def test_an_account_that_was_connected_is_not_paired_again(rig: Rig) -> None:
    assert (rig.upside.states, rig.upside.codes) == ([S.CONNECTED], [])


async def test_a_message_gets_its_receipts_then_a_reply(rig: Rig) -> None:
    result = await rig.transport.send(a_message(text="Olá"))
    await eventually(lambda: rig.told() == ALL)
    receipt, reply = rig.updates()[0], rig.updates()[-1]
    assert isinstance(receipt, Receipt)
    assert isinstance(reply, Inbound)
    assert (receipt.provider_id, receipt.message_id, receipt.status) == (
        result.provider_id,
        "msg_1",
        MessageStatus.SENT,
    )
    assert (reply.peer, reply.reply_to, orjson.loads(reply.payload)) == (
        "5511999998888",
        result.provider_id,
        {"text": "You wrote: Olá"},
    )


async def test_the_ledger_has_the_message_before_the_answer(rig: Rig) -> None:
    result = await rig.transport.send(a_message())
    entry = rig.ledger.entries[result.provider_id]
    assert (entry.message_id, entry.payload) == ("msg_1", orjson.dumps({"text": "Olá"}))


async def test_a_message_that_the_ledger_cannot_keep_is_not_answered(rig: Rig) -> None:
    rig.ledger.away = True
    with pytest.raises(ConnectionError):
        await rig.transport.send(a_message())
    assert not rig.ledger.entries


async def test_updates_that_are_due_together_share_a_body(rig: Rig) -> None:
    for n in range(100):
        await rig.transport.send(a_message(f"msg_{n}"))
    await eventually(lambda: len(rig.told()) == 400)
    assert len(rig.upside.raws) < 10


async def test_with_latency_updates_come_one_after_another(rigs: Callable[..., Rig]) -> None:
    rig = await rigs(latency=0.15).connect()
    await rig.transport.send(a_message())
    await eventually(lambda: rig.told() == ALL)
    assert len(rig.upside.raws) == 3  # `sent` comes with `delivered`


async def test_what_was_not_handed_out_before_a_kill_is_handed_out_after_it(rigs: Callable[..., Rig]) -> None:
    first = await rigs(latency=0.05).connect()
    results = [await first.transport.send(a_message(f"msg_{n}")) for n in range(3)]
    await eventually(lambda: "sent" in first.told())
    await first.transport.stop()
    known = {(u.provider_id, getattr(u, "status", None)) for u in first.updates()}

    second = await rigs(first.ledger).connect()
    await eventually(lambda: all(e.stage == 4 for e in second.ledger.entries.values()))
    known |= {(u.provider_id, getattr(u, "status", None)) for u in second.updates()}
    sent, delivered, read = MessageStatus.SENT, MessageStatus.DELIVERED, MessageStatus.READ
    for result in results:
        assert {(result.provider_id, s) for s in (sent, delivered, read)} <= known
        assert (f"{result.provider_id}R", None) in known


async def test_what_the_upper_side_did_not_take_is_told_again_after_a_reconnect(rig: Rig) -> None:
    rig.upside.away = True
    result = await rig.transport.send(a_message())
    # The wire dies of it and the session would start it again.
    await rig.transport.stop()
    rig.upside.away = False
    await rig.connect()
    await eventually(lambda: rig.told() == ALL)
    assert rig.updates()[0].provider_id == result.provider_id


async def test_a_dead_upper_side_is_told_as_a_lost_connection(rig: Rig) -> None:
    async def refuse(raw: bytes) -> None:
        raise ConnectionError("the store is away")

    await rig.transport.stop()
    await rig.transport.start(on_state=rig.upside.on_state, on_raw=refuse)
    await eventually(lambda: rig.upside.states.count(S.CONNECTED) == 2)
    await rig.transport.send(a_message())
    await eventually(lambda: rig.upside.states[-1] is S.RECONNECTING)


async def test_a_contact_writes(rig: Rig) -> None:
    provider_id = await rig.account.inbound(peer="5511911112222", type_="text", payload={"text": "oi"})
    assert rig.updates() == [
        Inbound(
            provider_id=provider_id,
            peer="5511911112222",
            type="text",
            payload=b'{"text":"oi"}',
            at=FakeClock().now_ms(),
            name="Sandbox contact",
            aliases=Aliases(phone="5511911112222", wa_id="5511911112222"),
        )
    ]


async def test_nobody_can_write_to_an_account_that_is_away(rigs: Callable[..., Rig]) -> None:
    with pytest.raises(Conflict):
        await rigs().account.inbound(peer="5511911112222", type_="text", payload={})


@pytest.mark.parametrize("kind", [K.RATE_LIMITED, K.PAIR_RATE, K.TIMELOCK, K.TRANSIENT, K.PERMANENT])
async def test_a_refused_message_never_arrives(rig: Rig, kind: FaultKind) -> None:
    await rig.fault(kind)
    with pytest.raises(SendError):
        await rig.transport.send(a_message())
    assert not rig.ledger.entries
    await rig.transport.send(a_message())


async def test_a_message_whose_answer_is_lost_did_arrive(rig: Rig) -> None:
    await rig.fault(K.ANSWER_LOST)
    with pytest.raises(UnknownOutcome):
        await rig.transport.send(a_message())
    assert len(rig.ledger.entries) == 1
    await eventually(lambda: rig.told() == ALL)


async def test_a_slow_answer_comes_after_the_receipts(rig: Rig) -> None:
    await rig.fault(K.SLOW, ms=50)
    send = asyncio.create_task(rig.transport.send(a_message()), name="send")
    await eventually(lambda: rig.told() == ALL)
    assert not send.done()
    await send


async def test_early_receipts_come_before_the_answer(rigs: Callable[..., Rig]) -> None:
    rig = await rigs(latency=0.001).connect()
    await rig.fault(K.EARLY_RECEIPTS)
    await rig.transport.send(a_message())
    assert rig.told() == ALL


async def test_receipts_can_come_twice(rig: Rig) -> None:
    await rig.fault(K.DUPLICATE_RECEIPTS)
    await rig.transport.send(a_message())
    await eventually(lambda: rig.told() == ALL * 2)


async def test_receipts_can_come_in_the_wrong_order(rig: Rig) -> None:
    await rig.fault(K.OUT_OF_ORDER_RECEIPTS)
    await rig.transport.send(a_message())
    await eventually(lambda: rig.told() == ALL[::-1])


async def test_a_disconnect_lasts_as_long_as_scripted(rig: Rig) -> None:
    await rig.fault(K.DISCONNECT, seconds=0.1)
    assert rig.upside.states[-1] is S.RECONNECTING
    with pytest.raises(NotConnected):
        await rig.transport.send(a_message())

    while rig.upside.states[-1] is S.RECONNECTING:
        await rig.transport.stop()
        told = asyncio.Event()
        await rig.transport.start(on_state=rig.upside.heard(told), on_raw=rig.upside.on_raw)
        await told.wait()
    assert rig.upside.states.count(S.RECONNECTING) > 1


async def test_a_logout_ends_the_login_until_it_is_paired_anew(rig: Rig) -> None:
    await rig.fault(K.LOGOUT)
    assert rig.upside.states[-1] is S.LOGGED_OUT
    await rig.transport.stop()
    await rig.transport.start(on_state=rig.upside.on_state, on_raw=rig.upside.on_raw)
    await eventually(lambda: rig.upside.states.count(S.LOGGED_OUT) == 2)
    await rig.transport.stop()
    await rig.credentials.set_aside("401")
    await rig.transport.start(on_state=rig.upside.on_state, on_raw=rig.upside.on_raw)
    await eventually(lambda: rig.upside.codes)


async def test_a_login_that_is_none_is_set_aside_and_the_account_has_failed(rigs: Callable[..., Rig]) -> None:
    rig = rigs(login=b"\x00rubbish")
    await rig.transport.start(on_state=rig.upside.on_state, on_raw=rig.upside.on_raw)
    await eventually(lambda: rig.upside.states == [S.FAILED])
    assert rig.upside.changes[0].reason == "corrupt_credentials"
    assert rig.credentials.aside == [(b"\x00rubbish", "corrupt_credentials: not a login of the sandbox")]


async def test_a_code_to_type_is_shown_beside_the_one_to_scan(rigs: Callable[..., Rig]) -> None:
    rig = rigs(login=None, pair_after=60.0)
    await rig.transport.start(on_state=rig.upside.on_state, on_raw=rig.upside.on_raw)
    await eventually(lambda: rig.upside.codes)
    await rig.transport.pair(phone="5511999998888")
    assert [code.typed for code in rig.upside.codes] == [False, True]


@pytest.mark.parametrize("code", ["402", "405", "440", "503", "515"])
async def test_the_network_closes_with_any_code(rig: Rig, code: str) -> None:
    await rig.account.script([Fault(kind=K.CLOSE, code=code)])  # type: ignore[arg-type]  # pydantic checks
    assert rig.upside.changes[-1].reason == code
    with pytest.raises(NotConnected):
        await rig.transport.send(a_message())


async def test_a_zombie_is_connected_and_lets_nothing_through(rig: Rig) -> None:
    await rig.fault(K.ZOMBIE)
    probe = asyncio.create_task(rig.transport.health(), name="probe")
    send = asyncio.create_task(rig.transport.send(a_message()), name="send")
    await asyncio.wait([probe, send], timeout=0.05)
    assert not probe.done()
    assert not send.done()
    assert rig.upside.states == [S.CONNECTED]
    await rig.transport.stop()
    with pytest.raises(UnknownOutcome):
        await send
    await probe
    rig.upside.states.clear()
    await rig.connect()
    await rig.transport.send(a_message("msg_2"))
    await eventually(lambda: rig.told() == ALL)


def people(*contacts: dict[str, object]) -> list[SandboxContact]:
    return [SandboxContact.model_validate(contact) for contact in contacts]


async def test_contacts_answer_by_the_script(rig: Rig) -> None:
    replies = [
        {"when": "(?i)price", "payload": {"text": "R$ 10"}},
        {"when": "^where", "type": "location", "payload": {"latitude": 1.0, "longitude": 2.0}},
    ]
    rig.account.people(people({"phone": "5511999998888", "replies": replies}))
    for text in ("The PRICE?", "where are you", "nothing of it"):
        await rig.transport.send(a_message(text=text))
    await eventually(lambda: rig.told().count("read") == 3 and rig.told().count("reply") == 2)
    said = [(u.type, orjson.loads(u.payload)) for u in rig.updates() if isinstance(u, Inbound)]
    assert said == [("text", {"text": "R$ 10"}), ("location", {"latitude": 1.0, "longitude": 2.0})]


async def test_a_contact_who_does_not_read_and_one_who_is_not_there(rig: Rig) -> None:
    rig.account.people(
        people({"phone": "5511999998888", "reads": False, "replies": []}, {"phone": "*", "exists": False})
    )
    await rig.transport.send(a_message())
    await eventually(lambda: rig.told() == ["sent", "delivered"])
    with pytest.raises(Permanent, match="131026"):
        await rig.transport.send(a_message(peer="5511911112222"))


async def test_an_answer_may_take_its_time(rigs: Callable[..., Rig]) -> None:
    rig = await rigs(latency=0.001).connect()
    rig.account.people(people({"phone": "*", "replies": [{"after": 3600, "payload": {"text": "late"}}]}))
    await rig.transport.send(a_message())
    await eventually(lambda: rig.told() == ["sent", "delivered", "read"])
    assert rig.account._receipts._due[0].step == 4


async def test_a_connection_has_settings_of_its_own() -> None:
    network = SandboxNetwork(ledger=MemoryLedger(), now_ms=FakeClock().now_ms, ids=make_ids(), latency=60.0)
    config: dict[str, object] = {
        "latency": "1ms",
        "pair_after": 0,
        "auto_reply": False,
        "faults": [{"kind": "permanent"}],
        "contacts": [{"phone": "*", "reads": False}],
    }
    transport = SandboxTransport(
        connection=a_connection(config=config), network=network, credentials=MemoryCredentials(), read=no_files
    )
    upside = Upside()
    await transport.start(on_state=upside.on_state, on_raw=upside.on_raw)
    await eventually(lambda: S.CONNECTED in upside.states)
    with pytest.raises(Permanent):
        await transport.send(a_message())
    await transport.send(a_message())
    updates = await eventually(lambda: [u for raw in upside.raws for u in transport.parse(raw)][1:])
    assert [u.status for u in updates if isinstance(u, Receipt)] == [MessageStatus.DELIVERED]
    await transport.stop()


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"latncy": "1ms"}, "config.latncy"),
        ({"latency": "soon"}, "config.latency"),
        ({"contacts": [{"phone": "*", "replies": [{"when": "(", "payload": {}}]}]}, "config.contacts.0.replies.0.when"),
        ({"faults": [{"kind": "flood"}]}, "config.faults.0.kind"),
    ],
)
def test_wrong_settings_are_named(config: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        SandboxSettings.read(orjson.dumps(config))
    assert [f.field for f in refused.value.fields] == [field]


async def test_accounts_do_not_share_their_trouble(rig: Rig) -> None:
    await rig.network.account("default", "con_2").script([Fault(kind=K.LOGOUT), Fault(kind=K.PERMANENT)])
    await rig.transport.send(a_message())


async def test_the_ledger_can_be_paged(rig: Rig) -> None:
    for n in range(5):
        await rig.transport.send(a_message(f"msg_{n}"))
    first = await rig.network.ledger("default", "con_1", after=None, limit=3)
    rest = await rig.network.ledger("default", "con_1", after=first[-1].id, limit=3)
    assert [e.message_id for e in [*first, *rest]] == [f"msg_{n}" for n in range(5)]


JSON = st.recursive(
    st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_parsing_anything_raises_nothing_but_value_errors(raw: bytes) -> None:
    with pytest.raises(ValueError):
        sandbox_wire.parse(raw)


@pytest.mark.parametrize(
    "update",
    [
        *(1, {}, {"kind": "receipt"}, {"kind": ["x"]}, {"kind": "receipt", "id": "x", "status": "lost", "at": 1}),
        {"kind": "receipt", "id": "x", "status": "sent", "at": "soon"},
        {"kind": "receipt", "id": "x", "status": "sent", "at": {}},
    ],
)
def test_a_malformed_update_is_a_value_error(update: object) -> None:
    with pytest.raises(ValueError):
        sandbox_wire.parse(orjson.dumps({"network": "sandbox", "updates": [update]}))
