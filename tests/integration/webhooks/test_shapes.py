"""What an endpoint may ask for: channels, filter, transformation, order, batches, numbers."""

import asyncio
from typing import Any

import pytest
from aiohttp import web
from standardwebhooks import Webhook

from tests.integration.webhooks.world import TENANT, World
from tests.support import eventually
from tests.support.receiver import Receiver, Reply
from zapd.jobs.job import Discard, Done, Retry, Snooze
from zapd.model.webhook import DeliveryState, Options, Owner


async def test_a_filter_lets_only_events_through_for_which_it_holds(world: World, receiver: Receiver) -> None:
    await world.endpoint(receiver.url, options=Options(filter="data.total > `100`"))
    assert len(await world.happens(data={"total": 150})) == 1
    assert await world.happens(data={"total": 50}) == []
    assert await world.happens(data={}) == []


async def test_what_a_filter_cannot_judge_is_delivered(world: World, receiver: Receiver) -> None:
    await world.endpoint(receiver.url, options=Options(filter="length(data.n) > `1`"))
    assert len(await world.happens(data={"n": 7})) == 1


async def test_channels_are_connections_or_named_by_the_event(world: World, receiver: Receiver) -> None:
    await world.endpoint(receiver.url, options=Options(channels=("con_1", "vip")))
    assert len(await world.happens(connection_id="con_1")) == 1
    assert await world.happens(connection_id="con_2") == []
    assert len(await world.happens(connection_id=None, data={"channels": ["vip", "x"]})) == 1
    assert await world.happens(connection_id=None, data={"channels": "vip"}) == []


async def test_a_transformation_makes_the_body_and_it_is_what_is_signed(world: World, receiver: Receiver) -> None:
    endpoint = await world.endpoint(receiver.url, options=Options(transform="{kind: type, text: data.text}"))
    (job,) = await world.happens(data={"text": "Olá"})
    assert await world.run(job) == Done()
    (received,) = receiver.received
    body = Webhook(endpoint.secrets[0].value).verify(received.body, dict(received.headers))
    assert body == {"kind": "message.sent", "text": "Olá"}


async def test_pain_17_a_transformation_that_fails_is_an_attempt_that_everybody_can_see(
    world: World, receiver: Receiver
) -> None:
    await world.endpoint(receiver.url, types=["message.*"], options=Options(transform="length(data.n)"))
    (job,) = await world.happens(data={"n": 7})
    outcome = await world.run(job)
    assert isinstance(outcome, Discard)
    await world.deliverer.dead(job, outcome.reason, outcome.error)
    delivery = await world.only_delivery()
    (attempt,) = await world.deliveries.attempts(TENANT, delivery.id)
    assert (delivery.state, attempt.failure, attempt.owner) == (DeliveryState.DEAD, "transform", Owner.OURS)
    assert "length" in (attempt.error or "")
    assert receiver.received == []


async def test_pain_8_deliveries_with_one_key_go_in_order_and_others_pass(world: World, receiver: Receiver) -> None:
    await world.endpoint(receiver.url, options=Options(order_by="data.chat"))
    (first,), (second,) = [await world.happens(data={"chat": "a"}) for _ in range(2)]
    (other,) = await world.happens(data={"chat": "b"})
    receiver.script.append(Reply(500))
    assert isinstance(await world.run(first), Retry)

    assert await world.run(second) == Snooze(10.0)  # that is when the first one's turn comes again
    assert await world.run(other) == Done()
    world.clock.advance(10)
    assert await world.run(first) == Done()
    assert await world.run(second) == Done()


async def test_one_job_goes_on_with_those_that_follow_in_their_order(world: World, receiver: Receiver) -> None:
    await world.endpoint(receiver.url, options=Options(order_by="data.chat"))
    jobs = [job for n in range(5) for job in await world.happens(data={"chat": "a", "n": n})]
    assert await world.run(jobs[3]) == Snooze(1.0)  # three go before it
    assert await world.run(jobs[0]) == Done()
    assert [received.json["data"]["n"] for received in receiver.received] == [0, 1, 2, 3, 4]
    assert [await world.run(job) for job in jobs] == [Done()] * 5
    assert len(receiver.received) == 5


async def test_a_job_that_went_on_for_long_comes_back_for_the_rest(world: World, receiver: Receiver) -> None:
    await world.endpoint(receiver.url, options=Options(order_by="data.chat"))
    jobs = [job for n in range(3) for job in await world.happens(data={"chat": "a", "n": n})]

    async def slow(_: web.Request) -> web.Response:
        world.clock.advance(4)
        return web.Response(status=204)

    receiver.respond = slow
    assert await world.run(jobs[0]) == Done() or len(receiver.received) > 1
    assert await world.run(jobs[0]) in (Done(), Snooze(0.0))
    for _ in range(3):
        await world.run(jobs[0])
    assert [received.json["data"]["n"] for received in receiver.received] == [0, 1, 2]


