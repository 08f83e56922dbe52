"""Limits over all queues: of all jobs together, and of each tenant. Nobody waits for another tenant's limit."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.integration.jobs.engine import QUEUE, Engine, done, ended, ids
from tests.integration.jobs.engine import settings as queue_settings
from tests.support import eventually
from tests.support.redis_server import RedisServer
from zapd.jobs.broker import Broker
from zapd.jobs.claim import Claimed, Ending
from zapd.jobs.job import Done, Job, Outcome
from zapd.jobs.keys import key
from zapd.jobs.settings import SharedLimits, TenantLimits

OTHER = "other"
TWO = (queue_settings(lane_cap=1), queue_settings(OTHER, lane_cap=1))


@pytest.fixture
async def two(server: RedisServer) -> AsyncIterator[Engine]:
    """An engine with two queues."""
    engine = Engine(server.url, *TWO)
    yield engine
    await engine.close()


def capped(most: int, **own: TenantLimits) -> SharedLimits:
    return SharedLimits(tenant=TenantLimits(max_in_flight=most), own=own)


def rated(per_minute: float, burst: int = 1) -> SharedLimits:
    return SharedLimits(tenant=TenantLimits(rate_per_minute=per_minute, burst=burst))


async def add(engine: Engine, count: int, **changes: Any) -> list[Job]:
    jobs = [engine.job(**changes) for _ in range(count)]
    await engine.broker.enqueue(jobs)
    return jobs


async def claim(broker: Broker, free: int = 50, queue: str = QUEUE) -> list[Claimed]:
    return (await broker.claim(queue, free)).jobs


def tenants(claimed: list[Claimed]) -> Counter[str]:
    return Counter(each.job.tenant for each in claimed)


@pytest.mark.parametrize("lane", ["", "one"])
async def test_a_tenant_has_so_many_at_once_over_all_queues(two: Engine, lane: str) -> None:
    two.broker.limit_all(capped(2))
    await add(two, 5, tenant="acme")
    await add(two, 5, tenant="acme", queue=OTHER)
    await add(two, 1, tenant="zeta", lane=lane)

    first = await claim(two.broker)
    assert tenants(first) == {"acme": 2, "zeta": 1}
    assert await claim(two.broker, queue=OTHER) == []

    await two.broker.finish(QUEUE, done([each for each in first if each.job.tenant == "acme"][:1]))
    assert tenants(await claim(two.broker, queue=OTHER)) == {"acme": 1}
    assert await claim(two.broker) == []


async def test_the_end_of_a_job_lets_the_other_queue_go_on_at_once(two: Engine) -> None:
    two.broker.limit_all(capped(1))
    await add(two, 1, tenant="acme")
    await add(two, 1, tenant="acme", queue=OTHER)
    (held,) = await claim(two.broker)
    blocked = await two.broker.claim(OTHER, 5)
    assert (blocked.jobs, blocked.held, blocked.capped) == ([], True, True)
    assert blocked.wait is not None
    assert blocked.wait <= 1.01

    await two.broker.finish(QUEUE, ended([held], Ending.RETRY, 3_600_000))
    assert len(await claim(two.broker, queue=OTHER)) == 1


@pytest.mark.parametrize("ending", [Ending.HAND_BACK, Ending.DEAD, Ending.CANCELED, Ending.SNOOZE])
async def test_every_end_makes_room(two: Engine, ending: Ending) -> None:
    two.broker.limit_all(capped(1))
    await add(two, 1, tenant="acme")
    await add(two, 1, tenant="acme", queue=OTHER)

    await two.broker.finish(QUEUE, ended(await claim(two.broker), ending, 3_600_000, "why"))

    assert len(await claim(two.broker, queue=OTHER)) == 1


async def test_a_dead_daemons_jobs_make_room(two: Engine) -> None:
    gone = two.another("gone")
    for broker in (gone, two.broker):
        broker.limit_all(capped(1))
    await add(two, 1, tenant="acme")
    await add(two, 1, tenant="acme", queue=OTHER)
    assert len(await claim(gone)) == 1
    await two.kill(gone)
    assert await claim(two.broker, queue=OTHER) == []

    await two.broker.reclaim(QUEUE, others=True)

    assert len(await claim(two.broker, queue=OTHER)) == 1


async def test_a_claim_whose_answer_was_lost_makes_room(two: Engine) -> None:
    two.broker.limit_all(capped(1))
    await add(two, 1, tenant="acme")
    await claim(two.broker)

    await two.broker.recover(QUEUE, [])

    assert len(await claim(two.broker)) == 1


async def test_what_nobody_ended_stops_counting_by_itself(two: Engine) -> None:
    two.broker.limit_all(capped(1))
    await add(two, 2, tenant="acme")
    await claim(two.broker)
    await two.redis.zadd("zapd1:{all}:f:acme", dict.fromkeys(await two.redis.zrange("zapd1:{all}:f:acme", 0, -1), 1))
    await two.redis.zadd(key(QUEUE, "tw:5"), {"acme": 0})

    assert len(await claim(two.broker)) == 1


async def test_what_runs_already_counts_in_a_limit_that_is_new(two: Engine) -> None:
    """An operator who sets one sees a tenant in trouble now, with its jobs under way."""
    await add(two, 3, tenant="acme")
    await add(two, 3, tenant="acme", queue=OTHER)
    await add(two, 3, tenant="zeta", queue=OTHER)
    before = [*await claim(two.broker, 2), *(others := await claim(two.broker, 1, OTHER))]
    two.broker.limit_all(capped(4, zeta=TenantLimits(max_in_flight=1)))

    assert tenants(await claim(two.broker, queue=OTHER)) == {"acme": 1, "zeta": 1}
    assert await claim(two.broker) == []
    assert tenants(before) == {"acme": 3}
    await two.broker.finish(OTHER, done(others))
    assert tenants(await claim(two.broker)) == {"acme": 1}


async def test_a_tenants_rate_is_over_all_queues_and_burns_no_attempt(two: Engine) -> None:
    two.broker.limit_all(rated(60, burst=3))  # one each second after three
    await add(two, 4, tenant="acme", lane="a")
    await add(two, 4, tenant="acme", queue=OTHER)
    await add(two, 4, tenant="zeta", queue=OTHER)

    begun = time.monotonic()
    (first,) = await claim(two.broker)
    found = [first]
    assert tenants(await claim(two.broker, queue=OTHER)) == {"acme": 2, "zeta": 3}
    await two.broker.finish(QUEUE, done([first]))
    blocked = await two.broker.claim(QUEUE, 5)
    assert blocked.jobs == []
    assert blocked.wait is not None
    assert 0.0 < blocked.wait <= 1.0
    assert not blocked.capped
    while len(found) < 4:
        for each in await claim(two.broker):
            found.append(each)
            await two.broker.finish(QUEUE, done([each]))
        await asyncio.sleep(0.01)
    assert time.monotonic() - begun > 2.5
    assert [each.job.attempt for each in found] == [1] * 4
    assert ids(found) == sorted(ids(found))


async def test_the_rate_over_all_queues_stops_all_but_those_that_are_left_out(server: RedisServer) -> None:
    engine = Engine(server.url, queue_settings(), queue_settings(OTHER), queue_settings("close", shared=False))
    engine.broker.limit_all(SharedLimits(rate_per_minute=6, burst=2))
    for queue in (QUEUE, OTHER, "close"):
        await add(engine, 3, queue=queue)

    assert len(await claim(engine.broker)) == 2
    shut = await engine.broker.claim(OTHER, 5)
    assert (shut.jobs, shut.shut) == ([], True)
    assert shut.wait is not None
    assert 5.0 < shut.wait <= 10.0
    assert len(await claim(engine.broker, queue="close")) == 3
    await engine.close()


async def test_the_urgent_queue_gets_what_the_rate_over_all_queues_lets_go(server: RedisServer) -> None:
    engine = Engine(server.url, queue_settings(priority=2), queue_settings(OTHER, priority=9))
    engine.broker.limit_all(SharedLimits(rate_per_minute=1200))  # one each 50 ms
    started: list[str] = []

    async def handle(job: Job) -> Outcome:
        started.append(job.queue)
        return Done()

    await add(engine, 30)
    await add(engine, 8, queue=OTHER)
    begun = time.monotonic()
    await engine.dispatch(engine.pool(handle), engine.pool(handle, OTHER))
    await eventually(lambda: started.count(OTHER) == 8, within=20)
    assert started[1:].count(QUEUE) <= 1  # of which the first may be: nobody knows then that there is a limit
    assert time.monotonic() - begun > 0.3
    await engine.close()


async def test_a_tenant_has_limits_of_its_own(two: Engine) -> None:
    limits = capped(1, acme=TenantLimits(max_in_flight=3), free=TenantLimits())
    two.broker.limit_all(limits)
    for tenant in ("acme", "zeta", "free"):
        await add(two, 5, tenant=tenant)

    assert tenants(await claim(two.broker)) == {"acme": 3, "zeta": 1, "free": 5}

    await two.redis.flushall()  # Redis is told again
    await add(two, 5, tenant="acme")
    assert len(await claim(two.broker)) == 3


async def test_what_was_held_goes_when_the_limits_are_taken_back(two: Engine) -> None:
    two.broker.limit_all(capped(1))
    await add(two, 5, tenant="acme")
    await add(two, 3, tenant="acme", lane="a")
    assert len(await claim(two.broker)) == 1
    stats = await two.broker.stats(QUEUE)
    assert (stats.waiting + stats.staged, stats.tenants_held) == (7, 1)

    two.broker.limit_all(SharedLimits())

    assert len(await claim(two.broker)) == 5
    assert (await two.broker.stats(QUEUE)).tenants_held == 0


async def test_a_held_job_can_be_canceled_moved_and_seen(two: Engine) -> None:
    two.broker.limit_all(capped(1))
    first, canceled, moved, last = await add(two, 4, tenant="acme")
    claimed = await claim(two.broker)
    assert ids(claimed) == [first.id]

    assert await two.broker.cancel(QUEUE, canceled.id)
    assert await two.broker.reprioritize(QUEUE, moved.id, 9)
    stats = await two.broker.stats(QUEUE)
    assert (stats.waiting, stats.staged) == (2, 0)
    page = await two.broker.list_jobs(QUEUE, "waiting")
    rest = await two.broker.list_jobs(QUEUE, "waiting", page.next)
    assert [view.id for view in (*page.jobs, *rest.jobs)] == [moved.id, last.id]
    assert rest.next is None
    assert (await two.broker.job(QUEUE, last.id)).state == "waiting"  # type: ignore[union-attr]

    order = []
    while claimed:
        await two.broker.finish(QUEUE, done(claimed))
        order += ids(claimed := await claim(two.broker))
    assert order == [moved.id, last.id]


async def test_a_tenant_with_very_many_lanes_and_jobs_holds_up_nobody(two: Engine) -> None:
    two.broker.limit_all(capped(1))
    await two.broker.enqueue([two.job(tenant="big", lane=f"lane{n}") for n in range(3000)])
    await two.broker.enqueue([two.job(tenant="big") for _ in range(3000)])
    await two.broker.enqueue([two.job(tenant=f"small{n}", lane="one" if n % 2 else "") for n in range(2)])

    found: list[Claimed] = []
    claims = 0
    while len(found) < 3:
        found += await claim(two.broker, 20)
        claims += 1
    assert tenants(found) == {"big": 1, "small0": 1, "small1": 1}
    assert claims < 80
    # From now on what is held costs nothing: a claim meets none of it again.
    for n in range(5):
        await add(two, 1, tenant=f"later{n}")
        assert tenants(await claim(two.broker, 20)) == {f"later{n}": 1}


async def test_held_tenants_take_turns(two: Engine) -> None:
    two.broker.limit_all(capped(1))
    for tenant in ("a", "b", "c"):
        await add(two, 6, tenant=tenant)
    running = await claim(two.broker)
    order = []
    for _ in range(12):
        await two.broker.finish(QUEUE, done(running))
        running = await claim(two.broker, 3)
        order.append("".join(sorted(tenants(running))))
        if not running:
            break
    assert order[:5] == ["abc"] * 5


async def test_a_level_of_which_all_is_held_ages(two: Engine) -> None:
    broker = two.another("b", aged_after=0)
    for each in (two.broker, broker):
        each.limit_all(capped(1))
    await add(two, 1, tenant="acme")
    await add(two, 1, tenant="acme", priority=1)
    await two.broker.finish(QUEUE, done(await claim(two.broker)))
    await add(two, 40, tenant="zeta", priority=9)
    broker.limit_all(capped(100))

    assert tenants(await claim(broker, 16)) == {"zeta": 15, "acme": 1}


async def test_the_dispatcher_runs_a_capped_tenant_without_waiting_for_a_poll(two: Engine) -> None:
    two.broker.limit_all(capped(1))
    running, most, over = Counter[str](), Counter[str](), Counter[str]()

    async def handle(job: Job) -> Outcome:
        running[job.tenant] += 1
        most[job.tenant] = max(most[job.tenant], running[job.tenant])
        await asyncio.sleep(0.001)
        running[job.tenant] -= 1
        over[job.tenant] += 1
        return Done()

    await add(two, 60, tenant="acme")
    await add(two, 60, tenant="acme", queue=OTHER)
    await add(two, 20, tenant="zeta")
    begun = time.monotonic()
    await two.dispatch(two.pool(handle), two.pool(handle, OTHER))
    await eventually(lambda: over == {"acme": 120, "zeta": 20}, within=60)
    assert most == {"acme": 1, "zeta": 1}
    assert time.monotonic() - begun < 30  # 120 polls would take two minutes


OWNERS = ["a", "b", "c"]
ADDED = st.lists(
    st.tuples(
        st.sampled_from([QUEUE, OTHER]),
        st.sampled_from(OWNERS),
        st.sampled_from(["", "", "x", "y"]),
        st.sampled_from([5, 6]),
    ),
    max_size=12,
)
STEP = st.one_of(
    st.tuples(st.just("add"), ADDED),
    st.tuples(st.just("claim"), st.sampled_from([QUEUE, OTHER]), st.integers(1, 4)),
    st.tuples(
        st.just("finish"),
        st.integers(0, 5),
        st.sampled_from([Ending.DONE, Ending.HAND_BACK, Ending.RETRY, Ending.DEAD]),
    ),
    st.tuples(st.just("limit"), st.integers(0, 3)),
    st.tuples(st.just("die"), st.sampled_from([QUEUE, OTHER])),
)


def test_no_history_breaks_a_cap_an_order_or_leaves_a_job_behind(server: RedisServer) -> None:
    @settings(
        max_examples=60,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(steps=st.lists(STEP, min_size=10, max_size=40))
    def history(steps: list[Any]) -> None:
        asyncio.run(_play(server, steps))

    history()


async def _play(server: RedisServer, steps: list[Any]) -> None:
    server.flush()
    engine = Engine(server.url, *TWO)
    world = _World(engine)
    for step in [("limit", 1), *steps]:
        await getattr(world, step[0])(*step[1:])
    await world.empty()
    await engine.close()


class _World:
    """What a client, a daemon and its successors do; after each claim the caps and the lanes' order are looked at."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.boots = 0
        self.broker = engine.another("n0", "0")
        self.cap = 0
        self.held: list[tuple[str, Claimed]] = []
        self.lanes: dict[tuple[str, str, int], list[str]] = defaultdict(list)
        self.live: set[str] = set()

    async def add(self, jobs: list[tuple[str, str, str, int]]) -> None:
        made = [
            self.engine.job(queue=queue, tenant=owner, lane=f"{owner}/{lane}" if lane else "", priority=level)
            for queue, owner, lane, level in jobs
        ]
        await self.broker.enqueue(made)
        for job in made:
            self.live.add(job.id)
            if job.lane:
                self.lanes[job.queue, job.lane, job.priority].append(job.id)

    async def claim(self, queue: str, free: int) -> int:
        before = Counter(claimed.job.tenant for _, claimed in self.held)
        found = await claim(self.broker, free, queue)
        for each in found:
            job = each.job
            if job.lane:
                assert self.lanes[queue, job.lane, job.priority][0] == job.id, "a lane out of its order"
            self.held.append((queue, each))
        after = Counter(claimed.job.tenant for _, claimed in self.held)
        for owner in OWNERS:
            assert not self.cap or after[owner] <= max(self.cap, before[owner]), f"{owner} has {after[owner]}"
        return len(found)

    async def finish(self, at: int, ending: Ending) -> None:
        if not self.held:
            return
        queue, claimed = self.held.pop(at % len(self.held))
        job = claimed.job
        assert await self.broker.finish(queue, ended([claimed], ending, 0, "why")) == [True]
        if ending is Ending.RETRY:
            await asyncio.sleep(0.002)  # what is due "now" has the next whole millisecond; until then others may pass
        if ending in (Ending.DONE, Ending.DEAD):
            self.live.discard(job.id)
            if job.lane:
                self.lanes[queue, job.lane, job.priority].remove(job.id)

    async def limit(self, cap: int) -> None:
        self.cap = cap
        self.broker.limit_all(capped(cap) if cap else SharedLimits())

    async def die(self, queue: str) -> None:
        """The daemon goes, and the next start takes back what it held."""
        self.boots += 1
        self.broker = self.engine.another("n0", f"{self.boots}")
        await self.limit(self.cap)
        for name in (QUEUE, OTHER):
            while await self.broker.reclaim(name, others=False):
                pass
        self.held = []
        await self.broker.heartbeat(queue)

    async def empty(self) -> None:
        await self.limit(1)
        idle = 0
        while self.live and idle < 50:
            while self.held:
                await self.finish(0, Ending.DONE)
            started = await self.claim(QUEUE, 4) + await self.claim(OTHER, 4)
            idle = 0 if started else idle + 1
            if not started:
                await asyncio.sleep(0.03)  # after a change of the cap tenants are looked at once a second
        assert not self.live, "jobs that nothing starts"
        for queue in (QUEUE, OTHER):
            await self.broker.clean(queue)
            left = {name.decode().rpartition("}:")[2] for name in await self.engine.redis.keys(key(queue, "t[wh]:*"))}
            assert left == set()
