"""A receiver in trouble is its own trouble: the deliverer on the real queue."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.integration.webhooks.engine import engine_for
from tests.integration.webhooks.world import World, world_on
from tests.support import eventually
from tests.support.receiver import Receiver, Reply
from zapd.model.webhook import DeliveryState


@pytest.fixture
async def world(sqlite_url: str) -> AsyncIterator[World]:
    async with world_on(sqlite_url, backoff=0.01) as built:
        yield built


async def test_pain_4_a_receiver_that_does_not_answer_delays_nobody_else(
    world: World, receiver: Receiver, redis_url: str
) -> None:
    async with Receiver() as quick, engine_for(world, redis_url, lane_cap=2) as engine:
        receiver.open.clear()
        await world.endpoint(receiver.url, connection_id="con_1")
        await world.endpoint(quick.url, connection_id="con_2")
        await engine.take([job for _ in range(20) for job in await world.happens(connection_id="con_1")])
        await eventually(lambda: len(receiver.received) == 2)

        await engine.take([job for _ in range(20) for job in await world.happens(connection_id="con_2")])
        await eventually(lambda: len(quick.received) == 20)
        assert len(receiver.received) == 2  # its cap, and no more of our slots

        receiver.open.set()
        await eventually(lambda: len(engine.finished) == 40)


async def test_pain_4_many_receivers_that_hang_together_do_not_take_the_slots_of_a_healthy_one(
    world: World, receiver: Receiver, redis_url: str
) -> None:
    async with Receiver() as quick, engine_for(world, redis_url, lane_cap=2, slots=20, hangs_after=0.2) as engine:
        receiver.open.clear()
        for number in range(40):  # together they want four times the slots
            await world.endpoint(f"{receiver.url}/{number}", connection_id="con_1")
        await world.endpoint(quick.url, connection_id="con_2")
        for _ in range(3):
            await engine.take(await world.happens(connection_id="con_1"))
        await eventually(lambda: len(receiver.received) == 80)  # each two, and no more of each
        await engine.take([job for _ in range(50) for job in await world.happens(connection_id="con_2")])
        await eventually(lambda: len(quick.received) == 50)
        assert len(receiver.received) == 80

        receiver.open.set()
        await eventually(lambda: len(engine.finished) == 170, within=30)


async def test_pain_2_retries_end_in_the_dead_letters_and_are_told(
    world: World, receiver: Receiver, redis_url: str
) -> None:
    async with Receiver() as other, engine_for(world, redis_url, lane_cap=2) as engine:
        receiver.reply = Reply(500)
        await world.endpoint(receiver.url, types=["message.*"])
        await world.endpoint(other.url, types=["delivery.exhausted"])
        (job,) = await world.happens()
        await engine.take([job])
        await eventually(lambda: job.id in engine.finished)
        assert len(receiver.received) == 3
        assert (await world.delivery_of(job)).state is DeliveryState.DEAD

        await engine.take(world.take_jobs())
        await eventually(lambda: len(other.received) == 1)
        data = other.received[0].json["data"]
        assert (data["attempts"], data["last_status"], data["reason"]) == (3, 500, "attempts")


async def test_later_parks_the_endpoints_other_deliveries_too(world: World, receiver: Receiver, redis_url: str) -> None:
    async with Receiver() as other, engine_for(world, redis_url, lane_cap=1) as engine:
        receiver.script.append(Reply(429, headers={"Retry-After": "1"}))
        await world.endpoint(receiver.url, connection_id="con_1")
        await world.endpoint(other.url, connection_id="con_2")
        jobs = [job for _ in range(3) for job in await world.happens(connection_id="con_1")]
        await engine.take(jobs)
        await eventually(lambda: len(receiver.received) == 1)
        await engine.take(await world.happens(connection_id="con_2"))
        await eventually(lambda: len(other.received) == 1)
        assert len(receiver.received) == 1  # the whole lane waits

        world.clock.advance(1)
        await eventually(lambda: len(receiver.received) == 4)
        ids = [received.headers["webhook-id"] for received in receiver.received]
        assert ids[0] == ids[1]  # the one that was put off goes first
        assert len(set(ids)) == 3


async def test_pain_7_the_rate_of_an_endpoint_is_kept(world: World, receiver: Receiver, redis_url: str) -> None:
    """Two at once, then ten a second: 8 deliveries take at least 0.6 s, whatever the machine does."""
    async with engine_for(world, redis_url, lane_cap=4) as engine:
        endpoint = await world.endpoint(receiver.url)
        await engine.limit(endpoint.id, per_minute=600, burst=2)
        started = asyncio.get_running_loop().time()
        await engine.take([job for _ in range(8) for job in await world.happens()])
        await eventually(lambda: len(engine.finished) == 8, within=20)
        assert asyncio.get_running_loop().time() - started >= 0.55


async def test_pain_2_a_disabled_endpoint_cancels_what_waits_for_it(
    world: World, receiver: Receiver, redis_url: str
) -> None:
    async with engine_for(world, redis_url, lane_cap=1) as engine:
        endpoint = await world.endpoint(receiver.url)
        jobs = [job for _ in range(5) for job in await world.happens()]
        await world.change(world.endpoints.disabled(endpoint, "by request"))
        await engine.take(jobs)
        await eventually(lambda: len(engine.finished) == 5)
        assert receiver.received == []
        assert {d.state for d in await world.deliveries.listed("t1")} == {DeliveryState.CANCELED}
