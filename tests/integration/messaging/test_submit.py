"""Accepting a message, and what a person may do to it while it waits."""

import asyncio
from typing import Any

import orjson
import pytest

from tests.integration.messaging.world import SEND, S, World
from tests.support.store import message as a_message
from zapd.errors import Conflict, InvalidInput, NotFound
from zapd.messaging.submit import Submitted
from zapd.model.session import SessionState


@pytest.fixture(autouse=True)
async def _connection(world: World) -> None:
    await world.connect()


# --- accepted means kept ---


async def test_an_accepted_message_is_there_with_the_job_that_sends_it(world: World) -> None:
    submitted = await world.submit(to="+55 11 99999-8888", priority=7, reply_to="wamid.1")

    message = await world.message(submitted.id)
    (job,) = await world.jobs(SEND)
    assert (message.status, message.peer, message.payload, message.reply_to) == (
        S.QUEUED,
        "5511999998888",
        b'{"text":"Oi"}',
        "wamid.1",
    )
    assert (submitted.status, submitted.repeated) == ("queued", False)
    assert job.id == submitted.job_id == message.job_id
    assert (job.priority, job.lane, job.due_at) == (7, "con_1", 0)
    assert orjson.loads(job.payload) == {
        "message_id": submitted.id,
        "connection_id": "con_1",
        "expires_at": None,
        "to": "5511999998888",
    }


async def test_neither_message_nor_job_is_there_when_one_of_them_is_refused(world: World) -> None:
    """Both are one transaction: a job whose row cannot be written takes the message with it."""
    await world.change(world.messages.added(a_message("msg_mine")))

    with pytest.raises(Conflict):
        await world.submit(message_id="msg_mine", idempotency_key="k", fingerprint=b"f")

    assert await world.jobs(SEND) == []
    assert await world.idempotency.answer("default", "send:con_1", "k", b"f") is None  # the key can be used again


async def test_connections_of_two_tenants_with_one_id_have_two_lanes(world: World) -> None:
    await world.connect(tenant="other")
    await world.submit()
    await world.submit(tenant="other")
    assert [job.lane for job in await world.jobs(SEND)] == ["con_1", "other/con_1"]


# --- what is refused ---


async def test_an_id_that_is_taken_is_a_conflict_and_makes_no_second_job(world: World) -> None:
    await world.submit(message_id="msg_mine")

    with pytest.raises(Conflict, match="msg_mine"):
        await world.submit(message_id="msg_mine")

    assert len(await world.jobs(SEND)) == 1


async def test_of_many_who_choose_one_id_at_once_one_is_accepted(world: World) -> None:
    tries = await asyncio.gather(*[world.submit(message_id="msg_mine") for _ in range(10)], return_exceptions=True)
    assert sorted(type(result).__name__ for result in tries) == ["Conflict"] * 9 + ["Submitted"]
    assert len(await world.jobs(SEND)) == 1


async def test_an_id_is_free_for_every_tenant(world: World) -> None:
    await world.connect(tenant="other")
    await world.submit(message_id="msg_mine")
    assert (await world.submit(message_id="msg_mine", tenant="other")).id == "msg_mine"


@pytest.mark.parametrize("state", [SessionState.CLOSING, SessionState.CLOSED])
async def test_a_closed_connection_is_a_conflict(world: World, state: SessionState) -> None:
    await world.connect("con_gone", state=state)
    with pytest.raises(Conflict, match=f"con_gone is {state}"):
        await world.submit(connection_id="con_gone")


@pytest.mark.parametrize("state", sorted(set(SessionState) - {SessionState.CLOSING, SessionState.CLOSED}))
async def test_any_other_state_of_the_connection_lets_messages_wait(world: World, state: SessionState) -> None:
    await world.connect("con_away", state=state)
    assert (await world.submit(connection_id="con_away")).status == "queued"


