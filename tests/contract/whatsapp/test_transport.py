"""What every transport promises, whatever its wire."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import aiohttp
import orjson
import pytest
from aiohttp import web

from tests.support import FakeClock, eventually, make_ids
from tests.support.fake_meta import APP_SECRET, CONFIG, FakeMeta
from tests.support.whatsapp import MemoryLedger, Upside, a_connection, a_message
from zapd.model.message import MessageStatus
from zapd.model.session import SessionState, TransportName
from zapd.whatsapp.cloud import CloudTransport
from zapd.whatsapp.cloud_webhook import check_signature
from zapd.whatsapp.sandbox import SandboxTransport
from zapd.whatsapp.sandbox_faults import Fault, FaultKind
from zapd.whatsapp.sandbox_network import SandboxNetwork
from zapd.whatsapp.transport import Inbound, NotConnected, Permanent, Receipt, RetryAt, Transport, UnknownOutcome

S = SessionState
TEXT = orjson.dumps({"text": "Olá"})
TEMPLATE = orjson.dumps({"name": "order_ok", "language": "pt_BR"})


class Network(Protocol):
    """The other side: what a test can make it do, and what it got."""

    transport: Transport
    upside: Upside

    async def trouble(self, kind: FaultKind) -> None:
        """Meet the next send with this."""

    async def write(self, text: str) -> None:
        """A contact writes."""

    def arrived(self) -> int:
        """How many messages reached it."""


class SandboxSide:
    def __init__(self) -> None:
        self.upside = Upside()
        self.ledger = MemoryLedger()
        network = SandboxNetwork(
            ledger=self.ledger, now_ms=FakeClock().now_ms, ids=make_ids(), pair_after=0.01, latency=0.0
        )
        self.transport: Transport = SandboxTransport(connection=a_connection(), network=network)
        self.account = network.account("default", "con_1")

    async def trouble(self, kind: FaultKind) -> None:
        await self.account.script([Fault(kind=kind)])

    async def write(self, text: str) -> None:
        await self.account.inbound(peer="5511987654321", type_="text", payload={"text": text})

    def arrived(self) -> int:
        return len(self.ledger.entries)


class CloudSide:
    def __init__(self, meta: FakeMeta, http: aiohttp.ClientSession, upside: Upside) -> None:
        self.upside = upside
        self.meta = meta
        self.transport: Transport = CloudTransport(
            connection=a_connection(transport=TransportName.CLOUD, config=CONFIG),
            http=http,
            now_ms=FakeClock().now_ms,
            random=lambda: 0.0,
            base_url=meta.url,
        )

    async def trouble(self, kind: FaultKind) -> None:
        troubles: dict[FaultKind, Callable[[], None]] = {
            FaultKind.ANSWER_LOST: self.meta.lose_answers,
            FaultKind.TRANSIENT: lambda: self.meta.refuse(131000, 500),
            FaultKind.PERMANENT: lambda: self.meta.refuse(131026),
            FaultKind.RATE_LIMITED: lambda: self.meta.refuse(130429, 429),
            FaultKind.PAIR_RATE: lambda: self.meta.refuse(131056),
        }
        troubles[kind]()

    async def write(self, text: str) -> None:
        await self.meta.inbound(text)

    def arrived(self) -> int:
        return len(self.meta.accepted)


def hook(upside: Upside) -> Callable[[web.Request], Awaitable[web.Response]]:
    """zapd's webhook route, as far as a transport needs it."""

    async def handle(request: web.Request) -> web.Response:
        raw = await request.read()
        check_signature(raw, request.headers.get("X-Hub-Signature-256"), app_secret=APP_SECRET)
        await upside.on_raw(raw)
        return web.Response()

    return handle


async def cloud_side() -> AsyncIterator[CloudSide]:
    upside = Upside()
    app = web.Application()
    app.router.add_post("/hook", hook(upside))
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with FakeMeta(receipts=True) as meta, aiohttp.ClientSession() as http:
        meta.webhook_url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        yield CloudSide(meta, http, upside)
    await runner.cleanup()


async def sandbox_side() -> AsyncIterator[SandboxSide]:
    yield SandboxSide()


@pytest.fixture(params=[sandbox_side, cloud_side], ids=["sandbox", "cloud"])
async def network(request: pytest.FixtureRequest) -> AsyncIterator[Network]:
    async for side in request.param():
        yield side
        await side.transport.stop()


async def start(network: Network) -> None:
    upside = network.upside
    before = upside.states.count(S.CONNECTED)
    await network.transport.start(on_state=upside.on_state, on_raw=upside.on_raw)
    await eventually(lambda: upside.states.count(S.CONNECTED) > before)


@pytest.fixture
async def up(network: Network) -> Network:
    await start(network)
    return network


def receipts(network: Network) -> list[Receipt]:
    updates = [update for raw in network.upside.raws for update in network.transport.parse(raw)]
    return [update for update in updates if isinstance(update, Receipt)]