async def test_what_follows_a_failure_waits_for_it(world: World, receiver: Receiver) -> None:
    await world.endpoint(receiver.url, options=Options(order_by="data.chat"))
    jobs = [job for n in range(3) for job in await world.happens(data={"chat": "a", "n": n})]
    receiver.script.extend([Reply(204), Reply(500)])
    assert await world.run(jobs[0]) == Done()
    assert [received.json["data"]["n"] for received in receiver.received] == [0, 1]
    assert isinstance(await world.run(jobs[2]), Snooze)
    world.clock.advance(10)
    assert await world.run(jobs[1]) == Done()  # and the third with it
    assert [received.json["data"]["n"] for received in receiver.received] == [0, 1, 1, 2]


async def test_two_jobs_never_send_one_ordered_delivery_at_once(world: World, receiver: Receiver) -> None:
    await world.endpoint(receiver.url, options=Options(order_by="data.chat"))
    (job,) = await world.happens(data={"chat": "a"})
    receiver.open.clear()
    first = asyncio.create_task(world.run(job), name="first")
    await eventually(lambda: len(receiver.received) == 1)
    assert await world.run(job) == Snooze(1.0)
    receiver.open.set()
    assert await first == Done()


def batch(size: int, wait: float = 5.0) -> dict[str, Any]:
    return {"types": ["message.*"], "options": Options(batch_size=size, batch_wait=wait)}


async def test_a_full_batch_goes_at_once_as_one_post(world: World, receiver: Receiver) -> None:
    endpoint = await world.endpoint(receiver.url, **batch(3))
    jobs = [job for n in range(3) for job in await world.happens(data={"n": n})]
    assert [await world.run(job) for job in jobs] == [Done()] * 3

    (received,) = receiver.received
    body = Webhook(endpoint.secrets[0].value).verify(received.body, dict(received.headers))
    assert (body["type"], [event["data"]["n"] for event in body["data"]]) == ("batch", [0, 1, 2])
    assert received.headers["webhook-id"] == body["id"]
    assert received.headers["x-zapd-seq"] == "1-3"
    assert {d.state for d in await world.deliveries.listed(TENANT)} == {DeliveryState.DELIVERED}


async def test_a_batch_that_does_not_fill_waits_and_then_goes(world: World, receiver: Receiver) -> None:
    await world.endpoint(receiver.url, **batch(10, wait=5))
    (first,), (second,) = [await world.happens(data={"n": n}) for n in range(2)]
    assert await world.run(first) == Snooze(5.0)
    world.clock.advance(5)
    assert await world.run(second) == Done()
    assert await world.run(first) == Done()
    (received,) = receiver.received
    assert [event["data"]["n"] for event in received.json["data"]] == [0, 1]  # though the second one's job sent it


async def test_a_batch_that_failed_goes_again_with_the_same_events_and_id(world: World, receiver: Receiver) -> None:
    await world.endpoint(receiver.url, **batch(2))
    receiver.script.append(Reply(500))
    (first,), (second,) = [await world.happens() for _ in range(2)]
    assert isinstance(await world.run(first), Retry)
    (third,) = await world.happens()
    world.clock.advance(10)
    assert await world.run(second) == Done()  # the first one's job answers for it
    assert len(receiver.received) == 1
    assert await world.run(first) == Done()
    one, two = receiver.received
    assert (one.body, one.headers["webhook-id"]) == (two.body, two.headers["webhook-id"])
    states = [d.state for d in await world.deliveries.listed(TENANT)]
    assert states == [DeliveryState.DELIVERED] * 2 + [DeliveryState.PENDING]
    assert (await world.delivery_of(third)).batch_id is None


async def test_a_batch_that_is_given_up_is_dead_as_a_whole(world: World, receiver: Receiver) -> None:
    await world.endpoint(receiver.url, **batch(2))
    receiver.reply = Reply(500)
    (first,), _ = [await world.happens() for _ in range(2)]
    await world.run(first)
    await world.deliverer.dead(first, "attempts", "answered 500")
    assert {d.state for d in await world.deliveries.listed(TENANT)} == {DeliveryState.DEAD}


async def test_every_post_carries_its_number(world: World, receiver: Receiver) -> None:
    await world.endpoint(receiver.url)
    for _ in range(3):
        (job,) = await world.happens()
        await world.run(job)
    assert [received.headers["x-zapd-seq"] for received in receiver.received] == ["1", "2", "3"]


@pytest.mark.parametrize("kinds", [["v1a"], ["v1", "v1a"]])
async def test_an_ed25519_signature_verifies_with_the_public_key(
    world: World, receiver: Receiver, kinds: list[str]
) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from zapd.webhooks.endpoints import public_keys_of

    endpoint = await world.endpoint(receiver.url, signing=kinds)
    (job,) = await world.happens()
    await world.run(job)
    (received,) = receiver.received
    entries = received.headers["webhook-signature"].split(" ")
    assert [entry.partition(",")[0] for entry in entries] == kinds
    import base64

    key = base64.b64decode(public_keys_of(endpoint)[0].removeprefix("whpk_"))
    signed = f"{received.headers['webhook-id']}.{received.headers['webhook-timestamp']}.".encode() + received.body
    Ed25519PublicKey.from_public_bytes(key).verify(base64.b64decode(entries[-1].partition(",")[2]), signed)
    if "v1" in kinds:  # receivers that only know HMAC skip the other entry
        Webhook(endpoint.secrets[0].value).verify(received.body, dict(received.headers))
