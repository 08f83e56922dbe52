"""What becomes of a job when its handler says something, raises, hangs or is stopped; and who runs first."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest

from tests.integration.jobs.engine import QUEUE, Engine, done, settings
from tests.support import eventually
from tests.support.redis_server import RedisServer
from zapd.errors import Unavailable
from zapd.jobs import pool as pool_module
from zapd.jobs import run as run_module
from zapd.jobs.claim import Claimed, Ending, Finished
from zapd.jobs.dispatcher import Dispatcher
from zapd.jobs.job import Discard, Done, Job, Outcome, Retry, Snooze
from zapd.jobs.keys import key
from zapd.jobs.run import Run, Stop
from zapd.jobs.suspects import ALONE, QUIET, Suspects


class Recorder:
    """A handler that says what it is told to, job after job, and remembers whom it saw."""

    def __init__(self, *outcomes: Outcome | Exception) -> None:
        self.outcomes = list(outcomes)
        self.seen: list[Job] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, job: Job) -> Outcome:
        self.seen.append(job)
        await self.gate.wait()
        outcome = self.outcomes.pop(0) if self.outcomes else Done()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    @property
    def ids(self) -> list[str]:
        return [job.id for job in self.seen]


async def turn(dispatcher: Dispatcher) -> None:
    """The dispatcher looks at the queue some times."""
    until = dispatcher.turns + 5

    def looked() -> bool:
        dispatcher.wake(QUEUE)
        return dispatcher.turns >= until

    await eventually(looked)


async def test_a_job_that_works_is_over(engine: Engine) -> None:
    dispatcher = await engine.dispatch(engine.pool(Recorder()))
    job = engine.job(tenant="t1")
    await engine.broker.enqueue([job])
    dispatcher.wake(QUEUE)

    await eventually(lambda: engine.over == [job.id])

    assert await engine.broker.locate(QUEUE, [job.id]) == ["missing"]
    assert engine.metrics.queues[QUEUE].outcomes["done"] == 1


async def test_a_wake_up_starts_the_handler_within_milliseconds(engine: Engine) -> None:
    started: asyncio.Queue[float] = asyncio.Queue()

    async def handler(job: Job) -> Outcome:
        started.put_nowait(time.perf_counter())
        return Done()

    dispatcher = await engine.dispatch(engine.pool(handler))
    waits = []
    for _ in range(20):
        at = time.perf_counter()
        await engine.broker.enqueue([engine.job()])
        dispatcher.wake(QUEUE)
        waits.append(await started.get() - at)

    assert sorted(waits)[10] < 0.2  # the poll comes after a second


async def test_a_job_of_another_daemon_is_found_by_polling(engine: Engine) -> None:
    handler = Recorder()
    await engine.dispatch(engine.pool(handler))
    await eventually(lambda: engine.metrics.queues[QUEUE].slots)

    await engine.another("b").enqueue([engine.job()])

    await eventually(lambda: handler.seen)


async def test_a_failing_job_is_tried_again_and_dies_after_its_last_attempt(engine: Engine) -> None:
    handler = Recorder(Retry("one"), ValueError("two"), Retry("three"))
    dispatcher = await engine.dispatch(engine.pool(handler))
    job = engine.job()
    await engine.broker.enqueue([job])
    dispatcher.wake(QUEUE)

    await eventually(lambda: engine.over == [job.id])

    assert [seen.attempt for seen in handler.seen] == [1, 2, 3]
    assert engine.dead == [(job.id, "attempts", "three")]
    view = await engine.broker.job(QUEUE, job.id)
    assert view
    assert (view.state, view.reason, view.error) == ("dead", "attempts", "three")
    assert engine.metrics.queues[QUEUE].outcomes | {} == {
        "done": 0, "retry": 2, "snooze": 0, "discard": 0, "dead": 1, "canceled": 0,
    }  # fmt: skip


async def test_a_database_that_is_away_burns_no_attempt_and_keeps_the_order_of_a_lane(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "AWAY_WAIT", 0.05)
    handler = Recorder(Unavailable("SQL"), Unavailable("SQL"))
    dispatcher = await engine.dispatch(engine.pool(handler))
    first, second = engine.job(lane="l"), engine.job(lane="l")
    await engine.broker.enqueue([first, second])
    dispatcher.wake(QUEUE)

    await eventually(lambda: engine.over == [first.id, second.id])

    assert [(job.id, job.attempt) for job in handler.seen] == [
        (first.id, 1),
        (first.id, 1),
        (first.id, 1),
        (second.id, 1),
    ]
    assert engine.metrics.queues[QUEUE].outcomes["snooze"] == 2


async def test_a_job_that_redis_forgot_and_got_back_does_not_run_beside_itself(engine: Engine) -> None:
    handler = Recorder()
    handler.gate.clear()
    dispatcher = await engine.dispatch(engine.pool(handler))
    first, second = engine.job(lane="l"), engine.job(lane="l")
    await engine.broker.enqueue([first, second])
    dispatcher.wake(QUEUE)
    await eventually(lambda: handler.ids == [first.id])

    await engine.redis.flushall()
    await engine.broker.enqueue([first, second])
    dispatcher.wake(QUEUE)
    await eventually(lambda: engine.metrics.queues[QUEUE].outcomes["snooze"])
    assert handler.ids == [first.id]
    handler.gate.set()

    await eventually(lambda: engine.over == [first.id, second.id])
    assert handler.ids == [first.id, first.id, second.id]


async def test_a_handler_that_says_nothing_has_failed(engine: Engine) -> None:
    async def handler(job: Job) -> Any:
        return None

    dispatcher = await engine.dispatch(engine.pool(handler))
    await engine.broker.enqueue([engine.job()])
    dispatcher.wake(QUEUE)

    await eventually(lambda: engine.over)

    assert engine.dead[0][1:] == ("attempts", "TypeError('a handler returned NoneType')")


async def test_writing_down_a_death_is_not_cut_off_by_the_jobs_timeout(engine: Engine) -> None:
    engine.configure(settings(timeout=0.05, attempts=1))
    told: list[str] = []

    async def on_dead(job: Job, reason: str, error: str) -> None:
        asyncio.get_running_loop().call_later(0.1, slow.set)
        await slow.wait()
        told.append(error)

    async def handler(job: Job) -> Outcome:
        await asyncio.Event().wait()
        return Done()

    slow = asyncio.Event()
    pool = engine.pool(handler, on_dead=on_dead)
    dispatcher = await engine.dispatch(pool)
    await engine.broker.enqueue([engine.job()])
    dispatcher.wake(QUEUE)

    await eventually(lambda: engine.over)

    assert told == ["timeout after 0.05 s"]
    assert pool.running == 0


async def test_a_discarded_job_is_dead_at_once_with_its_reason(engine: Engine) -> None:
    dispatcher = await engine.dispatch(engine.pool(Recorder(Discard("bad_number", "no such\nnumber"))))
    job = engine.job()
    await engine.broker.enqueue([job])
    dispatcher.wake(QUEUE)

    await eventually(lambda: engine.over == [job.id])

    view = await engine.broker.job(QUEUE, job.id)
    assert view
    assert (view.reason, view.error) == ("bad_number", "no such number")


async def test_a_snooze_burns_no_attempt(engine: Engine) -> None:
    handler = Recorder(Snooze(0.01), Snooze(0.01, park_lane=True), Snooze(0.01))
    dispatcher = await engine.dispatch(engine.pool(handler))
    await engine.broker.enqueue([engine.job(lane="x")])
    dispatcher.wake(QUEUE)

    await eventually(lambda: engine.over)

    assert [seen.attempt for seen in handler.seen] == [1, 1, 1, 1]


async def test_a_job_over_its_time_is_stopped_and_tried_again(engine: Engine) -> None:
    engine.configure(settings(timeout=0.05))
    stopped: list[str] = []

    async def handler(job: Job) -> Outcome:
        if job.attempt == 1:
            try:
                await asyncio.Event().wait()
            finally:
                stopped.append(job.id)
        return Done()

    dispatcher = await engine.dispatch(engine.pool(handler))
    jobs = [engine.job() for _ in range(3)]
    await engine.broker.enqueue(jobs)
    dispatcher.wake(QUEUE)

    await eventually(lambda: len(engine.over) == 3)

    assert sorted(stopped) == [job.id for job in jobs]
    assert engine.metrics.queues[QUEUE].outcomes["retry"] == 3


async def test_a_job_whose_worker_died_three_times_is_poison(engine: Engine) -> None:
    job = engine.job()
    await engine.broker.enqueue([job])
    for number in range(3):
        victim = engine.another(f"victim{number}")
        assert len((await victim.claim(QUEUE, 1)).jobs) == 1
        await engine.kill(victim)
        await engine.broker.reclaim(QUEUE, others=True)
    handler = Recorder()

    await engine.dispatch(engine.pool(handler))

    await eventually(lambda: engine.over == [job.id])
    assert handler.seen == []
    assert engine.dead == [(job.id, "poison", "its worker died 3 times")]
    assert engine.metrics.queues[QUEUE].deaths["poison"] == 1


async def test_a_poison_takes_none_of_its_neighbours_with_it(engine: Engine) -> None:
    """All that ran beside it saw two workers die; they run one at a time: the third crash tells which it was."""
    jobs = [engine.job() for _ in range(4)]
    await engine.broker.enqueue(jobs)
    for number in range(2):
        victim = engine.another(f"victim{number}")
        assert len((await victim.claim(QUEUE, 4)).jobs) == 4
        await engine.kill(victim)
        await engine.broker.reclaim(QUEUE, others=True)
    running: list[str] = []
    together = []

    async def handler(job: Job) -> Outcome:
        running.append(job.id)
        together.append(len(running))
        await asyncio.sleep(0.01)
        running.remove(job.id)
        return Done()

    await engine.dispatch(engine.pool(handler))

    await eventually(lambda: len(engine.over) == 4, within=20)
    assert together == [1, 1, 1, 1]
    assert engine.metrics.queues[QUEUE].outcomes["done"] == 4


async def test_a_poison_takes_nobody_of_another_queue_with_it(engine: Engine) -> None:
    """Both saw two workers die. The poison waits until the bystander is out of the daemon's hands, or has ended."""
    engine.configure(settings(), settings("other"))
    other = engine.job("bystander", queue="other", crashes=2)
    await engine.broker.enqueue([engine.job("poison", crashes=2), other])
    held: list[tuple[str, int, int]] = []

    async def handler(job: Job) -> Outcome:
        work, elsewhere = [(await engine.broker.stats(name)).active for name in (QUEUE, "other")]
        held.append((job.id, work, elsewhere))
        await asyncio.sleep(0.01)
        return Done()

    await engine.dispatch(engine.pool(handler), engine.pool(handler, "other"))

    await eventually(lambda: len(engine.over) == 2, within=20)
    assert sorted(held) == [("bystander", 0, 1), ("poison", 1, 0)]


