"""Lanes: order, how many at once, pace, parking, and that lanes do not disturb each other."""

import pytest

from tests.integration.jobs.engine import QUEUE, Engine, done, ended, ids, settings
from tests.support import eventually
from zapd.jobs.claim import Claimed, Ending, Finished
from zapd.jobs.keys import key


async def claim(engine: Engine, free: int = 10) -> list[Claimed]:
    return (await engine.broker.claim(QUEUE, free)).jobs


async def test_the_jobs_of_a_lane_go_one_after_another_in_order(engine: Engine) -> None:
    jobs = [engine.job(lane="x") for _ in range(5)]
    await engine.broker.enqueue(jobs)
    order = []
    for _ in jobs:
        claimed = await claim(engine)
        assert await claim(engine) == []  # the lane is busy
        order += ids(claimed)
        await engine.broker.finish(QUEUE, done(claimed))

    assert order == [job.id for job in jobs]


async def test_only_what_changes_the_next_claim_is_worth_one(engine: Engine) -> None:
    """What is added behind others of its lane changes nothing: their turn is known."""
    jobs = [engine.job(f"job{number}", lane="x") for number in range(3)]
    assert await engine.broker.enqueue(jobs[:2]) == [True, True]
    assert engine.ready == [QUEUE]
    assert await engine.broker.enqueue([*jobs]) == [False, False, True]
    assert engine.ready == [QUEUE]

    await engine.broker.enqueue([engine.job(lane="y")])
    await engine.broker.enqueue([engine.job()])
    await engine.broker.enqueue([engine.job(due_at=jobs[0].created_at + 60_000)])
    assert engine.ready == [QUEUE] * 4
    assert len(await claim(engine)) == 3  # the head of x, which leaves one behind it
    await engine.broker.enqueue([engine.job(lane="y")])  # its lane is busy, and nobody waits for its turn
    assert engine.ready == [QUEUE] * 5


async def test_a_lane_with_a_larger_cap_runs_that_many(engine: Engine) -> None:
    engine.configure(settings(lane_cap=3))
    await engine.broker.enqueue([engine.job(lane="x") for _ in range(5)])

    first = [*await claim(engine), *await claim(engine), *await claim(engine), *await claim(engine)]
    await engine.broker.finish(QUEUE, done(first[:1]))

    assert len(first) == 3
    assert len(await claim(engine)) == 1


async def test_a_busy_lane_does_not_delay_another(engine: Engine) -> None:
    await engine.broker.enqueue([engine.job(lane="busy") for _ in range(1000)])
    single = engine.job(lane="single")
    await engine.broker.enqueue([single])

    assert single.id in ids(await claim(engine))


async def test_lanes_take_turns(engine: Engine) -> None:
    await engine.broker.enqueue([engine.job(f"{lane}{number}", lane=lane) for lane in "abc" for number in range(3)])
    order = []
    for _ in range(9):
        claimed = await claim(engine, 1)
        order += ids(claimed)
        await engine.broker.finish(QUEUE, done(claimed))

    assert order == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]


async def test_jobs_with_and_without_lane_share_the_slots(engine: Engine) -> None:
    engine.configure(settings(lane_cap=100))
    await engine.broker.enqueue([engine.job(f"plain{number}") for number in range(10)])
    await engine.broker.enqueue([engine.job(f"lane{number}", lane="x") for number in range(10)])

    names = [ids(await claim(engine, 1))[0].rstrip("0123456789") for _ in range(10)]

    assert names.count("plain") == 5


async def test_a_lane_keeps_its_pace_over_daemons_and_the_claim_says_when(engine: Engine) -> None:
    engine.configure(settings(lane_rate_per_minute=30, lane_burst=2, lane_cap=10))
    await engine.broker.enqueue([engine.job(lane="x") for _ in range(6)])
    other = engine.another("b")

    burst = [*(await engine.broker.claim(QUEUE, 1)).jobs, *(await other.claim(QUEUE, 1)).jobs]
    none = await other.claim(QUEUE, 10)
    third = await eventually(lambda: claim(engine), within=20)
    fourth = await engine.broker.claim(QUEUE, 10)

    assert len(burst) == 2
    assert none.jobs == []
    assert none.wait is not None
    assert 0 < none.wait <= 2  # less of it is left on a loaded machine
    assert len(third) == 1
    assert fourth.jobs == []


