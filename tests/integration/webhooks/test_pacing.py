"""An endpoint in trouble waits as a whole; what waits burns no tries."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.integration.webhooks.world import TENANT, World, world_on
from tests.support.receiver import Receiver, Reply
from zapd.jobs.job import Done, Job, Retry, Snooze
from zapd.model.webhook import DeliveryState
from zapd.store.commands import Change, Row
from zapd.store.endpoint_waits import EndpointWaitStore
from zapd.webhooks.pacing import BREAK_AFTER


@pytest.fixture
async def world(sqlite_url: str) -> AsyncIterator[World]:
    # Long enough that nobody who answers on a busy machine is taken for silent.
    async with world_on(sqlite_url, budget=20, timeout=1.0) as built:
        yield built


async def jobs_of(world: World, count: int) -> list[Job]:
    return [job for _ in range(count) for job in await world.happens()]


@pytest.mark.parametrize("status", [429, 503])
async def test_pain_6_the_whole_endpoint_waits_also_without_a_hint(
    world: World, receiver: Receiver, status: int
) -> None:
    await world.endpoint(receiver.url)
    first, second, third = await jobs_of(world, 3)
    receiver.script.append(Reply(status))

    assert await world.run(first) == Snooze(1.0, park_lane=True)
    assert await world.run(second) == Snooze(1.0, park_lane=True)
    assert len(receiver.received) == 1  # the second was not sent, and has no attempt
    assert (await world.delivery_of(second)).attempts == 0

    world.clock.advance(1)
    assert [await world.run(job) for job in (first, second, third)] == [Done()] * 3


async def test_one_canary_goes_and_then_twice_as_many_at_each_success(world: World, receiver: Receiver) -> None:
    endpoint = await world.endpoint(receiver.url)
    receiver.script.append(Reply(503))
    first, *others = await jobs_of(world, 4)
    await world.run(first)
    world.clock.advance(1)
    for job in (first, *others):
        await world.run(job)
    assert world.limits == [(endpoint.id, 1), (endpoint.id, 2), (endpoint.id, None)]


async def test_pain_6_a_hint_of_a_failure_holds_for_all_of_the_endpoint(world: World, receiver: Receiver) -> None:
    await world.endpoint(receiver.url)
    first, second = await jobs_of(world, 2)
    receiver.script.append(Reply(500, headers={"Retry-After": "60"}))
    assert await world.run(first) == Retry("answered 500", after=60.0)
    assert await world.run(second) == Snooze(60.0, park_lane=True)


async def test_silence_burns_no_tries_and_another_delivery_is_the_next_canary(world: World, receiver: Receiver) -> None:
    await world.endpoint(receiver.url)
    first, second = await jobs_of(world, 2)
    receiver.open.clear()
    assert await world.run(first) == Snooze(2.0)  # later than the endpoint
    assert await world.run(second) == Snooze(1.0, park_lane=True)
    world.clock.advance(1)
    assert isinstance(await world.run(second), Snooze)
    delivery = await world.delivery_of(first)
    assert (delivery.state, delivery.attempts, delivery.last_error) == (
        DeliveryState.RETRYING,
        1,
        "no complete answer in time",
    )
    receiver.open.set()


async def test_many_silent_receivers_leave_room_and_wait_without_burning_tries(
    world: World, receiver: Receiver
) -> None:
    """Eight of those that were silent may be asked at once here, of whom one may have recovered."""
    for number in range(9):
        await world.endpoint(f"{receiver.url}{number}")
    jobs = await world.happens()
    receiver.open.clear()
    await asyncio.gather(*[world.run(job) for job in jobs])
    world.clock.advance(2)

    again = await asyncio.gather(*[world.run(job) for job in jobs])

    assert again.count(Snooze(5.0, park_lane=True, given_back=True)) == 1
    assert len(receiver.received) == 9 + 8
    receiver.open.set()
    world.clock.advance(10)
    assert [await world.run(job) for job in jobs] == [Done()] * 9


async def test_an_event_that_the_receiver_never_answers_burns_its_tries_while_others_are_taken(
    world: World, receiver: Receiver
) -> None:
    await world.endpoint(receiver.url)
    poison, other = await jobs_of(world, 2)
    receiver.open.clear()
    assert await world.run(poison) == Snooze(2.0)
    receiver.open.set()
    world.clock.advance(2)
    assert await world.run(other) == Done()
    receiver.open.clear()
    assert isinstance(await world.run(poison), Retry)
    receiver.open.set()


async def test_the_breaker_opens_after_failures_in_a_row_and_a_success_closes_it(
    world: World, receiver: Receiver
) -> None:
    await world.endpoint(receiver.url)
    receiver.reply = Reply(500)
    *failing, waiting = await jobs_of(world, BREAK_AFTER + 1)
    for job in failing:
        assert isinstance(await world.run(job), Retry)
    assert await world.run(waiting) == Snooze(10.0, park_lane=True)
    assert (await world.delivery_of(waiting)).attempts == 0

    world.clock.advance(10)
    receiver.reply = Reply(204)
    assert await world.run(waiting) == Done()
    assert await world.run(replace(failing[0], attempt=2)) == Done()


async def restarted(world: World) -> None:
    """The same daemon anew: only SQL is left of what it knew."""
    await world.fanout.refresh()
    world.new_pacing()
    await world.pacing.restore(world.fanout.all_enabled())


async def test_pain_6_a_restart_goes_on_sparing_and_waits_twice_as_long(world: World, receiver: Receiver) -> None:
    endpoint = await world.endpoint(receiver.url)
    receiver.script.extend([Reply(503), Reply(503), Reply(503)])
    first, second, third = await jobs_of(world, 3)
    await world.run(first)
    await restarted(world)
    assert await world.run(second) == Snooze(1.0, park_lane=True)
    assert (await world.delivery_of(second)).attempts == 0
    world.clock.advance(1)
    assert await world.run(second) == Snooze(2.0, park_lane=True)

    await restarted(world)
    world.clock.advance(2)
    assert await world.run(third) == Snooze(4.0, park_lane=True)
    await restarted(world)
    world.clock.advance(4)
    world.limits.clear()
    for job in (first, second, third):
        assert await world.run(job) == Done()
    assert world.limits == [(endpoint.id, 2), (endpoint.id, None)]  # from one at once, which Redis still has
    await restarted(world)
    assert world.pacing.held == 0


async def test_the_breaker_is_open_after_a_restart_and_failures_before_it_count(
    world: World, receiver: Receiver
) -> None:
    await world.endpoint(receiver.url)
    receiver.reply = Reply(500)
    *failing, last, waiting = await jobs_of(world, BREAK_AFTER + 1)
    for job in failing:
        await world.run(job)
    await restarted(world)
    assert isinstance(await world.run(last), Retry)
    assert await world.run(waiting) == Snooze(10.0, park_lane=True)
    await restarted(world)
    assert await world.run(waiting) == Snooze(10.0, park_lane=True)


async def test_the_queue_that_lost_its_data_hears_again_who_is_spared(world: World, receiver: Receiver) -> None:
    endpoint = await world.endpoint(receiver.url)
    receiver.reply = Reply(503)
    (job,) = await jobs_of(world, 1)
    await world.run(job)
    world.limits.clear()
    await world.pacing.limits_lost(world.fanout.all_enabled())
    assert world.limits == [(endpoint.id, 1)]


async def test_a_wait_goes_with_its_endpoint(world: World, receiver: Receiver) -> None:
    endpoint = await world.endpoint(receiver.url)
    receiver.reply = Reply(503)
    (job,) = await jobs_of(world, 1)
    await world.run(job)
    rows = EndpointWaitStore(database=world.database)
    assert [kept.endpoint_id for kept in await rows.all()] == [endpoint.id]
    await world.change(world.endpoints.deleted(TENANT, endpoint.id))
    await restarted(world)
    assert await rows.all() == []


async def test_pain_13_it_is_told_at_50_70_90_percent_and_disabled_at_100(world: World, receiver: Receiver) -> None:
    async with Receiver() as other:
        failing = await world.endpoint(receiver.url, types=["message.*"])
        await world.endpoint(other.url, types=["endpoint.*"])
        receiver.reply = Reply(500)
        for job in await jobs_of(world, 20):  # the budget of this world
            world.clock.advance(700)  # past the breaker
            await world.run(job)
        for told in world.take_jobs():
            await world.run(told)

        events = [(e["type"], e["data"].get("percent")) for e in other.events()]
        assert events == [
            ("endpoint.failing", 50),
            ("endpoint.failing", 70),
            ("endpoint.failing", 90),
            ("endpoint.disabled", 100),
        ]
        stored = await world.endpoints.get(TENANT, failing.id)
        assert stored is not None
        assert (stored.enabled, stored.disabled_reason) == (False, "20 attempts in a row failed")


async def test_a_success_forgives_the_failures_before_it(world: World, receiver: Receiver) -> None:
    endpoint = await world.endpoint(receiver.url)
    receiver.script.extend([Reply(500), Reply(500)])
    one, two, three = await jobs_of(world, 3)
    await world.run(one)
    await world.run(two)
    stored = await world.endpoints.get(TENANT, endpoint.id)
    assert stored is not None
    assert (stored.failures, stored.failing_since) == (2, world.clock.now_ms())
    await world.run(three)
    stored = await world.endpoints.get(TENANT, endpoint.id)
    assert stored is not None
    assert (stored.failures, stored.failing_since) == (0, None)


async def test_later_is_no_failure_of_the_endpoint(world: World, receiver: Receiver) -> None:
    endpoint = await world.endpoint(receiver.url)
    receiver.reply = Reply(429)
    (job,) = await jobs_of(world, 1)
    await world.run(job)
    stored = await world.endpoints.get(TENANT, endpoint.id)
    assert stored is not None
    assert stored.failures == 0


async def test_several_that_were_under_way_together_are_one_later(world: World, receiver: Receiver) -> None:
    await world.endpoint(receiver.url)
    receiver.reply = Reply(429)
    jobs = await jobs_of(world, 4)
    waits = await asyncio.gather(*[world.run(job) for job in jobs])
    assert set(waits) == {Snooze(1.0, park_lane=True)}


async def test_failures_are_forgiven_once_and_not_at_every_success(world: World, receiver: Receiver) -> None:
    """Else each success of a busy endpoint would be a statement of its own until the memory is fresh."""
    await world.endpoint(receiver.url)
    receiver.script.append(Reply(500))
    failing, *others = await jobs_of(world, 4)
    await world.run(failing)
    await world.fanout.refresh()
    (known,) = world.fanout.all_enabled()
    assert known.failures == 1
    writes: list[int] = []
    commit = world.writer.commit

    async def counted(guard: Change, *then: Change) -> Row | None:
        writes.append(len(then))
        return await commit(guard, *then)

    world.writer.commit = counted  # type: ignore[method-assign]
    for job in others:
        await world.run(job)
    assert writes == [2, 1, 1]  # the attempt, and once that it works