async def test_nothing_begins_beside_a_suspect_nor_had_begun_just_before(engine: Engine) -> None:
    """What has killed nobody yet may be the next poison: the suspect must not die for it."""
    engine.configure(settings(), settings("other"))
    begun: list[str] = []
    at: dict[str, float] = {}
    over = asyncio.Event()

    async def handler(job: Job) -> Outcome:
        at[job.id] = asyncio.get_running_loop().time()
        begun.append(job.id)
        if job.id == "suspect":
            await engine.broker.enqueue([engine.job("after", queue="other")])
            dispatcher.wake("other")
            await eventually(lambda: engine.metrics.queues["other"].claimed == 1)
            assert "after" not in begun
        if job.id == "before":
            await over.wait()
        return Done()

    dispatcher = await engine.dispatch(engine.pool(handler), engine.pool(handler, "other"))
    await engine.broker.enqueue([engine.job("before")])
    dispatcher.wake(QUEUE)
    await eventually(lambda: begun)
    await engine.broker.enqueue([engine.job("suspect", crashes=2)])
    dispatcher.wake(QUEUE)

    await eventually(lambda: {"suspect", "after"} <= set(engine.over), within=20)
    over.set()

    assert begun == ["before", "suspect", "after"]
    assert at["suspect"] - at["before"] >= QUIET


