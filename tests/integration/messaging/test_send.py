"""How a send ends: what becomes of the message, what is told of it, and what its job does next."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.integration.messaging.world import SEND, S, World, data_of, receipt, relaying
from tests.support import eventually
from zapd.errors import Conflict
from zapd.jobs.job import Discard, Done, Outcome, Retry, Snooze
from zapd.messaging.submit import Submitted
from zapd.model.session import OnAmbiguous, SessionState
from zapd.whatsapp.transport import (
    NotConnected,
    PauseNewContacts,
    PauseSession,
    Permanent,
    RetryAt,
    SendError,
    SendResult,
    Trace,
    UnknownOutcome,
)


async def waiting(world: World, policy: OnAmbiguous = OnAmbiguous.RESEND, **changes: Any) -> Submitted:
    """A message that waits on a connection with this policy."""
    await world.connect(on_ambiguous=policy)
    return await world.submit(**changes)


async def in_doubt(world: World, policy: OnAmbiguous, **changes: Any) -> Submitted:
    """A message that was `sending` when its worker died."""
    submitted = await waiting(world, policy, **changes)
    await world.change(world.messages.claimed("default", submitted.id, world.clock.now_ms()))
    return submitted


# --- it works ---


async def test_a_message_that_the_network_took_is_sent(world: World) -> None:
    submitted = await waiting(world)
    await world.subscribe("message.sent")
    world.wire.answers.append(SendResult(provider_id="wamid.1", accepted_at=world.clock.now_ms() + 5))

    assert await world.run(await world.job(submitted)) == Done()

    message = await world.message(submitted.id)
    assert (message.status, message.provider_id) == (S.SENT, "wamid.1")
    assert (message.sending_at, message.sent_at) == (world.clock.now_ms(), world.clock.now_ms() + 5)
    assert await world.story(submitted.id) == ["sending", "sent"]
    sent = data_of(await world.event(submitted.id, "message.sent"))
    assert sent == {"message_id": submitted.id, "to": "5511999998888", "provider_id": "wamid.1"}
    assert len(await world.jobs("webhook:delivery")) == 1  # `sending` is no public event


async def test_sending_is_committed_before_the_network_is_called(world: World) -> None:
    submitted = await waiting(world)
    seen = []

    async def look(_: object) -> None:
        seen.append(await world.status(submitted.id))

    world.wire.before_answer = look
    await world.run(await world.job(submitted))
    assert seen == [S.SENDING]


async def test_the_attempt_is_told(world: World) -> None:
    submitted = await waiting(world)
    await world.run(replace(await world.job(submitted), attempt=3))
    assert data_of(await world.event(submitted.id, "message.sending"))["attempt"] == 3


# --- it does not: every kind of trouble ---

TROUBLE: list[tuple[SendError, Outcome, S, list[str]]] = [
    (RetryAt("500", "a moment"), Retry("500: a moment"), S.FAILED, ["sending", "retrying"]),
    (RetryAt("131056", wait=7.5), Snooze(7.5), S.QUEUED, ["sending", "requeued"]),
    (RetryAt("429", wait=3, whole_session=True), Snooze(3, park_lane=True), S.QUEUED, ["sending", "requeued"]),
    (Permanent("131026", "undeliverable"), Discard("131026", "undeliverable"), S.DLQ, ["sending", "failed"]),
    (PauseSession("368", "blocked"), Snooze(5.0, park_lane=True), S.QUEUED, ["sending", "requeued"]),
    (PauseNewContacts("463", wait=90.0), Snooze(90.0), S.QUEUED, ["sending", "requeued"]),
    (NotConnected("reconnecting"), Snooze(5.0, park_lane=True), S.QUEUED, ["sending", "requeued"]),
]


@pytest.mark.parametrize(("error", "outcome", "status", "story"), TROUBLE, ids=lambda value: type(value).__name__)
async def test_each_trouble_has_its_end(
    world: World, error: SendError, outcome: Outcome, status: S, story: list[str]
) -> None:
    submitted = await waiting(world)
    world.wire.answers.append(error)

    assert await world.run(await world.job(submitted)) == outcome

    message = await world.message(submitted.id)
    assert (message.status, message.error_code, message.error) == (status, error.code, error.detail)
    assert await world.story(submitted.id) == story


@pytest.mark.parametrize("error", [error for error, _, status, _ in TROUBLE if status is not S.DLQ], ids=str)
async def test_after_a_trouble_that_passes_the_next_run_sends_once(world: World, error: SendError) -> None:
    submitted = await waiting(world)
    world.wire.answers.append(error)
    job = await world.job(submitted)
    await world.run(job)
    world.clock.advance(100)  # longer than any of them asks to wait

    assert await world.run(job) == Done()

    message = await world.message(submitted.id)
    assert (message.status, message.error_code) == (S.SENT, None)
    assert (await world.story(submitted.id))[-2:] == ["sending", "sent"]


async def test_a_message_that_cannot_be_sent_is_announced_as_failed_once(world: World) -> None:
    submitted = await waiting(world)
    await world.subscribe("message.failed")
    world.wire.answers.append(Permanent("131026", "undeliverable"))
    job = await world.job(submitted)
    await world.run(job)

    await world.sender.dead(job, "131026", "undeliverable")  # told again after a crash

    failed = await world.event(submitted.id, "message.failed")
    assert data_of(failed)["error"] == {"code": "131026", "detail": "undeliverable"}
    assert len(await world.jobs("webhook:delivery")) == 1


@pytest.mark.parametrize("status", [S.SENT, S.DELIVERED, S.CANCELED, S.EXPIRED, S.DLQ])
async def test_the_death_of_a_job_changes_no_message_that_was_settled(world: World, status: S) -> None:
    submitted = await waiting(world)
    job = await world.job(submitted)
    await world.change(
        world.messages.moved("default", submitted.id, to=status, frm=frozenset({S.QUEUED}), at=world.clock.now_ms())
    )
    await world.sender.dead(job, "poison", "its worker died")
    assert (await world.status(submitted.id), await world.story(submitted.id)) == (status, [])


# --- nobody knows whether it left ---

POLICIES = list(OnAmbiguous)
LOST = UnknownOutcome("timeout", "no answer")


async def test_resend_sends_again_after_the_backoff_and_says_so(world: World) -> None:
    submitted = await waiting(world, OnAmbiguous.RESEND)
    world.wire.answers.append(LOST)
    job = await world.job(submitted)

    assert await world.run(job) == Retry("timeout: no answer")
    assert await world.status(submitted.id) is S.SENDING
    assert await world.run(job) == Done()

    assert len(world.wire.sent) == 2
    assert await world.story(submitted.id) == ["sending", "resending", "sent"]


@pytest.mark.parametrize("lost", [True, False], ids=["answer lost", "worker died"])
async def test_hold_lets_a_person_decide_and_does_not_send(world: World, lost: bool) -> None:
    if lost:
        submitted = await waiting(world, OnAmbiguous.HOLD)
        world.wire.answers.append(LOST)
    else:
        submitted = await in_doubt(world, OnAmbiguous.HOLD)
    await world.subscribe("message.held")
    job = await world.job(submitted)

    assert await world.run(job) == Done()
    assert await world.run(job) == Done()

    assert (await world.message(submitted.id)).status is S.HELD
    assert len(world.wire.sent) == lost
    assert (await world.story(submitted.id)).count("held") == 1
    assert len(await world.jobs("webhook:delivery")) == 1


@pytest.mark.parametrize("early", [False, True])
async def test_a_held_message_is_settled_by_a_receipt_under_the_id_that_was_traced(world: World, early: bool) -> None:
    submitted = await waiting(world, OnAmbiguous.HOLD)
    world.wire.answers.append(UnknownOutcome("worker_died", provider_id="3EB0"))
    job = await world.job(submitted)
    if early:
        await world.tell(receipt(S.DELIVERED, "3EB0"))
    await world.run(job)
    if not early:
        assert await world.status(submitted.id) is S.HELD
        await world.tell(receipt(S.DELIVERED, "3EB0"))

    message = await world.message(submitted.id)
    assert (message.status, message.provider_id) == (S.DELIVERED, "3EB0")
    assert len(world.wire.sent) == 1


async def test_a_doubt_is_held_under_the_id_that_was_traced(world: World) -> None:
    submitted = await in_doubt(world, OnAmbiguous.HOLD)
    world.wire.traces = Trace(provider_id="3EB0")
    await world.run(await world.job(submitted))
    message = await world.message(submitted.id)
    assert (message.status, message.provider_id) == (S.HELD, "3EB0")
    assert world.wire.sent == []


@pytest.mark.parametrize("policy", OnAmbiguous)
async def test_what_certainly_never_left_is_sent_by_every_policy(world: World, policy: OnAmbiguous) -> None:
    submitted = await in_doubt(world, policy)
    world.wire.traces = Trace(provider_id=None)
    assert await world.run(await world.job(submitted)) == Done()
    assert await world.status(submitted.id) is S.SENT
    assert len(world.wire.sent) == 1


async def test_what_never_left_and_has_expired_is_not_sent_late(world: World) -> None:
    submitted = await in_doubt(world, OnAmbiguous.HOLD, expires_at=world.clock.now_ms() + 1000)
    world.wire.traces = Trace(provider_id=None)
    world.clock.advance(2)
    await world.run(await world.job(submitted))
    assert (await world.status(submitted.id), world.wire.sent) == (S.HELD, [])


async def test_a_held_message_is_sent_when_a_person_says_so(world: World) -> None:
    submitted = await in_doubt(world, OnAmbiguous.HOLD)
    await world.run(await world.job(submitted))
    await world.messaging.retry("default", submitted.id)

    (job,) = await world.jobs(SEND)
    assert await world.run(job) == Done()
    assert await world.status(submitted.id) is S.SENT


async def test_a_message_whose_worker_died_is_sent_again_at_once_by_resend(world: World) -> None:
    submitted = await in_doubt(world, OnAmbiguous.RESEND)
    assert await world.run(await world.job(submitted)) == Done()
    assert len(world.wire.sent) == 1
    assert await world.story(submitted.id) == ["resending", "sent"]


async def test_verify_waits_a_minute_and_then_sends_once_more(world: World) -> None:
    submitted = await waiting(world, OnAmbiguous.VERIFY)
    world.wire.answers.append(LOST)
    job = await world.job(submitted)

    assert await world.run(job) == Retry("timeout: no answer", after=60.0)
    world.clock.advance(59)
    assert await world.run(job) == Snooze(1.0)  # its lane goes on
    assert len(world.wire.sent) == 1
    world.clock.advance(1)
    assert await world.run(job) == Done()

    assert len(world.wire.sent) == 2
    assert await world.status(submitted.id) is S.SENT


async def test_verify_waits_a_minute_from_the_send_of_a_worker_that_died(world: World) -> None:
    submitted = await in_doubt(world, OnAmbiguous.VERIFY)
    job = await world.job(submitted)
    world.clock.advance(20)

    assert await world.run(job) == Snooze(40.0)
    assert world.wire.sent == []
    world.clock.advance(40)
    assert await world.run(job) == Done()
    assert len(world.wire.sent) == 1


async def test_a_second_doubt_waits_a_minute_of_its_own(world: World) -> None:
    submitted = await in_doubt(world, OnAmbiguous.VERIFY)
    job = await world.job(submitted)
    world.clock.advance(60)
    world.wire.answers.append(LOST)

    assert await world.run(job) == Retry("timeout: no answer", after=60.0)
    world.clock.advance(30)
    assert await world.run(job) == Snooze(30.0)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("status", [S.SENT, S.DELIVERED, S.READ])
async def test_a_late_receipt_settles_a_doubt_without_a_second_send(
    world: World, policy: OnAmbiguous, status: S
) -> None:
    submitted = await waiting(world, policy)
    world.wire.answers.append(LOST)
    job = await world.job(submitted)
    await world.run(job)
    world.clock.advance(30)

    await world.tell(receipt(status, "wamid.9", message_id=submitted.id))
    world.clock.advance(31)

    assert await world.run(job) == Done()
    message = await world.message(submitted.id)
    assert (message.status, message.provider_id, len(world.wire.sent)) == (status, "wamid.9", 1)
    assert (await world.story(submitted.id)).count("sent") == 1


async def test_a_failed_receipt_settles_a_doubt_too(world: World) -> None:
    submitted = await waiting(world, OnAmbiguous.VERIFY)
    world.wire.answers.append(LOST)
    job = await world.job(submitted)
    await world.run(job)
    await world.tell(receipt(S.FAILED, message_id=submitted.id))
    world.clock.advance(60)
    assert await world.run(job) == Done()
    assert (await world.status(submitted.id), len(world.wire.sent)) == (S.DLQ, 1)


async def test_an_error_that_nobody_foresaw_leaves_a_doubt(world: World) -> None:
    submitted = await waiting(world, OnAmbiguous.HOLD)
    world.wire.answers.append(ZeroDivisionError("a bug in a transport"))
    job = await world.job(submitted)
    with pytest.raises(ZeroDivisionError):  # the pool makes it a retry
        await world.run(job)
    assert await world.run(job) == Done()
    assert await world.status(submitted.id) is S.HELD


async def test_doubt_without_end_burns_the_attempts(world: World) -> None:
    """Through the real pool: five tries, then the dead letters, and the failure is told once."""
    submitted = await waiting(world, OnAmbiguous.RESEND)
    await world.subscribe("message.failed")
    world.wire.answers.extend([LOST] * 50)
    pool = world.engine.pool(world.sender.send, SEND, on_dead=world.sender.dead)
    async with relaying(world.outbox):
        await world.engine.dispatch(pool)
        await eventually(lambda: world.engine.over)
    assert world.engine.over == [submitted.job_id]
    assert await world.engine.broker.locate(SEND, [submitted.job_id]) == ["dead"]
    assert len(world.wire.sent) == 5
    assert await world.status(submitted.id) is S.DLQ
    assert await world.story(submitted.id) == ["sending", *["resending"] * 4, "failed"]
    failed = data_of(await world.event(submitted.id, "message.failed"))
    assert failed["error"] == {"code": "attempts", "detail": "timeout: no answer"}


# --- not now, or not any more ---


@pytest.mark.parametrize("state", [SessionState.PAUSED, SessionState.RECONNECTING, SessionState.CLOSING])
async def test_while_the_session_is_away_the_message_and_its_lane_wait(world: World, state: SessionState) -> None:
    await world.connect(state=SessionState.CONNECTED)
    submitted = await world.submit()
    await world.change(
        world.connections.moved("default", "con_1", to=state, reason=None, at=1, frm=frozenset(SessionState))
    )
    world.wire.up = False
    assert await world.run(await world.job(submitted)) == Snooze(5.0, park_lane=True, given_back=True)
    assert (await world.status(submitted.id), await world.story(submitted.id)) == (S.QUEUED, [])


@pytest.mark.parametrize("doubt", [False, True])
async def test_a_message_of_a_connection_that_was_closed_goes_to_the_dead_letters(world: World, doubt: bool) -> None:
    submitted = await (in_doubt if doubt else waiting)(world, OnAmbiguous.RESEND)
    closed = world.connections.moved(
        "default", "con_1", to=SessionState.CLOSED, reason=None, at=1, frm=frozenset(SessionState)
    )
    await world.change(closed)
    world.wire.up = False

    outcome = await world.run(await world.job(submitted))

    assert isinstance(outcome, Discard)
    assert outcome.reason == "connection_closed"
    message = await world.message(submitted.id)
    assert (message.status, message.error_code) == (S.DLQ, "connection_closed")
    assert world.wire.sent == []


@pytest.mark.parametrize("up", [True, False], ids=["connected", "away"])
async def test_an_expired_message_is_not_sent(world: World, up: bool) -> None:
    submitted = await waiting(world, expires_at=world.clock.now_ms() + 1000)
    await world.subscribe("message.expired")
    job = await world.job(submitted)
    world.wire.up = up
    world.clock.advance(1)

    assert await world.run(job) == Done()
    assert await world.run(job) == Done()

    assert (await world.status(submitted.id), world.wire.sent) == (S.EXPIRED, [])
    assert await world.story(submitted.id) == ["expired"]
    assert len(await world.jobs("webhook:delivery")) == 1


async def test_a_message_that_expires_between_two_tries_is_not_tried_again(world: World) -> None:
    submitted = await waiting(world, expires_at=world.clock.now_ms() + 1000)
    world.wire.answers.append(RetryAt("500"))
    job = await world.job(submitted)
    await world.run(job)
    world.clock.advance(1)
    assert await world.run(job) == Done()
    assert (await world.status(submitted.id), len(world.wire.sent)) == (S.EXPIRED, 1)


@pytest.mark.parametrize("policy", POLICIES)
async def test_a_doubt_about_a_message_that_has_expired_is_not_settled_by_sending_it_late(
    world: World, policy: OnAmbiguous
) -> None:
    submitted = await in_doubt(world, policy, expires_at=world.clock.now_ms() + 1000)
    world.clock.advance(3600)
    assert await world.run(await world.job(submitted)) == Done()
    assert (await world.status(submitted.id), world.wire.sent) == (S.HELD, [])


@pytest.mark.parametrize("status", [S.SENT, S.DELIVERED, S.READ, S.CANCELED, S.HELD, S.DLQ, S.EXPIRED])
async def test_a_job_whose_message_was_settled_does_nothing(world: World, status: S) -> None:
    submitted = await waiting(world)
    await world.change(
        world.messages.moved("default", submitted.id, to=status, frm=frozenset({S.QUEUED}), at=world.clock.now_ms())
    )
    assert await world.run(await world.job(submitted)) == Done()
    assert (await world.status(submitted.id), world.wire.sent, await world.story(submitted.id)) == (status, [], [])


async def test_two_jobs_of_one_message_at_once_send_it_once(world: World) -> None:
    """After a FLUSHALL SQL puts a job back that still runs."""
    submitted = await waiting(world, OnAmbiguous.HOLD)
    job = await world.job(submitted)
    reached, answer = asyncio.Event(), asyncio.Event()

    async def wait(_: object) -> None:
        reached.set()
        await answer.wait()

    world.wire.before_answer = wait
    first = asyncio.create_task(world.run(job))
    await reached.wait()
    assert await world.run(job) == Done()  # finds it in `sending`: holds
    answer.set()
    assert await first == Done()
    assert (await world.status(submitted.id), len(world.wire.sent)) == (S.SENT, 1)


async def test_a_receipt_that_is_faster_than_the_answer_is_not_undone_by_it(world: World) -> None:
    submitted = await waiting(world)

    async def early(_: object) -> None:
        await world.tell(receipt(S.READ, "P1", message_id=submitted.id))

    world.wire.before_answer = early
    assert await world.run(await world.job(submitted)) == Done()
    message = await world.message(submitted.id)
    assert (message.status, message.provider_id) == (S.READ, "P1")
    assert await world.story(submitted.id) == ["sending", "sent", "delivered", "read"]


async def test_a_retry_at_the_moment_of_the_claim_does_not_send_twice(world: World) -> None:
    submitted = await waiting(world)
    world.wire.answers.append(RetryAt("500"))
    job = await world.job(submitted)
    await world.run(job)
    retried, _ = await asyncio.gather(
        world.messaging.retry("default", submitted.id), world.run(job), return_exceptions=True
    )
    for left in await world.jobs(SEND):
        await world.run(left)
    assert isinstance(retried, Conflict) or retried.job_id != job.id  # type: ignore[union-attr]  # else a Message
    assert await world.status(submitted.id) is S.SENT
    assert len(world.wire.sent) == 2  # the one that failed, and one