async def test_one_lane_can_have_limits_of_its_own(engine: Engine) -> None:
    engine.configure(settings(lane_rate_per_minute=1))
    await engine.broker.limit_lane(QUEUE, "fast", per_minute=0, burst=None, cap=2)
    await engine.broker.enqueue([engine.job(lane="fast"), engine.job(lane="fast"), engine.job(lane="slow")])
    first = [*await claim(engine), *await claim(engine)]
    assert len(first) == 3
    await engine.broker.finish(QUEUE, done(first))

    await engine.broker.limit_lane(QUEUE, "fast", per_minute=None, burst=None, cap=None)

    await engine.broker.enqueue([engine.job(lane="fast"), engine.job(lane="fast")])
    claimed = await claim(engine)
    await engine.broker.finish(QUEUE, done(claimed))
    assert await claim(engine) == []


async def test_a_job_that_was_claimed_before_the_wake_does_not_park_the_lane_after_it(engine: Engine) -> None:
    jobs = [engine.job(lane="x") for _ in range(2)]
    await engine.broker.enqueue(jobs)
    claimed = await claim(engine)
    await engine.broker.wake_lane(QUEUE, "x")  # the session came up while the handler still believed it was down
    await engine.broker.finish(QUEUE, ended(claimed, Ending.PARK, 60_000))
    again = await claim(engine)
    assert ids(again) == [jobs[0].id]

    await engine.broker.finish(QUEUE, ended(again, Ending.PARK, 60_000))
    assert await claim(engine) == []


async def test_a_lane_whose_past_is_unknown_starts_at_its_rate_without_a_burst(engine: Engine) -> None:
    engine.configure(settings(lane_rate_per_minute=6, lane_burst=5, lane_cap=10))
    await engine.broker.spend_burst(QUEUE, "x")
    await engine.broker.enqueue([engine.job(lane="x")])
    waiting = await engine.broker.claim(QUEUE, 5)
    assert waiting.jobs == []
    assert waiting.wait is not None
    assert 5 < waiting.wait <= 10


def given_back(claimed: list[Claimed], ending: Ending, delay_ms: int) -> list[Finished]:
    return [Finished(claim, ending, delay_ms, given_back=True) for claim in claimed]


@pytest.mark.parametrize("own_rate", [False, True])
@pytest.mark.parametrize("ending", [Ending.SNOOZE, Ending.PARK])
async def test_a_start_that_is_given_back_does_not_count_in_the_rate(
    engine: Engine, ending: Ending, own_rate: bool
) -> None:
    """Else what must wait for another reason costs its lane the pace of what could go."""
    engine.configure(settings(lane_rate_per_minute=6000 if own_rate else 6, lane_burst=9 if own_rate else 2))
    if own_rate:
        await engine.broker.limit_lane(QUEUE, "x", per_minute=6, burst=2, cap=None)
    jobs = [engine.job(lane="x") for _ in range(9)]
    await engine.broker.enqueue(jobs)
    for _ in range(6):
        claimed = await claim(engine)
        assert len(claimed) == 1
        await engine.broker.finish(QUEUE, given_back(claimed, ending, 0 if ending is Ending.PARK else 60_000))

    for _ in range(2):  # the burst is untouched
        await engine.broker.finish(QUEUE, done(await claim(engine)))

    assert await claim(engine) == []


async def test_starts_that_are_given_back_add_up_to_no_credit(engine: Engine) -> None:
    engine.configure(settings(lane_rate_per_minute=6, lane_burst=1))
    await engine.broker.enqueue([engine.job(lane="x") for _ in range(3)])
    [first] = await claim(engine)
    await engine.broker.finish(QUEUE, given_back([first], Ending.PARK, 0))
    [second] = await claim(engine)
    await engine.broker.finish(QUEUE, given_back([second], Ending.PARK, 0))
    await engine.broker.finish(QUEUE, done(await claim(engine)))
    assert await claim(engine) == []


async def test_a_parked_lane_waits_and_keeps_its_order(engine: Engine) -> None:
    jobs = [engine.job(lane="x") for _ in range(3)]
    await engine.broker.enqueue(jobs)
    await engine.broker.finish(QUEUE, ended(await claim(engine), Ending.PARK, 60_000))
    waiting = await engine.broker.claim(QUEUE, 5)
    assert waiting.jobs == []
    assert waiting.wait is not None
    assert 59 < waiting.wait <= 60

    await engine.broker.wake_lane(QUEUE, "x")

    assert ids(await claim(engine)) == [jobs[0].id]


