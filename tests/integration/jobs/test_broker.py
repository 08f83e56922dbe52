"""Enqueue, claim, finish, reclaim, cancel, pause: one move at a time."""

import pytest

from tests.integration.jobs.engine import QUEUE, Engine, done, ended, ids, settings
from tests.support import eventually
from zapd.errors import InvalidInput, NotFound, Unavailable
from zapd.jobs.broker import Lost
from zapd.jobs.claim import Claimed, Ending
from zapd.jobs.keys import key


async def claim(engine: Engine, free: int = 10) -> list[Claimed]:
    return (await engine.broker.claim(QUEUE, free)).jobs


async def test_a_job_comes_out_as_it_went_in(engine: Engine) -> None:
    job = engine.job(payload=b'\x00\xff{"a":1}\n|', kind="send", lane="con_ção", tenant="t1", due_at=5)

    await engine.broker.enqueue([job])

    assert [claimed.job for claimed in await claim(engine)] == [job]


async def test_an_id_that_is_live_is_not_added_again(engine: Engine) -> None:
    waiting, delayed = engine.job(), engine.job(due_at=9_999_999_999_999)
    assert await engine.broker.enqueue([waiting, delayed, waiting]) == [True, True, False]
    assert await engine.broker.enqueue([waiting, delayed]) == [False, False]
    claimed = await claim(engine)
    assert await engine.broker.enqueue([waiting]) == [False]

    await engine.broker.finish(QUEUE, done(claimed))

    assert await engine.broker.enqueue([waiting]) == [True]


async def test_enqueue_takes_any_mix_of_queues(engine: Engine) -> None:
    engine.configure(settings("one"), settings("two"))
    jobs = [engine.job(queue=queue) for queue in ("two", "one", "two")]

    assert await engine.broker.enqueue(jobs) == [True, True, True]

    assert ids((await engine.broker.claim("two", 5)).jobs) == [jobs[0].id, jobs[2].id]


async def test_a_claim_gives_at_most_the_free_slots_most_urgent_first(engine: Engine) -> None:
    low, high, mid = [engine.job(priority=priority) for priority in (1, 9, 5)]
    await engine.broker.enqueue([low, high, mid])

    first = await engine.broker.claim(QUEUE, 2)
    second = await engine.broker.claim(QUEUE, 2)

    assert (ids(first.jobs), first.more) == ([high.id, mid.id], True)
    assert (ids(second.jobs), second.more) == ([low.id], False)


async def test_a_delayed_job_comes_when_it_is_due_and_the_claim_says_when(engine: Engine) -> None:
    await engine.broker.enqueue([engine.job()])
    claimed = await claim(engine)
    await engine.broker.finish(QUEUE, ended(claimed, Ending.RETRY, 150))

    early = await engine.broker.claim(QUEUE, 1)
    later = await eventually(lambda: claim(engine))

    assert early.jobs == []
    assert early.wait is not None
    assert 0 < early.wait <= 0.16
    assert later[0].job.attempt == 2


async def test_only_a_retry_burns_an_attempt(engine: Engine) -> None:
    await engine.broker.enqueue([engine.job()])
    attempts = []
    for ending in (Ending.SNOOZE, Ending.HAND_BACK, Ending.RETRY, Ending.PARK, Ending.DONE):
        claimed = await eventually(lambda: claim(engine))
        attempts.append(claimed[0].job.attempt)
        await engine.broker.finish(QUEUE, ended(claimed, ending))

    assert attempts == [1, 1, 1, 2, 2]


async def test_a_repeated_finish_gets_the_first_answer_and_changes_nothing(engine: Engine) -> None:
    await engine.broker.enqueue([engine.job(), engine.job()])
    results = ended(await claim(engine), Ending.RETRY, 60_000)

    answers = [await engine.broker.finish(QUEUE, results) for _ in range(2)]

    assert answers == [[True, True], [True, True]]
    stats = await engine.broker.stats(QUEUE)
    assert (stats.delayed, stats.failed) == (2, 2)


