"""Receipts: ranks only rise, each step is told once and in order, and what comes too early waits."""

import asyncio
import itertools
from typing import Any

import orjson
import pytest

from tests.integration.messaging.world import SEND, S, World, data_of, receipt, told
from tests.support.store import NOW
from zapd.messaging.receipts import Receipts
from zapd.messaging.submit import Submitted
from zapd.model.session import OnAmbiguous
from zapd.store.commands import Change, Delete
from zapd.store.tables import messages
from zapd.whatsapp.transport import Receipt, UnknownOutcome

STEPS = (S.SENT, S.DELIVERED, S.READ, S.PLAYED)


@pytest.fixture
async def sent(world: World) -> Submitted:
    """A message that the network calls P1."""
    await world.connect()
    submitted = await world.submit()
    await world.run(await world.job(submitted))
    return submitted


async def progress(world: World, submitted: Submitted) -> list[str]:
    return [step for step in await world.story(submitted.id) if step != "sending"]


@pytest.mark.parametrize("order", list(itertools.permutations(STEPS[:3])))
@pytest.mark.parametrize("together", [True, False], ids=["one body", "a body each"])
async def test_receipts_in_any_order_end_the_same(
    world: World, sent: Submitted, order: tuple[S, ...], together: bool
) -> None:
    bodies = [order] if together else [(status,) for status in order]
    for body in bodies:
        await world.tell(*[receipt(status) for status in body])
    assert await world.status(sent.id) is S.READ
    assert await progress(world, sent) == ["sent", "delivered", "read"]


@pytest.mark.parametrize("together", [True, False], ids=["one body", "a body each"])
async def test_receipts_that_come_twice_are_told_once(world: World, sent: Submitted, together: bool) -> None:
    await world.subscribe("message.*")
    twice = [receipt(status) for status in (S.DELIVERED, S.DELIVERED, S.READ, S.READ, S.DELIVERED)]
    for body in [twice] if together else [[one] for one in twice]:
        await world.tell(*body)
    assert await progress(world, sent) == ["sent", "delivered", "read"]
    assert len(await world.jobs("webhook:delivery")) == 2


@pytest.mark.parametrize("elsewhere", [S.DELIVERED, S.READ])
async def test_what_another_daemon_applied_meanwhile_is_told_once(world: World, sent: Submitted, elsewhere: S) -> None:
    """What is kept in memory of a message that was just sent is behind the truth then."""
    other = Receipts(
        messages=world.messages,
        parked=world.parked,
        announcer=world.announcer,
        commit=world.outbox.commit,
        now_ms=world.clock.now_ms,
        metrics=world.receipts._metrics,
        another_try=world.receipts._another_try,
    )
    await other.apply("default", "con_1", [told(elsewhere)])

    await world.tell(receipt(S.READ))

    assert await world.status(sent.id) is S.READ
    assert await progress(world, sent) == ["sent", "delivered", "read"]


async def test_a_receipt_of_a_message_that_was_erased_meanwhile_does_nothing(world: World, sent: Submitted) -> None:
    erased = Delete(table=messages, columns=(messages.c.tenant, messages.c.id))
    assert await world.outbox.commit(Change(erased, ("default", sent.id)))

    await world.tell(receipt(S.READ))

    assert "read" not in await progress(world, sent)


async def test_read_says_delivered_too(world: World, sent: Submitted) -> None:
    """`delivered` may never come when `read` does: wire facts §1.8."""
    await world.tell(receipt(S.READ, at=NOW + 9))
    assert await progress(world, sent) == ["sent", "delivered", "read"]
    assert (await world.message(sent.id)).read_at == NOW + 9


async def test_each_step_keeps_its_own_time_when_they_come_together(world: World, sent: Submitted) -> None:
    await world.tell(receipt(S.READ, at=NOW + 30), receipt(S.DELIVERED, at=NOW + 20))
    message = await world.message(sent.id)
    assert (message.delivered_at, message.read_at) == (NOW + 20, NOW + 30)
    delivered = orjson.loads((await world.event(sent.id, "message.delivered")).payload)
    assert delivered["timestamp"] == "2025-06-15T15:06:40.020Z"


