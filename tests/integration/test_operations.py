"""What is asked of several parts at once."""

from typing import Any

import pytest

from tests.integration.messaging.world import QUEUES, SEND, World
from tests.support.redis_server import RedisServer
from tests.support.store import delivery
from zapd.jobs.job import Job
from zapd.model.session import Desired
from zapd.model.webhook import Delivery
from zapd.operations import Operations


@pytest.fixture
def operations(world: World) -> Operations:
    async def redeliver(tenant: str, delivery_id: str) -> Delivery:
        return delivery(delivery_id, tenant=tenant)

    return Operations(
        broker=world.engine.broker,
        commit=world.outbox.commit,
        outbox_rows=world.outbox_rows,
        connections=world.connections,
        redeliver=redeliver,
        session_states=lambda: {"connected": 2},
    )


def a_job(world: World, **changes: Any) -> Job:
    values: dict[str, Any] = {"queue": SEND, "payload": b"{}", "priority": 5, "created_at": world.clock.now_ms()}
    return Job(id=world.ids.new("job"), **(values | changes))


async def paces(world: World, lane: str) -> bool:
    """Whether the second of two jobs of the lane has to wait."""
    await world.engine.broker.enqueue([a_job(world, lane=lane), a_job(world, lane=lane)])
    await world.engine.broker.claim(SEND, 1)
    return await world.engine.broker.lane_free_at(SEND, lane) is not None


async def test_the_rates_of_connections_come_back_after_redis_lost_them(world: World, operations: Operations) -> None:
    await world.connect("con_slow", rate_per_minute=1)
    await world.connect("con_slow", tenant="other", rate_per_minute=1)
    await world.connect("con_free")
    await world.connect("con_off", rate_per_minute=1, desired=Desired.CLOSED)
    await operations.limit_lanes(world.clock.now_ms())
    lanes = ("con_slow", "other/con_slow", "con_free", "con_off")
    assert [await paces(world, lane) for lane in lanes] == [True, True, False, False]


async def test_when_a_message_may_leave_is_unknown_while_redis_is_away(
    world: World, operations: Operations, redis_server: RedisServer
) -> None:
    connection = await world.connect(rate_per_minute=1)
    await operations.limit_lane(connection)
    await paces(world, "con_1")
    free_at = await operations.next_send_at(connection)
    assert free_at is not None
    redis_server.kill()
    try:
        assert await operations.next_send_at(connection) is None
    finally:
        redis_server.start()


async def test_the_figures_of_status(world: World, operations: Operations) -> None:
    assert await operations.outbox_numbers() == {"rows": 0, "oldest_at": None}
    jobs = [a_job(world), a_job(world, lane="l"), a_job(world, due_at=1 << 45)]
    await world.outbox.add(jobs)
    await world.engine.broker.enqueue(jobs)
    numbers = await operations.queue_numbers()
    assert set(numbers) == set(QUEUES)
    expected = {"waiting": 2, "active": 0, "delayed": 1, "dead": 0, "paused": False}
    assert expected.items() <= dict(numbers[SEND]).items()
    assert await operations.session_numbers() == {"connected": 2}
    assert await operations.outbox_numbers() == {"rows": 3, "oldest_at": "2025-06-15T15:06:40.000Z"}
    assert (await operations.retry_delivery("t", "dlv_1")).id == "dlv_1"