async def test_a_crash_before_a_suspect_begins_is_not_its_own(engine: Engine) -> None:
    await engine.broker.enqueue([engine.job("suspect", crashes=2)])
    for begun in (False, True):
        victim = engine.another(f"victim {begun}")
        (claimed,) = (await victim.claim(QUEUE, 1)).jobs
        assert claimed.job.crashes == 2
        await victim.spare(QUEUE, claimed, begun=False)
        if begun:
            await victim.spare(QUEUE, claimed, begun=True)
        await engine.kill(victim)
        assert await engine.broker.reclaim(QUEUE, others=True) == 1
    assert [c.job.crashes for c in (await engine.broker.claim(QUEUE, 1)).jobs] == [3]


async def test_others_begin_again_though_a_suspect_takes_long(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zapd.jobs.suspects.TRIAL", 0.5)
    over = asyncio.Event()

    async def handler(job: Job) -> Outcome:
        if job.id == "suspect":
            await over.wait()
        return Done()

    dispatcher = await engine.dispatch(engine.pool(handler))
    await engine.broker.enqueue([engine.job("suspect", crashes=2), engine.job("other")])
    dispatcher.wake(QUEUE)

    await eventually(lambda: engine.over == ["other"])
    over.set()
    await eventually(lambda: engine.over == ["other", "suspect"])


async def test_a_suspect_that_takes_long_does_not_hold_up_the_others_for_ever() -> None:
    suspects = Suspects()
    now = asyncio.get_running_loop().time()
    long, early, late, last = (
        Run(Claimed(Job(id="x", queue=QUEUE, payload=b"", priority=1, created_at=0), 1), at, at + 600)
        for at in (now, now + ALONE - 1, now + ALONE, now + ALONE + 1)
    )
    assert [suspects.admit(run) for run in (long, early, late, last)] == [True, False, True, False]
    assert suspects.shut
    suspects.leave(late)
    suspects.leave(early)
    assert not suspects.shut
    assert suspects.admit(last)
    suspects.leave(last)


async def test_a_death_that_cannot_be_written_down_keeps_the_job(engine: Engine) -> None:
    async def sql_is_away(job: Job, reason: str, error: str) -> None:
        raise ConnectionError("sql")

    dispatcher = await engine.dispatch(engine.pool(Recorder(Discard("no")), on_dead=sql_is_away))
    job = engine.job()
    await engine.broker.enqueue([job])
    dispatcher.wake(QUEUE)

    await eventually(lambda: engine.metrics.queues[QUEUE].outcomes["snooze"])

    assert await engine.broker.locate(QUEUE, [job.id]) == ["live"]


async def test_drain_waits_for_what_ends_in_time_and_hands_back_the_rest(engine: Engine) -> None:
    hang, quick = asyncio.Event(), asyncio.Event()

    async def handler(job: Job) -> Outcome:
        await (hang if job.id.startswith("hang") else quick).wait()
        return Done()

    pool = engine.pool(handler)
    dispatcher = await engine.dispatch(pool)
    await engine.broker.enqueue([engine.job("quick"), engine.job("hang1"), engine.job("hang2", lane="x")])
    dispatcher.wake(QUEUE)
    await eventually(lambda: pool.running == 3)
    await dispatcher.stop()
    asyncio.get_running_loop().call_later(0.02, quick.set)

    assert await pool.drain(1.0) == 2

    assert engine.over == ["quick"]
    back = (await engine.another("b").claim(QUEUE, 5)).jobs
    assert [(claim.job.id, claim.job.attempt, claim.job.crashes) for claim in back] == [
        ("hang1", 1, 0),
        ("hang2", 1, 0),
    ]


async def test_a_handler_that_does_not_stop_is_handed_back_all_the_same(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zapd.jobs.pool._CANCEL_GRACE", 0.05)
    release = asyncio.Event()

    async def handler(job: Job) -> Outcome:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        return Done()

    pool = engine.pool(handler)
    dispatcher = await engine.dispatch(pool)
    await engine.broker.enqueue([engine.job("deaf")])
    dispatcher.wake(QUEUE)
    await eventually(lambda: pool.running)
    await dispatcher.stop()

    assert await pool.drain(0) == 1

    release.set()
    assert len((await engine.another("b").claim(QUEUE, 5)).jobs) == 1
    assert engine.over == []


async def test_no_more_is_claimed_than_there_are_free_slots(engine: Engine) -> None:
    handler = Recorder()
    handler.gate.clear()
    pool = engine.pool(handler)
    dispatcher = await engine.dispatch(pool)
    await engine.broker.enqueue([engine.job() for _ in range(20)])
    dispatcher.wake(QUEUE)
    await eventually(lambda: pool.running == 4)
    await turn(dispatcher)

    assert (await engine.broker.stats(QUEUE)).active == 4

    handler.gate.set()
    await eventually(lambda: len(engine.over) == 20)


async def test_a_pool_grows_under_backlog(engine: Engine) -> None:
    engine.configure(settings(concurrency=1, max_concurrency=8))
    handler = Recorder()
    handler.gate.clear()
    pool = engine.pool(handler)
    dispatcher = await engine.dispatch(pool)
    await engine.broker.enqueue([engine.job() for _ in range(50)])
    dispatcher.wake(QUEUE)

    await eventually(lambda: pool.running == 8)

    handler.gate.set()
    await eventually(lambda: len(engine.over) == 50)


async def test_a_pool_does_not_grow_for_what_clears_soon_anyway(engine: Engine) -> None:
    engine.configure(settings(concurrency=2, max_concurrency=8, clear_within=60))
    limits = set()

    async def handler(_job: Job) -> Outcome:
        limits.add(engine.metrics.queues[QUEUE].slots)
        return Done()

    dispatcher = await engine.dispatch(engine.pool(handler))
    await engine.broker.enqueue([engine.job() for _ in range(500)])
    dispatcher.wake(QUEUE)

    await eventually(lambda: len(engine.over) == 500, within=60)
    assert limits == {2}


async def test_a_pool_falls_back_after_a_time_of_little_use(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zapd.jobs.slots._SHRINK_AFTER", 0.05)
    engine.configure(settings(concurrency=1, max_concurrency=8))
    handler = Recorder()
    handler.gate.clear()
    pool = engine.pool(handler)
    dispatcher = await engine.dispatch(pool)
    await engine.broker.enqueue([engine.job() for _ in range(50)])
    dispatcher.wake(QUEUE)
    await eventually(lambda: pool.running == 8)
    handler.gate.set()

    def back() -> bool:
        dispatcher.wake(QUEUE)
        return pool.slots.free == 1

    await eventually(back)


async def test_jobs_that_hang_count_for_no_limit_and_are_bounded_all_the_same(engine: Engine) -> None:
    engine.configure(settings(concurrency=2, max_concurrency=2, hangs_after=0.05))
    quick: list[str] = []
    gate = asyncio.Event()

    async def handler(job: Job) -> Outcome:
        if job.id.startswith("slow"):
            await gate.wait()
        else:
            quick.append(job.id)
        return Done()

    pool = engine.pool(handler)
    dispatcher = await engine.dispatch(pool, max_in_flight=2)
    await engine.broker.enqueue([engine.job(f"slow{n}") for n in range(6)])
    await engine.broker.enqueue([engine.job(f"quick{n}") for n in range(20)])
    dispatcher.wake(QUEUE)
    await eventually(lambda: len(quick) == 20)
    assert pool.running == 6

    await engine.broker.enqueue([engine.job(f"slower{n}") for n in range(20)])
    dispatcher.wake(QUEUE)
    await eventually(lambda: pool.running == 10)
    now = asyncio.get_running_loop().time
    await eventually(lambda: all(run.started < now() - 0.05 for run in pool.slots.runs))
    await turn(dispatcher)
    assert pool.running == 10  # its two, and four times as many that hang

    gate.set()
    await eventually(lambda: len(engine.over) == 46)


async def test_jobs_that_wait_for_a_stranger_take_no_slot_from_the_others(engine: Engine) -> None:
    engine.configure(settings(concurrency=1, max_concurrency=6, clear_within=60, waits_after=0.01))
    quick: list[str] = []
    gate = asyncio.Event()

    async def handler(job: Job) -> Outcome:
        if job.id.startswith("slow"):
            await gate.wait()
        else:
            quick.append(job.id)
        return Done()

    pool = engine.pool(handler)
    dispatcher = await engine.dispatch(pool)
    await engine.broker.enqueue([engine.job(f"slow{n}") for n in range(5)])
    await engine.broker.enqueue([engine.job(f"quick{n}") for n in range(20)])
    dispatcher.wake(QUEUE)
    await eventually(lambda: len(quick) == 20)
    assert pool.running == 5

    await engine.broker.enqueue([engine.job(f"slower{n}") for n in range(5)])
    dispatcher.wake(QUEUE)
    await eventually(lambda: pool.running == 6)
    await turn(dispatcher)
    assert pool.running == 6  # never more than the operator allows

    gate.set()
    await eventually(lambda: len(engine.over) == 30)


async def test_new_settings_hold_for_a_running_pool(engine: Engine) -> None:
    engine.configure(settings(concurrency=1, max_concurrency=1))
    handler = Recorder()
    handler.gate.clear()
    pool = engine.pool(handler)
    dispatcher = await engine.dispatch(pool)
    await engine.broker.enqueue([engine.job() for _ in range(5)])
    dispatcher.wake(QUEUE)
    await eventually(lambda: pool.running == 1)

    pool.configure(settings(concurrency=3, max_concurrency=3))
    dispatcher.limit(2)  # over all pools
    dispatcher.wake(QUEUE)
    await eventually(lambda: pool.running == 2)
    dispatcher.limit(10)
    await eventually(lambda: pool.running == 3)

    handler.gate.set()
    await eventually(lambda: len(engine.over) == 5)


async def test_urgent_queues_go_first_when_there_is_little_room(engine: Engine) -> None:
    engine.configure(settings("low", priority=1), settings("high", priority=9))
    handler = Recorder()
    await engine.broker.enqueue([engine.job(f"low{n}", queue="low") for n in range(3)])
    await engine.broker.enqueue([engine.job(f"high{n}", queue="high") for n in range(3)])

    await engine.dispatch(engine.pool(handler, "low"), engine.pool(handler, "high"), max_in_flight=1)

    await eventually(lambda: len(engine.over) == 6)
    assert handler.ids == ["high0", "high1", "high2", "low0", "low1", "low2"]


async def test_the_lowest_queue_moves_under_any_load(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zapd.jobs.dispatcher._AGEING", 0.02)
    engine.configure(settings("low", priority=1), settings("high", priority=9))
    handler = Recorder()
    await engine.broker.enqueue([engine.job(queue="high") for _ in range(2000)])
    low = engine.job(queue="low")
    await engine.broker.enqueue([low])

    await engine.dispatch(engine.pool(handler, "low"), engine.pool(handler, "high"), max_in_flight=1)

    await eventually(lambda: low.id in handler.ids)
    assert len(handler.seen) < 2000


async def test_a_dispatcher_on_hold_claims_nothing_until_it_goes_on(engine: Engine) -> None:
    handler = Recorder()
    dispatcher = await engine.dispatch(engine.pool(handler))
    dispatcher.hold(True)
    await engine.broker.enqueue([engine.job()])
    await turn(dispatcher)
    assert handler.seen == []

    dispatcher.hold(False)

    await eventually(lambda: engine.over)


async def test_a_lane_flows_through_the_pool_in_order_without_waiting_for_polls(engine: Engine) -> None:
    handler = Recorder()
    dispatcher = await engine.dispatch(engine.pool(handler))
    jobs = [engine.job(lane="x") for _ in range(100)]
    await engine.broker.enqueue(jobs)
    dispatcher.wake(QUEUE)

    await eventually(lambda: len(engine.over) == 100, within=20)  # by polls it would take a hundred seconds

    assert handler.ids == [job.id for job in jobs]


async def test_a_running_dispatcher_survives_the_loss_of_all_data(engine: Engine) -> None:
    handler = Recorder()
    handler.gate.clear()
    pool = engine.pool(handler)
    dispatcher = await engine.dispatch(pool)
    job = engine.job(lane="x")
    await engine.broker.enqueue([job])
    dispatcher.wake(QUEUE)
    await eventually(lambda: pool.running)

    await engine.redis.flushall()
    handler.gate.set()
    await eventually(lambda: engine.metrics.queues[QUEUE].fenced)
    await engine.broker.enqueue([job])  # as the reconciler does
    dispatcher.wake(QUEUE)

    await eventually(lambda: engine.over == [job.id])


async def test_redis_frozen_under_load_loses_and_doubles_nothing(engine: Engine, server: RedisServer) -> None:
    handler = Recorder()
    dispatcher = await engine.dispatch(engine.pool(handler))
    jobs = [engine.job() for _ in range(300)]
    await engine.broker.enqueue(jobs)
    dispatcher.wake(QUEUE)
    await eventually(lambda: len(engine.over) > 20, every=0.001)
    server.pause()
    # Longer than the client waits for an answer, so that a claim or a finish is lost on its way.
    asyncio.get_running_loop().call_later(3.5, server.unpause)

    await eventually(lambda: len(engine.over) == 300, within=15)

    assert sorted(handler.ids) == [job.id for job in jobs]
    assert await engine.redis.hlen(key(QUEUE, "a")) == 0


async def test_what_a_claim_took_while_its_answer_was_lost_is_run(engine: Engine) -> None:
    await engine.broker.enqueue([engine.job(), engine.job()])
    stranded = (await engine.broker.claim(QUEUE, 1)).jobs  # nobody hears the answer

    await engine.dispatch(engine.pool(Recorder()))

    await eventually(lambda: len(engine.over) == 2)
    assert await engine.broker.finish(QUEUE, done(stranded)) == [False]


async def test_a_dispatcher_that_starts_again_finds_what_it_had_claimed_and_not_started(engine: Engine) -> None:
    """It died between the two: its heartbeat goes on, so nobody else would ever take the job."""
    await engine.broker.enqueue([engine.job()])
    dispatcher = Dispatcher(broker=engine.broker, pools=[engine.pool(Recorder())])
    first = asyncio.create_task(dispatcher.run())
    await eventually(lambda: len(engine.over) == 1)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await engine.broker.enqueue([engine.job()])
    await engine.broker.claim(QUEUE, 1)

    second = asyncio.create_task(dispatcher.run())
    await eventually(lambda: len(engine.over) == 2)

    await dispatcher.stop()
    await second


async def test_a_suspect_whose_timeout_is_over_before_it_began_is_handed_back(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waits until Redis has taken the ends of those before it, and Redis may be away for longer than it may run."""
    engine.configure(settings(timeout=0.05))
    redis_is_back = asyncio.Event()
    finish = engine.broker.finish

    async def slow(queue: str, results: Sequence[Finished]) -> list[bool]:
        await redis_is_back.wait()
        return await finish(queue, results)

    monkeypatch.setattr(engine.broker, "finish", slow)
    handler = Recorder()
    pool = engine.pool(handler)
    await engine.broker.enqueue([engine.job("first")])
    pool.start((await engine.broker.claim(QUEUE, 1)).jobs)
    await eventually(lambda: handler.ids == ["first"] and pool.running == 0)
    await engine.broker.enqueue([engine.job("suspect", crashes=2)])
    pool.start((await engine.broker.claim(QUEUE, 1)).jobs)
    (run,) = pool.slots.runs
    await eventually(lambda: run.stopped is Stop.TIMEOUT)

    redis_is_back.set()

    await eventually(lambda: not pool.held())
    assert handler.ids == ["first"]
    (again,) = (await engine.another("b").claim(QUEUE, 5)).jobs
    assert (again.job.id, again.job.attempt, again.job.crashes) == ("suspect", 1, 2)


async def test_finishes_that_failed_for_good_are_not_held_for_ever(engine: Engine, monkeypatch: Any) -> None:
    async def broken(*_: object) -> list[bool]:
        raise ValueError

    asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # else the loop reports the dead task
    pool = engine.pool(Recorder())
    await engine.broker.enqueue([engine.job()])
    claimed = (await engine.broker.claim(QUEUE, 1)).jobs
    monkeypatch.setattr(engine.broker, "finish", broken)

    pool.start(claimed)

    await eventually(lambda: not pool.held())


async def test_claims_that_came_back_with_an_old_state_of_redis_are_found(engine: Engine) -> None:
    """A restored file says that we hold jobs which we ended long ago, or never got. Nobody else may take them."""
    handler = Recorder()
    dispatcher = await engine.dispatch(engine.pool(handler))
    await turn(dispatcher)  # its first look is over
    dispatcher.hold(True)
    await engine.broker.enqueue([engine.job(lane="l")])
    held = await engine.broker.claim(QUEUE, 1)  # behind the pool's back, as the same daemon
    assert len(held.jobs) == 1
    await engine.broker.enqueue([behind := engine.job(lane="l")])
    dispatcher.hold(False)
    await turn(dispatcher)
    assert handler.seen == []

    dispatcher.doubt()

    await eventually(lambda: len(engine.over) == 2)
    assert engine.over == [held.jobs[0].job.id, behind.id]


async def test_a_job_that_is_late_takes_no_younger_one_with_it(engine: Engine) -> None:
    engine.configure(settings(timeout=0.2, attempts=1))
    release = asyncio.Event()

    async def handler(job: Job) -> Outcome:
        await release.wait()
        return Done()

    pool = engine.pool(handler)
    await engine.broker.enqueue([engine.job("late")])
    pool.start((await engine.broker.claim(QUEUE, 1)).jobs)
    pool.configure(settings(timeout=30.0, attempts=1))
    await engine.broker.enqueue([engine.job("young")])
    pool.start((await engine.broker.claim(QUEUE, 1)).jobs)

    await eventually(lambda: engine.dead == [("late", "attempts", "timeout after 0.2 s")])
    release.set()

    await eventually(lambda: not pool.held())
    assert engine.metrics.queues[QUEUE].outcomes["done"] == 1


async def test_a_handler_says_how_long_to_wait_at_least(engine: Engine) -> None:
    engine.configure(settings(backoff=0.001))
    await engine.dispatch(engine.pool(Recorder(Retry("busy", after=3600))))
    await engine.broker.enqueue([engine.job("later")])

    await eventually(lambda: engine.metrics.queues[QUEUE].outcomes["retry"])

    seconds, micros = await engine.redis.time()
    due = await engine.redis.zscore(key(QUEUE, "d"), "later")
    assert due - (seconds * 1000 + micros / 1000) > 3_500_000


async def test_a_job_that_is_taken_back_before_it_began_is_no_dead_letter_though_it_is_poison(engine: Engine) -> None:
    pool = engine.pool(Recorder())
    await engine.broker.enqueue([engine.job("poison", crashes=3)])
    pool.start((await engine.broker.claim(QUEUE, 1)).jobs)

    assert pool.cancel("poison")

    await eventually(lambda: engine.over == ["poison"])
    assert engine.dead == []


async def test_neither_its_timeout_nor_a_person_stops_a_job_whose_end_is_being_written_down(engine: Engine) -> None:
    engine.configure(settings(timeout=0.05))
    written, told = asyncio.Event(), []

    async def on_dead(job: Job, reason: str, error: str) -> None:
        await written.wait()
        told.append((job.id, reason))

    handler = Recorder(Discard("no"))
    pool = engine.pool(handler, on_dead=on_dead)
    await engine.broker.enqueue([engine.job("refused")])
    pool.start((await engine.broker.claim(QUEUE, 1)).jobs)
    (run,) = pool.slots.runs
    await eventually(lambda: run.stopped is Stop.ENDED)
    await eventually(lambda: asyncio.get_running_loop().time() > run.deadline)

    assert not pool.cancel("refused")

    written.set()
    await eventually(lambda: engine.over == ["refused"])
    assert told == [("refused", "no")]


async def test_one_timer_watches_over_all_deadlines(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = Recorder()
    handler.gate.clear()
    pool = engine.pool(handler)
    await engine.broker.enqueue([engine.job() for _ in range(4)])
    claimed = (await engine.broker.claim(QUEUE, 4)).jobs
    timers: list[object] = []
    loop = asyncio.get_running_loop()
    call_at = loop.call_at

    def noted(when: float, callback: Any, *given: Any, **more: Any) -> asyncio.TimerHandle:
        timers.extend([callback] if callback == pool._stop_late else [])
        return call_at(when, callback, *given, **more)

    monkeypatch.setattr(loop, "call_at", noted)

    for claim in claimed:
        pool.start([claim])

    assert timers == [pool._stop_late]
    handler.gate.set()
    await eventually(lambda: len(engine.over) == 4)


async def test_a_handler_that_outlived_its_drain_says_nothing_any_more(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "_CANCEL_GRACE", 0.01)
    gate = asyncio.Event()
    ended: list[Ending] = []

    async def stubborn(_: Job) -> Outcome:
        while not gate.is_set():
            with suppress(asyncio.CancelledError):
                await gate.wait()
        return Done()

    async def finish(_: str, results: Sequence[Finished]) -> list[bool]:
        ended.extend(result.ending for result in results)
        return [True] * len(results)

    pool = engine.pool(stubborn)
    await engine.broker.enqueue([engine.job()])
    claimed = (await engine.broker.claim(QUEUE, 1)).jobs
    monkeypatch.setattr(engine.broker, "finish", finish)
    pool.start(claimed)
    (run,) = pool.slots.runs
    await eventually(lambda: run.begun)
    assert await pool.drain(0) == 1

    gate.set()
    assert run.task is not None
    await run.task
    await eventually(lambda: not pool.held())

    assert ended == [Ending.HAND_BACK]