async def test_a_repeat_beside_a_new_step_does_not_move_the_time_of_the_old_one(world: World, sent: Submitted) -> None:
    sent_at = (await world.message(sent.id)).sent_at
    await world.tell(receipt(S.DELIVERED, at=NOW + 20))
    await world.tell(receipt(S.SENT, at=NOW + 70), receipt(S.DELIVERED, at=NOW + 80), receipt(S.READ, at=NOW + 90))
    message = await world.message(sent.id)
    assert (message.sent_at, message.delivered_at, message.read_at) == (sent_at, NOW + 20, NOW + 90)


async def test_played_is_the_last_step(world: World, sent: Submitted) -> None:
    await world.tell(receipt(S.PLAYED))
    await world.tell(receipt(S.READ))
    assert await world.status(sent.id) is S.PLAYED
    assert await progress(world, sent) == ["sent", "delivered", "read", "played"]


async def test_receipts_in_many_bodies_at_once_are_told_once(world: World, sent: Submitted) -> None:
    for status in [*STEPS, *STEPS]:
        await world.intake(receipt(status))
    await asyncio.gather(*[world.receiver.receive(job) for job in await world.jobs("message:status")])
    assert await world.status(sent.id) is S.PLAYED
    assert await progress(world, sent) == ["sent", "delivered", "read", "played"]


async def test_receipts_of_many_messages_in_one_body_move_all_of_them(world: World) -> None:
    await world.connect()
    many = [await world.submit() for _ in range(5)]
    for submitted in many:
        await world.run(await world.job(submitted))
    await world.tell(*[receipt(S.DELIVERED, f"P{i}") for i in range(1, 6)])
    assert {await world.status(submitted.id) for submitted in many} == {S.DELIVERED}


# --- failed ---


async def test_a_message_may_fail_after_it_was_sent(world: World, sent: Submitted) -> None:
    await world.subscribe("message.failed")
    failed = told(S.FAILED, code="131047", detail="re-engagement")
    for _ in range(2):
        await world.receipts.apply("default", "con_1", [failed])
    message = await world.message(sent.id)
    assert (message.status, message.error_code, message.error) == (S.DLQ, "131047", "re-engagement")
    assert data_of(await world.event(sent.id, "message.failed"))["error"] == {
        "code": "131047",
        "detail": "re-engagement",
    }
    assert len(await world.jobs("webhook:delivery")) == 1


async def test_delivered_after_failed_wins_and_sent_is_not_told_again(world: World, sent: Submitted) -> None:
    """Phones with several devices report both: wire facts §1.8."""
    await world.tell(receipt(S.FAILED))
    await world.tell(receipt(S.DELIVERED))
    message = await world.message(sent.id)
    assert (message.status, message.error_code, message.error) == (S.DELIVERED, None, None)
    assert await progress(world, sent) == ["sent", "failed", "delivered"]


async def test_failed_after_delivered_is_ignored(world: World, sent: Submitted) -> None:
    await world.tell(receipt(S.DELIVERED))
    await world.tell(receipt(S.FAILED))
    assert await world.status(sent.id) is S.DELIVERED
    assert await progress(world, sent) == ["sent", "delivered"]


@pytest.mark.parametrize("order", [(S.DELIVERED, S.FAILED), (S.FAILED, S.DELIVERED)])
async def test_failed_beside_delivered_is_not_told(world: World, sent: Submitted, order: tuple[S, ...]) -> None:
    await world.tell(*[receipt(status) for status in order])
    assert await world.status(sent.id) is S.DELIVERED
    assert await progress(world, sent) == ["sent", "delivered"]