async def test_a_zombie_cannot_finish_what_another_daemon_took_over(engine: Engine) -> None:
    zombie, other = engine.broker, engine.another("b")
    await zombie.enqueue([engine.job()])
    lost = (await zombie.claim(QUEUE, 1)).jobs
    await engine.kill(zombie)
    assert await other.reclaim(QUEUE, others=True) == 1
    taken = (await other.claim(QUEUE, 1)).jobs

    assert await zombie.finish(QUEUE, done(lost)) == [False]

    assert taken[0].job.crashes == 1
    assert taken[0].job.attempt == 1
    assert await other.finish(QUEUE, done(taken)) == [True]


async def test_jobs_of_a_live_daemon_are_not_reclaimed(engine: Engine) -> None:
    other = engine.another("b")
    await engine.broker.enqueue([engine.job()])
    claimed = await claim(engine)

    assert await other.reclaim(QUEUE, others=True) == 0

    assert await engine.broker.finish(QUEUE, done(claimed)) == [True]


async def test_a_new_start_of_the_same_node_takes_its_old_jobs_at_once(engine: Engine) -> None:
    await engine.broker.enqueue([engine.job(), engine.job(lane="x")])
    assert len(await claim(engine)) == 2
    new = engine.another("a", boot="2")

    assert await new.reclaim(QUEUE, others=False) == 2

    assert len((await new.claim(QUEUE, 5)).jobs) == 2
    assert await engine.redis.hkeys(key(QUEUE, "op")) == []


async def test_reclaim_works_in_bounded_steps_and_forgets_the_dead(engine: Engine) -> None:
    await engine.broker.enqueue([engine.job() for _ in range(25)])
    assert len(await claim(engine, 25)) == 25
    await engine.kill(engine.broker)
    other = engine.another("b")

    taken = [await other.reclaim(QUEUE, others=True, limit=10) for _ in range(4)]

    assert taken == [10, 10, 5, 0]
    assert await engine.redis.zscore(key(QUEUE, "hb"), engine.broker.consumer) is None
    assert await engine.redis.hlen(key(QUEUE, "a")) == 0


@pytest.mark.parametrize("forgotten", [False, True], ids=["at once", "after the hold was once passed over"])
async def test_jobs_that_a_zapd_of_before_the_fences_held_go_on(engine: Engine, forgotten: bool) -> None:
    first, second = engine.job(lane="x"), engine.job(lane="x")
    await engine.broker.enqueue([first, second])
    assert ids(await claim(engine)) == [first.id]
    old = "a:7:0"
    await engine.redis.hset(key(QUEUE, "a"), first.id, f"{old}|b:5|1764200000000-0")
    if not forgotten:
        await engine.redis.zadd(key(QUEUE, "hb"), {old: 1})
    other = engine.another("b")

    assert await other.reclaim(QUEUE, others=True) == 1

    taken = (await other.claim(QUEUE, 5)).jobs
    assert ids(taken) == [first.id]
    assert await other.finish(QUEUE, done(taken)) == [True]
    assert ids((await other.claim(QUEUE, 5)).jobs) == [second.id]


async def test_jobs_that_a_live_zapd_of_before_the_fences_holds_stay_its_own(engine: Engine) -> None:
    job = engine.job()
    await engine.broker.enqueue([job])
    await claim(engine)
    await engine.redis.hset(key(QUEUE, "a"), job.id, "old|b:5|1764200000000-0")
    await engine.redis.zadd(key(QUEUE, "hb"), {"old": 1 << 42})
    other = engine.another("b")

    assert await other.reclaim(QUEUE, others=True) == 0

    await engine.redis.zadd(key(QUEUE, "hb"), {"old": 1})
    assert await other.reclaim(QUEUE, others=True) == 1


async def test_what_a_lost_claim_took_is_recovered_and_a_late_one_is_void(engine: Engine) -> None:
    jobs = [engine.job(), engine.job(lane="x"), engine.job()]
    await engine.broker.enqueue(jobs[:1])
    known = await claim(engine)
    await engine.broker.enqueue(jobs[1:])
    await claim(engine)  # its answer is lost

    assert await engine.broker.recover(QUEUE, ids(known)) == 2

    late = await engine.redis.hget(key(QUEUE, "op"), f"{engine.broker.consumer} claim")
    assert late == b"2"
    again = await claim(engine)
    assert sorted(ids(again)) == [jobs[1].id, jobs[2].id]
    assert [claimed.job.crashes for claimed in again] == [0, 0]
    assert await engine.broker.finish(QUEUE, done([*known, *again])) == [True] * 3