async def test_a_lane_parked_from_outside_holds_what_comes_later(engine: Engine) -> None:
    await engine.broker.park_lane(QUEUE, "x", 60)
    await engine.broker.enqueue([engine.job(lane="x")])
    assert await claim(engine) == []

    await engine.broker.wake_lane(QUEUE, "x")

    assert len(await claim(engine)) == 1


async def test_a_park_ends_by_itself(engine: Engine) -> None:
    await engine.broker.enqueue([engine.job(lane="x")])
    await engine.broker.park_lane(QUEUE, "x", 0.1)
    assert await claim(engine) == []

    assert await eventually(lambda: claim(engine))


async def test_a_retried_job_lets_the_lane_pass_and_returns_to_its_head(engine: Engine) -> None:
    jobs = [engine.job(lane="x") for _ in range(3)]
    await engine.broker.enqueue(jobs)
    await engine.broker.finish(QUEUE, ended(await claim(engine), Ending.RETRY, 60_000))
    second = await claim(engine)
    assert ids(second) == [jobs[1].id]
    assert await engine.redis.zadd(key(QUEUE, "d"), {jobs[0].id: 1}, xx=True, ch=True) == 1  # its time has come

    assert await claim(engine) == []  # the lane is busy: this only promotes
    assert not await engine.redis.zcard(key(QUEUE, "d"))
    await engine.broker.finish(QUEUE, done(second))

    assert ids(await claim(engine)) == [jobs[0].id]


async def test_jobs_delayed_at_first_join_their_lane_in_order(engine: Engine) -> None:
    first = engine.job(lane="x")
    scheduled = [engine.job(lane="x", due_at=1_750_000_000_000 + number) for number in range(3)]
    far = [engine.job(lane="x", due_at=9_999_999_999_999)]
    await engine.broker.enqueue([first, *scheduled, *far])
    for job in far:  # their time has come
        await engine.redis.zadd(key(QUEUE, "d"), {job.id: 1})
    order = []
    while claimed := await claim(engine):
        order += ids(claimed)
        await engine.broker.finish(QUEUE, done(claimed))

    assert order == [job.id for job in (first, *scheduled, *far)]


async def test_a_job_handed_back_or_reclaimed_goes_to_the_head_of_its_lane(engine: Engine) -> None:
    jobs = [engine.job(lane="x") for _ in range(3)]
    await engine.broker.enqueue(jobs)
    await engine.broker.finish(QUEUE, ended(await claim(engine), Ending.HAND_BACK))
    assert ids(await claim(engine)) == [jobs[0].id]
    await engine.kill(engine.broker)
    other = engine.another("b")
    await other.reclaim(QUEUE, others=True)

    assert ids((await other.claim(QUEUE, 5)).jobs) == [jobs[0].id]


async def test_a_lane_runs_its_urgent_jobs_first_and_one_at_a_time_over_levels(engine: Engine) -> None:
    await engine.broker.enqueue([engine.job("low", lane="x"), engine.job("high", lane="x", priority=6)])

    first = await claim(engine)
    assert ids(first) == ["high"]
    await engine.broker.finish(QUEUE, done(first))

    assert ids(await claim(engine)) == ["low"]


async def test_an_idle_lane_leaves_nothing_behind(engine: Engine) -> None:
    engine.configure(settings(lane_rate_per_minute=60_000))
    await engine.broker.enqueue([engine.job(lane=f"lane{number}") for number in range(20)])
    claimed = await claim(engine, 20)
    await engine.broker.finish(QUEUE, done(claimed))

    async def lanes() -> list[bytes]:
        found: list[bytes] = await engine.redis.keys(key("*", "ls:*").replace("{", "?").replace("}", "?"))
        return found

    assert len(claimed) == 20

    async def gone() -> bool:
        return not await lanes()

    await eventually(gone)


async def test_ten_thousand_lanes_cost_a_claim_little(engine: Engine) -> None:
    await engine.broker.enqueue([engine.job(lane=f"lane{number}") for number in range(10_000)])
    for _ in range(20):
        claimed = await claim(engine, 100)
        assert len(claimed) == 100
        await engine.broker.finish(QUEUE, done(claimed))

    slowest = (await engine.redis.slowlog_get(1))[0:1]
    assert all(entry["duration"] < 200_000 for entry in slowest)  # microseconds