async def test_sent_after_failed_is_ignored(world: World, sent: Submitted) -> None:
    await world.tell(receipt(S.FAILED))
    await world.tell(receipt(S.SENT))
    assert await world.status(sent.id) is S.DLQ


# --- whose message ---


async def test_a_receipt_of_another_connection_or_tenant_moves_nothing(world: World, sent: Submitted) -> None:
    await world.connect("con_2")
    await world.connect(tenant="other")
    for tenant, connection_id in [("default", "con_2"), ("other", "con_1")]:
        await world.receipts.apply(tenant, connection_id, [told(S.READ, message_id=sent.id), told(S.READ)])
    assert await world.status(sent.id) is S.SENT


async def test_a_receipt_of_a_message_that_nobody_knows_is_parked(world: World) -> None:
    await world.connect()
    await world.tell(receipt(S.DELIVERED, "P-unknown"))
    await world.tell(receipt(S.DELIVERED, "P-unknown"))
    (parked,) = await world.parked.of("default", "con_1", "P-unknown")
    assert (parked.status, parked.at) == (S.DELIVERED, NOW)


async def test_a_receipt_that_settles_a_held_message_names_it(world: World) -> None:
    await world.connect(on_ambiguous=OnAmbiguous.HOLD)
    submitted = await world.submit()
    world.wire.answers.append(UnknownOutcome("timeout"))
    await world.run(await world.job(submitted))
    assert await world.status(submitted.id) is S.HELD

    await world.tell(receipt(S.DELIVERED, "wamid.7", message_id=submitted.id))

    message = await world.message(submitted.id)
    assert (message.status, message.provider_id, message.error_code) == (S.DELIVERED, "wamid.7", None)
    assert await progress(world, submitted) == ["held", "sent", "delivered"]


# --- too early ---


async def sends_with(world: World, *bodies: list[dict[str, Any]]) -> Submitted:
    """A message whose receipts come while its send waits for the answer; they do not name it."""
    await world.connect()
    submitted = await world.submit()

    async def early(_: object) -> None:
        for body in bodies:
            await world.tell(*body)

    world.wire.before_answer = early
    await world.run(await world.job(submitted))
    return submitted


@pytest.mark.parametrize("order", list(itertools.permutations(STEPS[:3])))
@pytest.mark.parametrize("together", [True, False], ids=["one body", "a body each"])
async def test_early_receipts_wait_for_the_answer(world: World, order: tuple[S, ...], together: bool) -> None:
    receipts = [receipt(status, at=NOW + 10 * STEPS.index(status)) for status in order]
    submitted = await sends_with(world, *([receipts] if together else [[one] for one in receipts]))
    message = await world.message(submitted.id)
    assert message.status is S.READ
    assert (message.delivered_at, message.read_at) == (NOW + 10, NOW + 20)
    assert await progress(world, submitted) == ["sent", "delivered", "read"]
    assert await world.parked.of("default", "con_1", "P1") == []


async def test_an_early_failure_waits_too(world: World) -> None:
    submitted = await sends_with(world, [receipt(S.FAILED)])
    assert await world.status(submitted.id) is S.DLQ
    assert await progress(world, submitted) == ["sent", "failed"]


async def test_a_receipt_that_parks_while_sent_is_recorded_is_not_left_behind(world: World) -> None:
    """The race between the look and the parking, in both directions, many times."""
    await world.connect()
    for number in range(1, 31):
        submitted = await world.submit()
        job = await world.job(submitted)
        early = world.receipts.apply("default", "con_1", [told(S.DELIVERED, f"P{number}")])
        await asyncio.gather(*([world.run(job), early] if number % 2 else [early, world.run(job)]))
        assert await world.status(submitted.id) is S.DELIVERED
        assert await progress(world, submitted) == ["sent", "delivered"]