async def test_cancel_takes_out_what_does_not_run(engine: Engine) -> None:
    active, waiting, delayed, staged = [
        engine.job("active"),
        engine.job("waiting"),
        engine.job("delayed", due_at=9_999_999_999_999),
        engine.job("staged", lane="x"),
    ]
    await engine.broker.enqueue([active])
    claimed = await claim(engine)
    await engine.broker.enqueue([waiting, delayed, staged])

    answers = [await engine.broker.cancel(QUEUE, name) for name in ("active", "waiting", "delayed", "staged", "none")]

    assert answers == [False, True, True, True, False]
    assert await claim(engine) == []
    assert await engine.broker.finish(QUEUE, done(claimed)) == [True]
    assert await engine.redis.xlen(key(QUEUE, "r:5")) == 0


async def test_a_canceled_id_can_come_back_and_runs_once(engine: Engine) -> None:
    job = engine.job()
    await engine.broker.enqueue([job])
    await engine.broker.cancel(QUEUE, job.id)

    assert await engine.broker.enqueue([job]) == [True]

    assert ids(await claim(engine)) == [job.id]
    assert await claim(engine) == []


async def test_a_dead_job_keeps_its_reason(engine: Engine) -> None:
    job = engine.job(payload=b"p\nq")
    await engine.broker.enqueue([job])
    claimed = await claim(engine)
    (result,) = ended(claimed, Ending.DEAD, reason="attempts")
    await engine.broker.finish(QUEUE, [result._replace(error="boom")])

    view = await engine.broker.job(QUEUE, job.id)
    assert view
    assert (view.state, view.reason, view.error, view.job) == ("dead", "attempts", "boom", job)


async def test_a_dead_job_can_be_dropped_or_replaced(engine: Engine) -> None:
    first, second = engine.job(), engine.job()
    await engine.broker.enqueue([first, second])
    await engine.broker.finish(QUEUE, ended(await claim(engine), Ending.DEAD, reason="no"))

    assert await engine.broker.drop_dead(QUEUE, first.id)
    assert not await engine.broker.drop_dead(QUEUE, first.id)
    assert await engine.broker.enqueue([second]) == [True]

    assert await engine.broker.locate(QUEUE, [first.id, second.id]) == ["missing", "live"]
    assert (await engine.broker.stats(QUEUE)).dead == 0


async def test_a_paused_queue_gives_nothing_until_it_is_resumed(engine: Engine) -> None:
    await engine.broker.enqueue([engine.job()])
    await engine.broker.pause(QUEUE)
    assert (await engine.another("b").pauses(QUEUE)).paused
    assert await claim(engine) == []

    await engine.broker.resume(QUEUE)

    assert len(await claim(engine)) == 1
    assert not (await engine.broker.pauses(QUEUE)).any


async def test_a_queue_has_a_rate_over_all_daemons(engine: Engine) -> None:
    engine.configure(settings(rate_per_minute=6, burst=3))
    await engine.broker.enqueue([engine.job() for _ in range(10)])

    first = await engine.broker.claim(QUEUE, 2)
    second = await engine.another("b").claim(QUEUE, 10)
    third = await engine.broker.claim(QUEUE, 10)

    assert (len(first.jobs), len(second.jobs), len(third.jobs)) == (2, 1, 0)
    assert third.wait is not None
    assert 5.0 < third.wait <= 10.0


