"""From an event to its receiver and back into SQL."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
from standardwebhooks import Webhook

from tests.integration.webhooks.world import TENANT, World
from tests.support.receiver import Receiver, Reply
from zapd.errors import Conflict, NotFound, Unavailable
from zapd.jobs.job import Done, Job, Retry, Snooze
from zapd.model.webhook import BodyFormat, DeliveryState, Owner
from zapd.webhooks.delivery import MAX_AGE
from zapd.webhooks.retry_after import LONGEST


async def one_job(world: World, receiver: Receiver, **given: Any) -> Job:
    """An endpoint that takes everything, an event, and the job that delivers it."""
    await world.endpoint(receiver.url, **given)
    (job,) = await world.happens(data={"text": "Olá"})
    return job


async def test_an_event_arrives_signed_and_is_delivered(world: World, receiver: Receiver) -> None:
    endpoint = await world.endpoint(receiver.url, headers={"X-Token": "s3cret"})
    (job,) = await world.happens(data={"text": "Olá"})
    assert await world.run(job) == Done()

    (received,) = receiver.received
    body = Webhook(endpoint.secrets[0].value).verify(received.body, dict(received.headers))
    assert (body["type"], body["connection_id"], body["data"]) == ("message.sent", "con_1", {"text": "Olá"})
    assert received.headers["webhook-id"] == body["id"]
    assert received.headers["x-zaphub-event"] == "message.sent"
    assert received.headers["x-zaphub-session"] == "con_1"
    assert received.headers["x-token"] == "s3cret"

    delivery = await world.only_delivery()
    assert (delivery.state, delivery.attempts, delivery.last_status) == (DeliveryState.DELIVERED, 1, 204)
    assert delivery.finished_at == world.clock.now_ms()
    (attempt,) = await world.deliveries.attempts(TENANT, delivery.id)
    assert (attempt.number, attempt.status, attempt.failure) == (1, 204, None)
    assert set(attempt.phases) == {"dns", "connect", "first_byte", "read"}
    assert world.count("zapd_delivery_attempts_total", result="ok") == 1


async def test_the_job_is_on_the_endpoints_lane_and_its_id_follows_from_the_delivery(
    world: World, receiver: Receiver
) -> None:
    job = await one_job(world, receiver)
    delivery = await world.only_delivery()
    assert (job.queue, job.lane, job.priority) == ("webhook:delivery", delivery.endpoint_id, 3)
    assert job.id == delivery.id.replace("dlv_", "job_")


async def test_pain_22_a_failure_is_tried_again_with_the_same_id_and_a_fresh_timestamp(
    world: World, receiver: Receiver
) -> None:
    receiver.script.append(Reply(500, b"oh no"))
    job = await one_job(world, receiver)
    assert await world.run(job) == Retry("answered 500", after=10.0)

    delivery = await world.only_delivery()
    assert (delivery.state, delivery.attempts, delivery.last_status) == (DeliveryState.RETRYING, 1, 500)
    assert delivery.next_at == world.clock.now_ms() + 10_000
    assert delivery.last_error == "answered 500"

    world.clock.advance(10)
    assert await world.run(replace(job, attempt=2)) == Done()
    first, second = await world.deliveries.attempts(TENANT, delivery.id)
    assert (first.response, first.failure, first.owner) == (b"oh no", "server_error", Owner.THEIRS)
    assert (second.number, second.failure) == (2, None)
    one, two = receiver.received
    assert one.body == two.body
    assert one.headers["webhook-id"] == two.headers["webhook-id"]
    assert int(two.headers["webhook-timestamp"]) == int(one.headers["webhook-timestamp"]) + 10
    assert one.headers["webhook-signature"] != two.headers["webhook-signature"]
    assert (await world.only_delivery()).last_error is None


@pytest.mark.parametrize(("hint", "seconds"), [("3", 30.0), ("100", 100.0), ("999999", LONGEST), ("soon", 30.0)])
async def test_a_hint_can_only_lengthen_the_schedule(
    world: World, receiver: Receiver, hint: str, seconds: float
) -> None:
    receiver.reply = Reply(500, headers={"Retry-After": hint})
    job = replace(await one_job(world, receiver), attempt=2)
    assert await world.run(job) == Retry("answered 500", after=seconds)


@pytest.mark.parametrize("status", [429, 503])
async def test_later_parks_the_whole_endpoint_and_burns_nothing(world: World, receiver: Receiver, status: int) -> None:
    receiver.reply = Reply(status, headers={"Retry-After": "60"})
    job = await one_job(world, receiver)
    assert await world.run(job) == Snooze(60.0, park_lane=True)
    delivery = await world.only_delivery()
    assert (delivery.state, delivery.last_status) == (DeliveryState.RETRYING, status)
    assert len(await world.deliveries.attempts(TENANT, delivery.id)) == 1


async def test_a_receiver_that_always_says_soon_is_asked_less_and_less_often(world: World, receiver: Receiver) -> None:
    receiver.reply = Reply(429, headers={"Retry-After": "1"})
    job = await one_job(world, receiver)
    for seconds in (1.0, 2.0, 4.0, 8.0):
        assert await world.run(job) == Snooze(seconds, park_lane=True)
        world.clock.advance(seconds)


async def test_after_three_days_of_later_attempts_are_burnt(world: World, receiver: Receiver) -> None:
    receiver.reply = Reply(429, headers={"Retry-After": "1"})
    job = await one_job(world, receiver)
    world.clock.advance(MAX_AGE)
    assert await world.run(job) == Retry("answered 429", after=10.0)


async def test_gone_disables_the_endpoint_and_the_others_hear_it(world: World, receiver: Receiver) -> None:
    async with Receiver() as other:
        gone = await world.endpoint(receiver.url, types=["message.*"])
        await world.endpoint(other.url, types=["endpoint.disabled"])
        receiver.reply = Reply(410)
        first, second = [*await world.happens(), *await world.happens()]
        assert await world.run(first) == Done()
        (told,) = world.take_jobs()
        assert await world.run(told) == Done()
        assert other.received[0].json["data"] == {"endpoint_id": gone.id, "reason": "answered 410 Gone"}

        stored = await world.endpoints.get(TENANT, gone.id)
        assert stored is not None
        assert (stored.enabled, stored.disabled_reason) == (False, "answered 410 Gone")
        assert await world.run(second) == Done()  # canceled without a POST
        assert len(receiver.received) == 1
        assert {d.state for d in await world.deliveries.listed(TENANT, endpoint_id=gone.id)} == {DeliveryState.CANCELED}
        assert await world.happens() == []


async def test_gone_from_a_url_that_was_changed_meanwhile_takes_nothing_back(world: World, receiver: Receiver) -> None:
    """The POST saw the endpoint as it was; its owner moved it and gave it a new secret before the answer came."""
    old = await world.endpoint(receiver.url)
    (job,) = await world.happens()
    receiver.reply = Reply(410)
    moved = replace(world.rules.rotated(old), url="https://new.example/hook")
    await world.writer.commit(world.endpoints.updated(moved))

    assert isinstance(await world.run(job), Retry)

    assert await world.endpoints.get(TENANT, old.id) == moved


async def test_pain_16_the_deliveries_of_a_deleted_endpoint_are_canceled(world: World, receiver: Receiver) -> None:
    job = await one_job(world, receiver)
    await world.change(world.endpoints.deleted(TENANT, job.lane))
    assert await world.run(job) == Done()
    assert (await world.only_delivery()).state is DeliveryState.CANCELED
    assert receiver.received == []


async def test_a_job_that_runs_again_after_its_end_sends_nothing(world: World, receiver: Receiver) -> None:
    job = await one_job(world, receiver)
    assert await world.run(job) == Done()
    assert await world.run(job) == Done()
    assert len(receiver.received) == 1


async def test_without_a_database_nothing_is_posted_and_the_pool_hears_that_it_is_away(
    world: World, receiver: Receiver
) -> None:
    job = await one_job(world, receiver)
    await world.reader.stop()
    with pytest.raises(Unavailable):  # the pool makes a snooze of it, which burns no try
        await world.run(job)
    assert receiver.received == []


async def test_a_job_that_lost_its_schedule_waits_for_the_one_in_sql(world: World, receiver: Receiver) -> None:
    receiver.reply = Reply(500)
    job = await one_job(world, receiver)
    await world.run(job)
    world.clock.advance(4)
    assert await world.run(job) == Snooze(6.0)
    assert len(receiver.received) == 1


async def test_a_job_taken_back_from_the_dead_letters_is_delivered(world: World, receiver: Receiver) -> None:
    job = await one_job(world, receiver)
    await world.deliverer.dead(job, "attempts", "it never ran")
    assert (await world.delivery_of(job)).state is DeliveryState.DEAD
    assert await world.run(job) == Done()
    assert (await world.delivery_of(job)).state is DeliveryState.DELIVERED


async def test_a_job_without_its_delivery_is_done(world: World) -> None:
    payload = orjson.dumps({"tenant": TENANT, "delivery_id": "dlv_erased"})
    job = Job(id="job_1", queue="webhook:delivery", payload=payload, priority=3, created_at=0)
    assert await world.run(job) == Done()
    await world.deliverer.dead(job, "attempts", "")


async def test_a_dead_delivery_is_marked_and_other_endpoints_hear_it_once(world: World, receiver: Receiver) -> None:
    receiver.reply = Reply(500)
    job = await one_job(world, receiver)
    await world.run(job)
    await world.deliverer.dead(job, "attempts", "answered 500")

    delivery = await world.delivery_of(job)
    assert (delivery.state, delivery.last_error, delivery.next_at) == (DeliveryState.DEAD, "answered 500", None)
    (exhausted,) = world.take_jobs()
    await world.deliverer.dead(exhausted, "attempts", "answered 500")
    assert world.take_jobs() == []  # no event about an event that could not be told
    await world.deliverer.dead(job, "attempts", "answered 500")
    assert world.take_jobs() == []  # dead already


async def test_a_person_can_have_a_dead_delivery_sent_again(world: World, receiver: Receiver) -> None:
    receiver.script.append(Reply(500))
    job = await one_job(world, receiver, types=["message.*"])
    await world.run(job)
    delivery = await world.only_delivery()
    await world.deliverer.dead(job, "attempts", "answered 500")

    again = await world.resender.retry(TENANT, delivery.id)
    assert again == await world.only_delivery()
    assert (again.state, again.finished_at) == (DeliveryState.PENDING, None)
    (second,) = world.take_jobs()
    assert second.id != job.id
    assert await world.run(second) == Done()
    assert [a.number for a in await world.deliveries.attempts(TENANT, delivery.id)] == [1, 2]
    assert len({received.headers["webhook-id"] for received in receiver.received}) == 1


async def test_a_dead_letter_of_a_delivery_that_was_brought_back_meanwhile_posts_nothing_twice(
    world: World, receiver: Receiver
) -> None:
    await world.run(await one_job(world, receiver, types=["message.*"]))
    delivery = await world.only_delivery()
    with pytest.raises(Conflict):
        await world.resender.revive(TENANT, delivery.id)
    assert len(receiver.received) == 1


async def test_what_cannot_be_sent_again(world: World, receiver: Receiver) -> None:
    with pytest.raises(NotFound):
        await world.resender.retry(TENANT, "dlv_unknown")
    job = await one_job(world, receiver)
    delivery = await world.only_delivery()
    with pytest.raises(Conflict):
        await world.resender.retry(TENANT, delivery.id)
    await world.run(job)
    with pytest.raises(NotFound):
        await world.resender.retry("another tenant", delivery.id)
    await world.change(world.endpoints.deleted(TENANT, job.lane))
    with pytest.raises(Conflict):
        await world.resender.retry(TENANT, delivery.id)


async def test_the_body_for_existing_receivers(world: World, receiver: Receiver) -> None:
    await world.run(await one_job(world, receiver, format=BodyFormat.ZAPHUB))
    assert receiver.received[0].json.keys() == {"event", "sessionId", "payload", "timestamp"}


async def test_a_rotated_endpoint_signs_for_holders_of_both_secrets(world: World, receiver: Receiver) -> None:
    endpoint = await world.endpoint(receiver.url)
    rotated = world.rules.rotated(endpoint)
    await world.change(world.endpoints.updated(rotated))
    (job,) = await world.happens()
    await world.run(job)
    for secret in (endpoint.secrets[0], rotated.secrets[0]):
        Webhook(secret.value).verify(receiver.received[0].body, dict(receiver.received[0].headers))


async def test_an_endpoint_gets_only_its_types_its_connection_and_its_tenant(world: World, receiver: Receiver) -> None:
    await world.endpoint(receiver.url, types=["message.*"], connection_id="con_1")
    assert len(await world.happens("message.read")) == 1
    assert await world.happens("connection.state") == []
    assert await world.happens("message.read", connection_id="con_2") == []
    assert await world.happens("message.read", tenant="t2") == []


async def test_an_endpoint_counts_as_failing_until_an_attempt_succeeds(world: World, receiver: Receiver) -> None:
    receiver.script.append(Reply(500))
    job = await one_job(world, receiver)
    for failing in (1, 0):
        await world.run(job)
        assert world.count("zapd_endpoints", state="failing") == failing
        world.clock.advance(10)
    assert world.count("zapd_endpoints", state="enabled") == 1
    assert world.count("zapd_delivery_attempts_total", result="server_error") == 1


async def test_an_endpoint_that_is_gone_does_not_count_as_failing(world: World, receiver: Receiver) -> None:
    receiver.reply = Reply(500)
    job = await one_job(world, receiver)
    await world.run(job)
    await world.change(world.endpoints.deleted(TENANT, job.lane))
    assert world.count("zapd_endpoints", state="failing") == 0