async def test_start_returns_at_once_and_tells_when_it_is_connected(network: Network) -> None:
    await asyncio.wait_for(
        network.transport.start(on_state=network.upside.on_state, on_raw=network.upside.on_raw), timeout=0.1
    )
    await eventually(lambda: network.upside.states[-1:] == [S.CONNECTED])


async def test_nothing_leaves_before_start_or_after_stop(network: Network) -> None:
    with pytest.raises(NotConnected):
        await network.transport.send(a_message())
    await start(network)
    await network.transport.stop()
    with pytest.raises(NotConnected):
        await network.transport.send(a_message())
    assert network.arrived() == 0


async def test_stop_may_come_twice_and_before_start(network: Network) -> None:
    await network.transport.stop()
    await start(network)
    await network.transport.stop()
    await network.transport.stop()


async def test_it_starts_again_after_a_stop(up: Network) -> None:
    await up.transport.stop()
    await start(up)
    await up.transport.send(a_message())
    assert up.arrived() == 1


async def test_starts_and_stops_in_any_mix_leave_no_task_behind(network: Network) -> None:
    before = asyncio.all_tasks()
    upside = network.upside

    async def begin() -> None:
        await network.transport.start(on_state=upside.on_state, on_raw=upside.on_raw)

    await asyncio.gather(*(begin() if n % 2 else network.transport.stop() for n in range(50)))
    await network.transport.stop()
    left = asyncio.all_tasks() - before
    assert not [task for task in left if task.get_name().startswith(("sandbox:", "cloud:"))]


@pytest.mark.parametrize(("type_", "payload"), [("text", TEXT), ("template", TEMPLATE)])
async def test_it_sends_every_type_it_says_it_can(up: Network, type_: str, payload: bytes) -> None:
    assert type_ in up.transport.capabilities
    result = await up.transport.send(a_message(type=type_, payload=payload))
    assert result.provider_id
    assert result.accepted_at > 1_000_000_000_000
    assert up.transport.capabilities == {"text", "template"}  # each has a line above


async def test_two_messages_have_two_provider_ids(up: Network) -> None:
    first, second = [await up.transport.send(a_message()) for _ in range(2)]
    assert first.provider_id != second.provider_id


async def test_receipts_name_the_message_by_both_ids(up: Network) -> None:
    result = await up.transport.send(a_message("msg_7"))
    await eventually(lambda: len(receipts(up)) == 3)
    assert {(r.provider_id, r.message_id) for r in receipts(up)} == {(result.provider_id, "msg_7")}
    assert [r.status for r in receipts(up)] == [MessageStatus.SENT, MessageStatus.DELIVERED, MessageStatus.READ]
    assert all(r.at > 1_000_000_000_000 for r in receipts(up))


async def test_a_lost_answer_is_an_unknown_outcome_that_a_receipt_clears_up(up: Network) -> None:
    await up.trouble(FaultKind.ANSWER_LOST)
    with pytest.raises(UnknownOutcome):
        await up.transport.send(a_message("msg_9"))
    assert up.arrived() == 1
    await eventually(lambda: [r.message_id for r in receipts(up)] == ["msg_9"] * 3)


@pytest.mark.parametrize(
    ("kind", "whole_session"), [(FaultKind.RATE_LIMITED, True), (FaultKind.PAIR_RATE, False)], ids=["number", "pair"]
)
async def test_a_rate_limit_says_how_long_and_for_whom(up: Network, kind: FaultKind, whole_session: bool) -> None:
    await up.trouble(kind)
    with pytest.raises(RetryAt) as limited:
        await up.transport.send(a_message())
    assert limited.value.wait
    assert limited.value.whole_session is whole_session


async def test_a_passing_failure_burns_an_attempt_and_then_passes(up: Network) -> None:
    await up.trouble(FaultKind.TRANSIENT)
    with pytest.raises(RetryAt) as failed:
        await up.transport.send(a_message())
    assert (failed.value.wait, up.arrived()) == (None, 0)
    await up.transport.send(a_message())


async def test_a_message_that_can_never_arrive_is_permanent(up: Network) -> None:
    await up.trouble(FaultKind.PERMANENT)
    with pytest.raises(Permanent) as refused:
        await up.transport.send(a_message())
    assert (refused.value.code, up.arrived()) == ("131026", 0)


async def test_what_a_contact_writes_comes_up_as_raw_bytes(up: Network) -> None:
    await up.write("oi")
    [raw] = await eventually(lambda: up.upside.raws)
    [update] = up.transport.parse(raw)
    assert isinstance(update, Inbound)
    assert (update.peer, update.type, orjson.loads(update.payload)) == ("5511987654321", "text", {"text": "oi"})
    assert update.name


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"{}", b"\x00\xff", b'{"object":1}', b'{"network":[]}'])
def test_bytes_of_another_network_are_a_value_error(raw: bytes) -> None:
    transport = SandboxSide().transport
    with pytest.raises(ValueError):
        transport.parse(raw)