async def test_numbers_and_pages_show_where_the_jobs_are(engine: Engine) -> None:
    await engine.broker.enqueue([engine.job("a1"), engine.job("a2"), engine.job("a3")])
    claimed = await claim(engine, 3)
    await engine.broker.finish(QUEUE, [*ended(claimed[:1], Ending.DEAD, reason="no"), *done(claimed[1:2])])
    staged = [engine.job("s1", lane="x"), engine.job("s2", lane="x")]
    await engine.broker.enqueue([engine.job("w1"), engine.job("d1", due_at=9_999_999_999_999), *staged])

    stats = await engine.broker.stats(QUEUE)
    found = {}
    for state in ("waiting", "active", "delayed", "staged", "dead", "completed"):
        page = await engine.broker.list_jobs(QUEUE, state)
        found[state] = sorted(view.id for view in page.jobs)

    assert (stats.waiting, stats.active, stats.delayed, stats.staged, stats.dead) == (1, 1, 1, 2, 1)
    assert (stats.completed, stats.failed, stats.active_jobs) == (1, 1, ["a3"])
    assert stats.oldest_ready_ms > 0
    assert found == {
        "waiting": ["w1"],
        "active": ["a3"],
        "delayed": ["d1"],
        "staged": ["s1", "s2"],
        "dead": ["a1"],
        "completed": ["a2"],
    }
    with pytest.raises(InvalidInput):
        await engine.broker.list_jobs(QUEUE, "nowhere")


async def test_a_completed_job_can_be_looked_up(engine: Engine) -> None:
    names = [f"j{number:03d}" for number in range(250)]
    await engine.broker.enqueue([engine.job(name, tenant="acme") for name in names])
    claimed = await claim(engine, 250)
    results = [result._replace(took_ms=number) for number, result in enumerate(done(claimed))]
    await engine.broker.finish(QUEUE, results[:101])
    await engine.broker.finish(QUEUE, results[101:])

    last = await engine.broker.job(QUEUE, "j249")
    assert last
    assert (last.state, last.attempt, last.took_ms, last.tenant, last.job) == ("completed", 1, 249, "acme", None)
    assert last.at > 0
    page = await engine.broker.list_jobs(QUEUE, "completed", None, 200)
    assert {view.id for view in page.jobs} == set(names[150:])
    assert await engine.broker.job(QUEUE, "j149") is None
    assert await engine.broker.job(QUEUE, "249") is None


@pytest.mark.parametrize("state", ["waiting", "dead", "delayed", "active"])
async def test_pages_follow_each_other_to_the_end(engine: Engine, state: str) -> None:
    due = 9_999_999_999_999 if state == "delayed" else 0
    names = [f"j{number}" for number in range(7)]
    await engine.broker.enqueue([engine.job(name, due_at=due, priority=5 - int(name[1]) % 2) for name in names])
    if state in ("dead", "active"):
        claimed = await claim(engine)
        if state == "dead":
            await engine.broker.finish(QUEUE, ended(claimed, Ending.DEAD, reason="no"))

    found: list[str] = []
    after: str | None = None
    while True:
        page = await engine.broker.list_jobs(QUEUE, state, after, 3)
        found += [view.id for view in page.jobs]
        after = page.next
        if after is None:
            break

    assert sorted(found) == names


async def test_clean_forgets_old_letters_and_leaves_no_key_of_an_empty_queue(engine: Engine) -> None:
    await engine.broker.enqueue([engine.job(), engine.job(), engine.job(lane="x", priority=7)])
    claimed = await claim(engine)
    await engine.broker.finish(QUEUE, [*ended(claimed[:1], Ending.DEAD, reason="no"), *done(claimed[1:])])

    assert await engine.another("a", completed_for=0, dead_for=0).clean(QUEUE) == (2, 1)
    await engine.broker.leave(QUEUE)

    assert {name.rsplit(b":", 1)[1] for name in await engine.redis.keys()} == {b"stat"}


async def test_clean_keeps_letters_as_long_as_the_operator_wants(engine: Engine) -> None:
    await engine.broker.enqueue([engine.job(), engine.job()])
    claimed = await claim(engine)
    await engine.broker.finish(QUEUE, [*ended(claimed[:1], Ending.DEAD, reason="no"), *done(claimed[1:])])

    assert await engine.another("a", completed_for=0).clean(QUEUE) == (1, 0)
    assert await engine.another("a", dead_for=0).clean(QUEUE) == (0, 1)