async def test_a_paused_lane_waits_alone_and_keeps_its_order(engine: Engine) -> None:
    await engine.broker.enqueue([engine.job("x1", lane="x"), engine.job("x2", lane="x"), engine.job("y1", lane="y")])
    await engine.broker.pause_lane(QUEUE, "x")
    assert ids(await claim(engine)) == ["y1"]
    await engine.broker.enqueue([engine.job("x3", lane="x")])
    await engine.broker.wake_lane(QUEUE, "x")  # its session came up: a pause is more than a park
    assert await claim(engine) == []

    await engine.broker.pause_lane(QUEUE, "x", paused=False)

    order = []
    while claimed := await claim(engine):
        order += ids(claimed)
        await engine.broker.finish(QUEUE, done(claimed))
    assert order == ["x1", "x2", "x3"]


async def test_a_paused_kind_waits_and_is_first_in_line_again(engine: Engine) -> None:
    await engine.broker.enqueue(
        [
            engine.job("m1", kind="mail"),
            engine.job("o1"),
            engine.job("x1", kind="mail", lane="x"),
            engine.job("x2", lane="x"),
            engine.job("y1", lane="y"),
        ]
    )
    await engine.broker.pause_kind(QUEUE, "mail")
    assert sorted(ids(await claim(engine))) == ["o1", "y1"]
    await engine.broker.enqueue([engine.job("o2"), engine.job("m2", kind="mail")])
    assert ids(await claim(engine)) == ["o2"]
    assert (await engine.broker.stats(QUEUE)).waiting == 2
    assert await engine.broker.cancel(QUEUE, "m2")
    await engine.broker.enqueue([engine.job("o3")])

    await engine.broker.pause_kind(QUEUE, "mail", paused=False)

    assert ids(await claim(engine)) == ["m1", "o3", "x1"] or ids(await claim(engine)) == []
    assert await engine.redis.exists(key(QUEUE, "k:mail"), key(QUEUE, "kl:mail"), key(QUEUE, "pk")) == 0


async def test_ten_thousand_set_aside_come_back_in_bounded_steps(engine: Engine) -> None:
    jobs = [engine.job(kind="mail") for _ in range(1000)]
    await engine.broker.enqueue(jobs)
    await engine.broker.pause_kind(QUEUE, "mail")
    while (await engine.broker.claim(QUEUE, 300)).more:
        pass
    await engine.broker.pause_kind(QUEUE, "mail", paused=False)

    order: list[str] = []
    while len(order) < 1000:
        found = await engine.broker.claim(QUEUE, 300)
        assert found.more or found.jobs
        order += ids(found.jobs)

    assert order == [job.id for job in jobs]


async def test_lanes_are_listed_with_their_state(engine: Engine) -> None:
    await engine.broker.enqueue([engine.job(lane=f"l{number}") for number in range(7)])
    await engine.broker.enqueue([engine.job(lane="l0") for _ in range(3)])
    running = (await engine.broker.claim(QUEUE, 1)).jobs
    await engine.broker.pause_lane(QUEUE, "shut")
    await engine.broker.limit_lane(QUEUE, "l6", per_minute=90, burst=3, cap=2)
    await engine.broker.park_lane(QUEUE, "l5", 60)

    found, after = {}, None
    while True:
        page = await engine.broker.lanes(QUEUE, after, limit=3)
        found.update({lane.name: lane for lane in page.lanes})
        after = page.next
        if after is None:
            break

    assert sorted(found) == ["l0", "l1", "l2", "l3", "l4", "l5", "l6", "shut"]
    assert [lane.name for lane in found.values() if lane.paused] == ["shut"]
    assert {lane.name: lane.in_flight for lane in found.values() if lane.in_flight} == {running[0].job.lane: 1}
    assert found["l0"].staged == 3
    assert found["l5"].next_at > 0
    assert (found["l6"].rate_per_minute, found["l6"].burst, found["l6"].cap) == (90, 3, 2)


async def test_one_lane_of_many_jobs_and_many_lanes_of_one_share_fairly(engine: Engine) -> None:
    await engine.broker.enqueue([engine.job(f"big{number}", lane="big") for number in range(5000)])
    await engine.broker.enqueue([engine.job(f"small{number}", lane=f"s{number}") for number in range(500)])
    starts: list[str] = []
    while len(starts) < 600:
        claimed = await claim(engine, 50)
        starts += ids(claimed)
        await engine.broker.finish(QUEUE, done(claimed))

    last_small = max(place for place, name in enumerate(starts) if name.startswith("small"))
    big = sum(name.startswith("big") for name in starts[: last_small + 1])
    assert sum(name.startswith("small") for name in starts) == 500
    assert 1 <= big <= 12  # one of each round of fifty, not a slot more