async def test_a_connection_that_is_not_there_or_anothers_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        await world.submit(connection_id="con_2")
    with pytest.raises(NotFound):
        await world.submit(tenant="other")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"to": "hello"}, "to"),
        ({"payload": b'{"text":" "}'}, "payload.text"),
        ({"type": "hologram"}, "type"),
    ],
)
async def test_what_cannot_be_sent_is_refused_by_its_field(world: World, change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await world.submit(**change)
    assert [error.field for error in refused.value.fields] == [field]
    assert await world.jobs(SEND) == []


@pytest.mark.parametrize(
    ("send_in", "expires_in", "accepted"),
    [
        *[(None, 1, True), (None, 0, False), (None, -1, False)],
        *[(10, 11, True), (10, 10, False), (10, 5, False)],
        *[(-10, 1, True), (-10, -5, False)],
    ],
)
async def test_a_message_expires_after_now_and_after_it_is_to_leave(
    world: World, send_in: int | None, expires_in: int, accepted: bool
) -> None:
    now = world.clock.now_ms()
    times = {"send_at": None if send_in is None else now + send_in, "expires_at": now + expires_in}
    if accepted:
        await world.submit(**times)
        (job,) = await world.jobs(SEND)
        assert job.due_at == (times["send_at"] or 0)
        assert orjson.loads(job.payload)["expires_at"] == times["expires_at"]
        return
    with pytest.raises(InvalidInput) as refused:
        await world.submit(**times)
    assert [error.field for error in refused.value.fields] == ["expires_at"]


# --- idempotency ---


async def once(world: World, key: str = "k", body: bytes = b"body", **changes: Any) -> Submitted:
    return await world.submit(idempotency_key=key, fingerprint=body, **changes)


async def test_the_same_key_and_body_give_the_first_answer_and_one_message(world: World) -> None:
    first = await once(world)
    again = await once(world)
    assert (again.id, again.job_id, again.repeated) == (first.id, first.job_id, True)
    assert len(await world.jobs(SEND)) == 1


async def test_the_same_key_with_another_body_is_a_conflict(world: World) -> None:
    await once(world)
    with pytest.raises(Conflict, match="another body"):
        await once(world, body=b"other")
    assert len(await world.jobs(SEND)) == 1


async def test_of_many_with_the_same_key_at_once_one_is_accepted_and_all_get_its_answer(world: World) -> None:
    answers = await asyncio.gather(*[once(world) for _ in range(20)])
    assert len({answer.id for answer in answers}) == 1
    assert sorted(answer.repeated for answer in answers) == [False] + [True] * 19
    assert len(await world.jobs(SEND)) == 1


async def test_a_key_holds_for_one_connection_of_one_tenant(world: World) -> None:
    await world.connect("con_2")
    await world.connect(tenant="other")
    answers = [await once(world), await once(world, connection_id="con_2"), await once(world, tenant="other")]
    assert not any(answer.repeated for answer in answers)


async def test_a_repeat_with_an_id_of_its_own_is_a_repeat_too(world: World) -> None:
    first = await once(world, message_id="msg_mine")
    again = await once(world, message_id="msg_mine")
    assert (again.id, again.repeated) == (first.id, True) == ("msg_mine", True)


async def test_another_key_with_an_id_that_is_taken_is_a_conflict_and_keeps_its_key_free(world: World) -> None:
    await once(world, message_id="msg_mine")
    with pytest.raises(Conflict, match="msg_mine"):
        await once(world, "k2", message_id="msg_mine")
    assert not (await once(world, "k2", message_id="msg_new")).repeated


async def test_a_repeat_gets_the_first_answer_though_the_message_has_expired_meanwhile(world: World) -> None:
    expires_at = world.clock.now_ms() + 10_000
    first = await once(world, expires_at=expires_at)
    world.clock.advance(60)
    assert (await once(world, expires_at=expires_at)).id == first.id


async def test_a_repeat_gets_the_first_answer_though_the_connection_was_closed_meanwhile(world: World) -> None:
    first = await once(world)
    closed = world.connections.moved(
        "default", "con_1", to=SessionState.CLOSED, reason=None, at=1, frm=frozenset(SessionState)
    )
    await world.change(closed)
    assert (await once(world)).id == first.id
    with pytest.raises(Conflict, match="closed"):
        await once(world, "k2")


# --- retry and cancel ---


async def put(world: World, status: S) -> Submitted:
    """A message that was submitted and is in this state now."""
    submitted = await world.submit(expires_at=world.clock.now_ms() + 1)
    await world.change(
        world.messages.moved("default", submitted.id, to=status, frm=frozenset({S.QUEUED}), at=world.clock.now_ms())
    )
    return submitted


@pytest.mark.parametrize("status", [S.FAILED, S.DLQ, S.HELD, S.EXPIRED])
async def test_a_retried_message_is_queued_with_a_new_job_ahead_of_the_others(world: World, status: S) -> None:
    submitted = await put(world, status)

    message = await world.messaging.retry("default", submitted.id)

    (job,) = await world.jobs(SEND)  # the old one is gone
    assert (message.status, message.expires_at, message.send_at) == (S.QUEUED, None, None)
    assert job.id == message.job_id != submitted.job_id
    assert job.priority == 6
    assert orjson.loads(job.payload)["expires_at"] is None
    assert await world.story(submitted.id) == ["retried"]


async def test_a_retry_keeps_a_priority_that_is_higher_already(world: World) -> None:
    submitted = await world.submit(priority=9)
    moved = world.messages.moved("default", submitted.id, to=S.FAILED, frm=frozenset({S.QUEUED}), at=1)
    await world.change(moved)
    assert (await world.messaging.retry("default", submitted.id)).priority == 9


@pytest.mark.parametrize("status", sorted(set(S) - {S.FAILED, S.DLQ, S.HELD, S.EXPIRED, S.RECEIVED, S.PROCESSING}))
async def test_a_message_in_any_other_state_cannot_be_retried(world: World, status: S) -> None:
    submitted = await world.submit() if status is S.QUEUED else await put(world, status)
    with pytest.raises(Conflict, match=f"that is {status} cannot be retried"):
        await world.messaging.retry("default", submitted.id)


async def test_of_two_retries_at_once_one_wins(world: World) -> None:
    submitted = await put(world, S.DLQ)
    tries = await asyncio.gather(
        *[world.messaging.retry("default", submitted.id) for _ in range(5)], return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in tries) == ["Conflict"] * 4 + ["Message"]
    assert len(await world.jobs(SEND)) == 1


@pytest.mark.parametrize("status", [S.QUEUED, S.FAILED, S.HELD])
async def test_a_message_that_waits_can_be_canceled_with_its_job(world: World, status: S) -> None:
    submitted = await world.submit() if status is S.QUEUED else await put(world, status)
    (job,) = await world.jobs(SEND)
    await world.engine.broker.enqueue([job])

    message = await world.messaging.cancel("default", submitted.id)

    assert message.status is S.CANCELED
    assert await world.jobs(SEND) == []
    assert await world.engine.broker.locate(SEND, [job.id]) == ["missing"]
    assert await world.story(submitted.id) == ["canceled"]


@pytest.mark.parametrize("status", [S.SENDING, S.SENT, S.DELIVERED, S.READ, S.DLQ, S.EXPIRED, S.CANCELED])
async def test_a_message_that_may_have_left_or_has_ended_cannot_be_canceled(world: World, status: S) -> None:
    submitted = await put(world, status)
    with pytest.raises(Conflict, match=f"that is {status} cannot be canceled"):
        await world.messaging.cancel("default", submitted.id)
    assert len(await world.jobs(SEND)) == 1


async def test_a_cancel_and_a_claim_at_once_end_in_one_of_both(world: World) -> None:
    for _ in range(10):
        submitted = await world.submit()
        job = await world.job(submitted)
        cancel, _ = await asyncio.gather(
            world.messaging.cancel("default", submitted.id), world.run(job), return_exceptions=True
        )
        sent = [message.id for message in world.wire.sent].count(submitted.id)
        assert sent == isinstance(cancel, Conflict)
        assert await world.status(submitted.id) is (S.SENT if sent else S.CANCELED)


async def test_what_came_in_and_what_is_not_there_can_be_neither_retried_nor_canceled(world: World) -> None:
    submitted = await world.submit()
    for tenant, message_id in [("default", "msg_none"), ("other", submitted.id)]:
        with pytest.raises(NotFound):
            await world.messaging.retry(tenant, message_id)
        with pytest.raises(NotFound):
            await world.messaging.cancel(tenant, message_id)


async def test_retry_and_cancel_work_while_redis_is_away(world: World, redis_server: Any) -> None:
    failed, waiting = await put(world, S.FAILED), await world.submit()
    redis_server.kill()
    try:
        await world.messaging.retry("default", failed.id)
        await world.messaging.cancel("default", waiting.id)
    finally:
        redis_server.start()
    assert await world.status(waiting.id) is S.CANCELED
    assert [job.id for job in await world.jobs(SEND)] == [(await world.message(failed.id)).job_id]