async def test_it_goes_on_after_the_data_is_gone(engine: Engine) -> None:
    await engine.broker.enqueue([engine.job()])
    lost = await claim(engine)
    await engine.redis.flushall()
    assert await engine.broker.finish(QUEUE, done(lost)) == [False]

    await engine.broker.enqueue([engine.job()])
    await engine.redis.script_flush()

    assert len(await claim(engine)) == 1


async def test_after_a_flush_no_later_job_gets_ahead_of_those_that_must_come_back(engine: Engine) -> None:
    first, second = engine.job(), engine.job()
    with pytest.raises(Lost):
        await engine.broker.enqueue([first], after_others=True)  # nobody has filled this Redis yet
    await engine.broker.refill()
    await engine.broker.enqueue([first], after_others=True)
    await engine.redis.flushall()
    with pytest.raises(Lost):
        await engine.broker.enqueue([second], after_others=True)

    assert await engine.broker.refill()
    assert not await engine.broker.refill()
    await engine.broker.enqueue([first, second], after_others=True)

    assert ids((await engine.broker.claim(QUEUE, 10)).jobs) == [first.id, second.id]


@pytest.mark.parametrize("told", ["here", "elsewhere"])
async def test_a_pause_outlives_the_loss_of_all_data(engine: Engine, told: str) -> None:
    await engine.broker.refill()
    await (engine.broker if told == "here" else engine.another("b")).pause(QUEUE)
    if told == "elsewhere":
        await engine.broker.stats(QUEUE)  # as upkeep does all the time
    await engine.redis.flushall()
    assert not (await engine.broker.stats(QUEUE)).paused

    await engine.broker.refill()
    await engine.broker.enqueue([engine.job()], after_others=True)
    assert await claim(engine) == []

    await engine.broker.resume(QUEUE)
    await engine.redis.flushall()
    await engine.broker.refill()
    assert not (await engine.broker.stats(QUEUE)).paused


async def test_a_job_that_cannot_be_read_is_dead_and_in_nobodys_way(engine: Engine) -> None:
    await engine.broker.enqueue([engine.job("broken"), engine.job("fine")])
    await engine.redis.hset(key(QUEUE, "jobs"), "broken", "2|from|the|future\n")

    assert ids(await claim(engine)) == ["fine"]

    view = await engine.broker.job(QUEUE, "broken")
    assert view
    assert (view.state, view.reason, view.job) == ("dead", "malformed", None)


async def test_a_full_redis_takes_nothing_new_but_what_is_there_flows(engine: Engine) -> None:
    await engine.broker.enqueue([engine.job(), engine.job(), engine.job(lane="x")])
    await engine.redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(Unavailable):
            await engine.broker.enqueue([engine.job()])

        claimed = await claim(engine)
        assert await engine.broker.finish(QUEUE, [*done(claimed[1:]), *ended(claimed[:1], Ending.RETRY)]) == [True] * 3
    finally:
        await engine.redis.config_set("maxmemory", 0)
    assert (await engine.broker.stats(QUEUE)).delayed == 1


async def test_unknown_queues_and_bad_lanes_are_refused(engine: Engine) -> None:
    with pytest.raises(NotFound):
        await engine.broker.enqueue([engine.job(queue="nowhere")])
    with pytest.raises(InvalidInput):
        await engine.broker.enqueue([engine.job(lane="a|b")])


async def test_a_pause_outlives_the_key_that_says_so(engine: Engine) -> None:
    """Upkeep looks every few seconds; that the rest may be lost as well is still to be seen by the next enqueue."""
    await engine.broker.refill()
    await engine.broker.enqueue([engine.job()])
    await engine.broker.pause(QUEUE)
    await engine.redis.delete(key(QUEUE, "meta"))

    await engine.broker.stats(QUEUE)

    assert (await engine.broker.claim(QUEUE, 1)).jobs == []
    with pytest.raises(Lost):
        await engine.broker.enqueue([engine.job()], after_others=True)
    await engine.broker.resume(QUEUE)
    assert len((await engine.broker.claim(QUEUE, 1)).jobs) == 1
