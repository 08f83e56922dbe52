"""What every transport promises, whatever its wire."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson
import pytest

from tests.contract.whatsapp.conftest import Start
from tests.contract.whatsapp.network import Network, inbound, receipts
from tests.support import eventually
from tests.support.kinds import KINDS, TARGET, files_of, type_of
from tests.support.whatsapp import a_message
from zapd.model.message import MessageStatus
from zapd.model.session import SessionState
from zapd.whatsapp.content import ABOUT, EVERYTHING
from zapd.whatsapp.sandbox_faults import FaultKind
from zapd.whatsapp.transport import (
    LOOKUP,
    PAIR,
    READ,
    REPLY,
    TYPING,
    Enclosed,
    NotConnected,
    Permanent,
    RetryAt,
    UnknownOutcome,
    Unsupported,
)

S = SessionState


async def test_start_returns_at_once_and_tells_when_it_is_connected(network: Network) -> None:
    await asyncio.wait_for(
        network.transport.start(on_state=network.upside.on_state, on_raw=network.upside.on_raw), timeout=1.0
    )
    await eventually(lambda: network.upside.states[-1:] == [S.CONNECTED])


async def test_nothing_leaves_before_start_or_after_stop(network: Network, start: Start) -> None:
    with pytest.raises(NotConnected):
        await network.transport.send(a_message())
    await start(network)
    await network.transport.stop()
    with pytest.raises(NotConnected):
        await network.transport.send(a_message())
    assert network.arrived() == 0


async def test_stop_may_come_twice_and_before_start(network: Network, start: Start) -> None:
    await network.transport.stop()
    await start(network)
    await network.transport.stop()
    await network.transport.stop()


async def test_it_starts_again_after_a_stop(up: Network, start: Start) -> None:
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
    assert not [task for task in left if task.get_name().startswith(("sandbox:", "cloud:", "zapi:", "web:"))]


async def test_it_says_nothing_that_zapd_does_not_know(network: Network) -> None:
    assert network.transport.capabilities <= EVERYTHING
    assert "text" in network.transport.capabilities


@pytest.mark.parametrize("kind", KINDS)
async def test_it_sends_every_kind_it_says_it_can(network: Network, start: Start, kind: str, tmp_path: Path) -> None:
    if not {kind, type_of(kind)} <= network.transport.capabilities:
        pytest.skip(f"says that it cannot send {kind}")
    await start(network)
    enclosed = Enclosed(target=TARGET if kind in ABOUT else None, media=files_of(kind, tmp_path))
    message = a_message(type=type_of(kind), payload=orjson.dumps(KINDS[kind]))
    result = await network.transport.send(message, enclosed)
    assert result.provider_id
    assert result.accepted_at > 1_000_000_000_000
    assert network.arrived() == 1


async def test_it_quotes_a_message(up: Network) -> None:
    assert REPLY in up.transport.capabilities
    await up.transport.send(a_message(reply_to="msg_0"), Enclosed(target=TARGET))
    assert up.arrived() == 1


async def test_what_it_cannot_do_it_refuses(up: Network) -> None:
    calls: dict[str, Callable[[], Awaitable[object]]] = {
        READ: lambda: up.transport.mark_read(TARGET),
        TYPING: lambda: up.transport.typing(TARGET.peer, last=TARGET),
        LOOKUP: lambda: up.transport.resolve_number(["5511987654321"]),
        PAIR: lambda: up.transport.pair(),  # last, because it may cut the connection
    }
    for feature, call in calls.items():
        if feature in up.transport.capabilities:
            await call()
        else:
            with pytest.raises(Unsupported):
                await call()


async def test_a_probe_finds_it_alive(up: Network) -> None:
    assert (await up.transport.health()).alive


async def test_two_messages_have_two_provider_ids(up: Network) -> None:
    first, second = [await up.transport.send(a_message()) for _ in range(2)]
    assert first.provider_id != second.provider_id


async def test_receipts_name_the_message_by_every_id_that_the_wire_carries(up: Network) -> None:
    result = await up.transport.send(a_message("msg_7"))
    await eventually(lambda: MessageStatus.READ in {r.status for r in receipts(up)})
    ours = "msg_7" if up.echoes else None
    assert {(r.provider_id, r.message_id) for r in receipts(up)} == {(result.provider_id, ours)}
    told = list(dict.fromkeys(r.status for r in receipts(up)))
    assert told[-2:] == [MessageStatus.DELIVERED, MessageStatus.READ]  # some answer "sent" in no other way than at once
    assert set(told[:-2]) <= {MessageStatus.SENT}
    assert all(r.at > 1_000_000_000_000 for r in receipts(up))


async def test_a_lost_answer_is_an_unknown_outcome_that_a_receipt_clears_up(up: Network) -> None:
    await up.trouble(FaultKind.ANSWER_LOST)
    with pytest.raises(UnknownOutcome):
        await up.transport.send(a_message("msg_9"))
    assert up.arrived() == 1
    if up.echoes:
        await eventually(lambda: len(receipts(up)) >= 2)
        assert {r.message_id for r in receipts(up)} == {"msg_9"}


@pytest.mark.parametrize(
    ("kind", "whole_session"), [(FaultKind.RATE_LIMITED, True), (FaultKind.PAIR_RATE, False)], ids=["number", "pair"]
)
async def test_a_rate_limit_says_how_long_and_for_whom(up: Network, kind: FaultKind, whole_session: bool) -> None:
    if kind not in up.troubles:
        pytest.skip(f"its wire knows no {kind}")
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
    assert (refused.value.code, up.arrived()) == (up.undeliverable, 0)


async def test_what_a_contact_writes_comes_up_as_raw_bytes(up: Network) -> None:
    await up.write("oi")
    [update] = await eventually(lambda: inbound(up))
    assert (update.peer, update.type, orjson.loads(update.payload)) == ("5511987654321", "text", {"text": "oi"})
    assert update.name


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"{}", b"\x00\xff", b'{"object":1}', b'{"network":[]}'])
def test_bytes_of_another_network_are_a_value_error(network: Network, raw: bytes) -> None:
    with pytest.raises(ValueError):
        network.transport.parse(raw)