async def test_a_parked_receipt_is_applied_though_the_message_was_found_between_look_and_park(world: World) -> None:
    """The exact interleaving: looked, `sent` recorded and parked ones asked for, then parked."""
    await world.connect()
    submitted = await world.submit()
    job = await world.job(submitted)
    park = world.receipts._commit

    async def slow_park(*changes: Any, **more: Any) -> Any:
        world.receipts._commit = park
        await world.run(job)
        return await park(*changes, **more)

    world.receipts._commit = slow_park
    await world.receipts.apply("default", "con_1", [told(S.DELIVERED)])
    assert await world.status(submitted.id) is S.DELIVERED
    assert await progress(world, submitted) == ["sent", "delivered"]


async def test_what_was_parked_is_applied_though_the_sender_died_before_it_looked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.connect()
    submitted = await world.submit()
    job = await world.job(submitted)
    monkeypatch.setattr(world.parked, "of", _died)

    async def early(_: object) -> None:
        await world.tell(receipt(S.READ))

    world.wire.before_answer = early
    with pytest.raises(ConnectionResetError):
        await world.run(job)
    monkeypatch.undo()

    await world.run(job)

    assert await world.status(submitted.id) is S.READ
    assert await progress(world, submitted) == ["sent", "delivered", "read"]


async def _died(*_: object) -> Any:
    raise ConnectionResetError


# --- a failure that comes after the answer ---


async def fails(world: World, code: str, provider_id: str = "P1") -> None:
    failed = Receipt(provider_id=provider_id, status=S.FAILED, at=world.clock.now_ms(), code=code, detail="why")
    await world.receipts.apply("default", "con_1", [failed])


@pytest.mark.parametrize(
    ("code", "seconds"), [("130429", 10), ("131056", 10), ("131057", 60), ("131000", 10), ("send_timeout", 10)]
)
async def test_what_a_send_would_try_again_a_receipt_tries_again(
    world: World, sent: Submitted, code: str, seconds: int
) -> None:
    await fails(world, code)
    assert await world.status(sent.id) is S.FAILED
    [job] = [job for job in await world.jobs(SEND) if job.id != sent.job_id]
    assert job.due_at == world.clock.now_ms() + seconds * 1000
    await world.run(job)
    assert await world.status(sent.id) is S.SENT
    assert await progress(world, sent) == ["sent", "retrying", "sent"]
    assert len(world.wire.sent) == 2


async def test_the_second_such_failure_is_the_last(world: World, sent: Submitted) -> None:
    await fails(world, "131000")
    [job] = [job for job in await world.jobs(SEND) if job.id != sent.job_id]
    await world.run(job)
    await fails(world, "131000", "P2")
    assert await world.status(sent.id) is S.DLQ
    assert (await progress(world, sent))[-1] == "failed"


@pytest.mark.parametrize("code", ["131026", "131047", "131042", "brand_new"])
async def test_what_no_try_can_mend_is_given_up(world: World, sent: Submitted, code: str) -> None:
    await fails(world, code)
    assert await world.status(sent.id) is S.DLQ


async def test_a_failure_that_is_told_again_does_not_meet_the_next_try(world: World, sent: Submitted) -> None:
    """Meta tells it by our own id too, so that it finds the message under its new one."""
    await fails(world, "131000")
    again = Receipt(provider_id="P1", status=S.FAILED, at=1, code="131000", message_id=sent.id)
    await world.receipts.apply("default", "con_1", [again])
    [job] = [job for job in await world.jobs(SEND) if job.id != sent.job_id]
    await world.run(job)
    await world.receipts.apply("default", "con_1", [again])
    assert await world.status(sent.id) is S.SENT


async def test_a_message_that_arrived_after_all_is_not_sent_again(world: World, sent: Submitted) -> None:
    await fails(world, "131000")
    await world.tell(receipt(S.DELIVERED))
    [job] = [job for job in await world.jobs(SEND) if job.id != sent.job_id]
    await world.run(job)
    assert (await world.status(sent.id), len(world.wire.sent)) == (S.DELIVERED, 1)
