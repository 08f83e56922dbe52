"""How jobs of own queues come in and are taken back, against a real database and a real Redis."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.integration.messaging.world import SEND, World, relaying
from tests.support import eventually
from zapd.actions.envelope import sealed
from zapd.enqueue import LANE, EnqueueMetrics, Enqueuer, Policy, Status, Unique, Wanted
from zapd.errors import Unavailable
from zapd.jobs.job import Job


class Members:
    """Batches that keep what they hear."""

    def __init__(self) -> None:
        self.ends: list[tuple[str, str, str | None]] = []

    async def ended(self, job: Job, batch: str, *, error: str | None, result: bytes | None) -> None:
        self.ends.append((job.id, batch, error))


class Queue:
    """An enqueuer, and what it does to Redis."""

    def __init__(self, world: World) -> None:
        self.world, self.members = world, Members()
        self.running: set[str] = set()
        self.stopped: list[str] = []
        self.away = False
        self.enqueuer = Enqueuer(
            outbox=world.outbox,
            rows=world.outbox_rows,
            stop=self._stop,
            active=self._active,
            members=self.members,
            now_ms=world.clock.now_ms,
            metrics=EnqueueMetrics(registry=CollectorRegistry()),
        )

    async def _stop(self, queue: str, job_id: str) -> bool:
        if self.away:
            raise Unavailable
        self.stopped.append(job_id)
        return await self.world.engine.broker.stop_running(queue, job_id)

    async def _active(self, queue: str, job_id: str) -> bool:
        if self.away:
            raise Unavailable
        return job_id in self.running

    def job(self, **changes: Any) -> Job:
        values: dict[str, Any] = {"queue": SEND, "payload": b"{}", "priority": 5}
        return Job(id=self.world.ids.new("job"), created_at=self.world.clock.now_ms(), **(values | changes))

    def wanted(self, policy: Policy, key: str = "k", until: int | None = None, **changes: Any) -> Wanted:
        return Wanted(self.job(**changes), Unique(key, policy, until), policy)

    async def live(self) -> list[str]:
        return [job.id for job in await self.world.jobs(SEND)]


@pytest.fixture
def queue(world: World) -> Queue:
    return Queue(world)


async def test_jobs_are_committed_and_flow(world: World, queue: Queue) -> None:
    async with relaying(world.outbox):
        jobs = [queue.job() for _ in range(1_500)]
        taken = await queue.enqueuer.add([Wanted(job) for job in jobs])
        assert [one.status for one in taken] == [Status.QUEUED] * 1_500
        again = await queue.enqueuer.add([Wanted(jobs[0]), Wanted(jobs[1], policy=Policy.REJECT)])
        assert [one.status for one in again] == [Status.EXISTS, Status.REJECTED]

        async def there() -> bool:
            return (await world.engine.broker.stats(SEND)).waiting == 1_500

        await eventually(there)


@pytest.mark.parametrize("policy", list(Policy))
async def test_of_many_that_want_a_key_at_once_one_has_it(queue: Queue, policy: Policy) -> None:
    wanted = [queue.wanted(policy) for _ in range(12)]
    results = await asyncio.gather(*[queue.enqueuer.add([one]) for one in wanted], return_exceptions=True)
    taken = [result[0] for result in results if not isinstance(result, BaseException)]
    assert all(isinstance(result, Unavailable) for result in results if isinstance(result, BaseException))
    (left,) = await queue.live()
    counted = Counter(one.status for one in taken)
    assert counted[Status.QUEUED] == 1
    if policy in (Policy.RETURN_EXISTING, Policy.REJECT):
        assert {one.id for one in taken} == {left}
    else:
        replaced = {one.other for one in taken if one.status is Status.REPLACED}
        assert replaced == {one.id for one in taken} - {left}
        assert set(queue.stopped) == replaced


async def test_with_keep_last_the_one_that_runs_goes_on(queue: Queue) -> None:
    (first,) = await queue.enqueuer.add([queue.wanted(Policy.KEEP_LAST)])
    queue.running.add(first.id)
    second, third = await queue.enqueuer.add([queue.wanted(Policy.KEEP_LAST), queue.wanted(Policy.KEEP_LAST)])
    assert (second.status, third.status, third.other) == (Status.QUEUED, Status.REPLACED, second.id)
    assert await queue.live() == [first.id, third.id]
    assert queue.stopped == [second.id]
    assert {job.lane for job in await queue.world.jobs(SEND)} == {f"{LANE}k"}


async def test_a_window_ends(queue: Queue) -> None:
    now = queue.world.clock.now_ms()
    (first,) = await queue.enqueuer.add([queue.wanted(Policy.REJECT, until=now + 1000)])
    (second,) = await queue.enqueuer.add([queue.wanted(Policy.REJECT, until=now + 1000)])
    assert (second.status, second.id) == (Status.REJECTED, first.id)
    queue.world.clock.advance(1)
    (third,) = await queue.enqueuer.add([queue.wanted(Policy.REJECT)])
    assert third.status is Status.QUEUED
    assert len(await queue.live()) == 2


async def test_a_key_goes_with_its_job_however_that_ends(world: World, queue: Queue) -> None:
    (first,) = await queue.enqueuer.add([queue.wanted(Policy.REJECT)])
    async with relaying(world.outbox):
        world.outbox.finished([("default", first.id)])

        async def gone() -> bool:
            return await queue.live() == []

        await eventually(gone)
    assert (await queue.enqueuer.add([queue.wanted(Policy.REJECT)]))[0].status is Status.QUEUED


async def test_what_is_taken_back_is_gone_from_sql_and_redis_and_its_batch_knows(world: World, queue: Queue) -> None:
    job = queue.job(payload=sealed(b"1", batch="bat_1"))
    await queue.enqueuer.add([Wanted(job)])
    await world.engine.broker.enqueue([job])
    assert await queue.enqueuer.take_back("default", job.id) is not None
    assert await queue.live() == []
    assert await world.engine.broker.locate(SEND, [job.id]) == ["missing"]
    assert queue.members.ends == [(job.id, "bat_1", "canceled")]
    assert await queue.enqueuer.take_back("default", job.id) is None


async def test_a_job_is_taken_back_also_while_redis_is_away(queue: Queue) -> None:
    (first,) = await queue.enqueuer.add([queue.wanted(Policy.REPLACE)])
    queue.away = True
    (second,) = await queue.enqueuer.add([queue.wanted(Policy.REPLACE)])
    assert (second.status, second.other) == (Status.REPLACED, first.id)
    assert await queue.enqueuer.take_back("default", second.id) is not None
    assert await queue.live() == []
