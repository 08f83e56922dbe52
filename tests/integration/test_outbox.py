"""SQL first, Redis after: the relay and the reconciler against a real database and a real Redis."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.integration.messaging.world import SEND, World, relaying
from tests.support import eventually
from tests.support.redis_server import RedisServer
from tests.support.store import message as a_message
from zapd import outbox as outbox_module
from zapd.jobs.broker import Broker
from zapd.jobs.claim import Ending, Finished
from zapd.jobs.job import Job
from zapd.jobs.keys import key
from zapd.outbox import Outbox


def a_job(world: World, **changes: Any) -> Job:
    values: dict[str, Any] = {"queue": SEND, "payload": b"{}", "priority": 5, "created_at": world.clock.now_ms()}
    return Job(id=world.ids.new("job"), **(values | changes))


async def commit(world: World, *jobs: Job, outbox: Outbox | None = None) -> None:
    await (outbox or world.outbox).commit(world.messages.added(a_message(world.ids.new("msg"))), jobs=jobs)


async def in_redis(world: World) -> list[str]:
    """Ids of the jobs that wait there, the next one first."""
    claim = await world.engine.another("peek").claim(SEND, 500)
    return [claimed.job.id for claimed in claim.jobs]


async def finish(broker: Broker, ending: Ending, **told: Any) -> list[Job]:
    """Claim what waits and end it so."""
    claim = await broker.claim(SEND, 500)
    await broker.finish(SEND, [Finished(claimed, ending, **told) for claimed in claim.jobs])
    return [claimed.job for claimed in claim.jobs]


# --- commit and add ---


async def test_jobs_are_committed_with_their_change_and_flow_at_once(world: World) -> None:
    jobs = [a_job(world), a_job(world, kind="k", lane="l", tenant="t", due_at=0, payload=b"\x00\xff")]
    async with relaying(world.outbox):
        await commit(world, *jobs)
        assert [job.id for job in await world.jobs(SEND)] == [job.id for job in jobs]
        await eventually(lambda: SEND in world.engine.ready)
        claim = await world.engine.broker.claim(SEND, 10)
    assert sorted([claimed.job for claimed in claim.jobs], key=lambda job: job.id) == jobs


async def test_a_guard_that_matches_nothing_makes_no_job(world: World) -> None:
    message = a_message()
    await world.change(world.messages.added(message))
    assert await world.outbox.commit(world.messages.added_new(message), jobs=[a_job(world)]) is None
    assert await world.jobs(SEND) == []


async def test_add_says_for_each_job_whether_it_is_new(world: World) -> None:
    first, second, third = (a_job(world) for _ in range(3))
    assert await world.outbox.add([first]) == [True]
    assert await world.outbox.add([second, first, third, second]) == [True, False, True, False]
    assert len(await world.jobs(SEND)) == 3


async def test_ids_of_two_tenants_do_not_collide_in_sql(world: World) -> None:
    job = a_job(world)
    assert await world.outbox.add([job, replace(job, tenant="other")]) == [True, True]


async def test_what_was_added_before_a_failure_flows(world: World) -> None:
    """One of many cannot be written: the others are committed, and must not lie there until the reconciler comes."""
    good, bad = a_job(world), a_job(world, priority=1 << 70)
    async with relaying(world.outbox):
        await eventually(lambda: not world.outbox._behind)
        with pytest.raises(Exception):  # noqa: B017 - which one is the store's business
            await world.outbox.add([good, bad])
        await eventually(lambda: SEND in world.engine.ready)
    assert await in_redis(world) == [good.id]


# --- the relay ---


async def test_what_lies_in_sql_at_the_start_flows_in_order(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "PAGE", 7)
    jobs = [a_job(world) for _ in range(50)]
    await commit(world, *reversed(jobs))
    async with relaying(world.another_outbox()):
        await eventually(lambda: _waiting(world, 50))
    assert await in_redis(world) == [job.id for job in jobs]


async def _waiting(world: World, count: int) -> bool:
    stats = await world.engine.broker.stats(SEND)
    return stats.waiting + stats.staged == count


async def test_an_outage_of_redis_costs_nothing_and_order_is_kept(
    world: World, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "RETRY_EVERY", 0.01)
    async with relaying(world.outbox):
        before = a_job(world)
        await commit(world, before)
        await eventually(lambda: _waiting(world, 1))
        redis_server.kill()  # without a file: what it held is gone
        try:
            during = [a_job(world) for _ in range(20)]
            for job in during:
                await commit(world, job)
        finally:
            redis_server.start()
        await eventually(lambda: _waiting(world, 21))
        after = a_job(world)
        await commit(world, after)
        await eventually(lambda: _waiting(world, 22))
    assert await in_redis(world) == [job.id for job in [before, *during, after]]


async def test_a_hang_of_redis_holds_up_no_commit(
    world: World, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with relaying(world.outbox):
        await commit(world, a_job(world))
        await eventually(lambda: _waiting(world, 1))
        redis_server.pause()
        try:
            for _ in range(5):
                await asyncio.wait_for(commit(world, a_job(world)), 2)  # Redis' own timeout is 3 s
        finally:
            redis_server.unpause()
        await eventually(lambda: _waiting(world, 6))


async def test_more_than_the_buffer_is_read_from_sql(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "BUFFER", 10)
    monkeypatch.setattr(outbox_module, "PAGE", 8)
    async with relaying(world.outbox):
        await eventually(lambda: not world.outbox._behind)
        jobs = [a_job(world) for _ in range(40)]
        await commit(world, *jobs)
        await eventually(lambda: _waiting(world, 40))
    assert await in_redis(world) == [job.id for job in jobs]


async def test_commits_while_the_relay_catches_up_are_all_there_once(world: World) -> None:
    """Ids are made before their commits, in another order; pages are small; the relay is sent back now and then."""
    loop = asyncio.get_running_loop()

    async def all_arrive(old: int, new: int, page: int, rereads: list[int]) -> None:
        await world.engine.redis.flushall()
        rows = await world.jobs(SEND)
        await world.change(*[world.outbox_rows.removed(job.tenant, job.id) for job in rows])
        jobs = [a_job(world) for _ in range(old + new)]
        outbox = world.another_outbox()
        for job in jobs[::2][:old]:
            await commit(world, job, outbox=outbox)
        outbox_module.PAGE = page
        async with relaying(outbox):
            late = [job for job in jobs if job not in jobs[::2][:old]]

            async def one(number: int, job: Job) -> None:
                for _ in range(number % 5):
                    await asyncio.sleep(0)
                await commit(world, job, outbox=outbox)
                if number in rereads:
                    outbox.reread()

            await asyncio.gather(*[one(number, job) for number, job in enumerate(late)])
            await eventually(lambda: _waiting(world, len(jobs)))
        assert sorted(await in_redis(world)) == sorted(job.id for job in jobs)

    @settings(max_examples=25, deadline=None, database=None)
    @given(
        old=st.integers(0, 30),
        new=st.integers(1, 60),
        page=st.integers(1, 9),
        rereads=st.lists(st.integers(0, 60), max_size=3),
    )
    def prop(old: int, new: int, page: int, rereads: list[int]) -> None:
        asyncio.run_coroutine_threadsafe(all_arrive(old, new, page, rereads), loop).result(30)

    size = outbox_module.PAGE
    try:
        await asyncio.to_thread(prop)
    finally:
        outbox_module.PAGE = size


async def test_after_quiet_rows_stay_in_sql_for_the_next_start(world: World) -> None:
    async with relaying(world.outbox):
        await eventually(lambda: not world.outbox._behind)
        world.outbox.quiet()
        job = a_job(world)
        await commit(world, job)
    assert await in_redis(world) == []
    async with relaying(world.another_outbox()):
        await eventually(lambda: _waiting(world, 1))
    assert await in_redis(world) == [job.id]


# --- the ends of jobs ---


async def test_the_rows_of_ended_jobs_go_also_while_it_is_quiet(world: World) -> None:
    jobs = [a_job(world) for _ in range(3)]
    async with relaying(world.outbox):
        await commit(world, *jobs)
        world.outbox.finished([(jobs[0].tenant, jobs[0].id)])
        await eventually(lambda: _rows(world, jobs[1:]))
        world.outbox.quiet()
        world.outbox.finished([(jobs[1].tenant, jobs[1].id), ("other", jobs[2].id)])
        await eventually(lambda: _rows(world, jobs[2:]))


async def _rows(world: World, jobs: list[Job]) -> bool:
    return await world.jobs(SEND) == jobs


# --- what Redis lost ---


async def test_a_flush_of_redis_is_noticed_and_repaired_within_a_look(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing new is committed that could stumble over the loss, and no row is old enough for the reconciler."""
    monkeypatch.setattr(outbox_module, "CHECK_EVERY", 0.02)
    looks = 0
    restored = []
    base = world.another_outbox()._lost_data

    async def look() -> bool:
        nonlocal looks
        lost = await base()
        looks += 1
        return lost

    async def restore(_at: int) -> None:
        restored.append(await _waiting(world, 0))

    jobs = [a_job(world) for _ in range(5)]
    async with relaying(world.another_outbox(lost_data=look, on_lost=restore)):
        await eventually(lambda: looks > 1)
        await world.outbox.add(jobs)  # committed by another daemon …
        await world.engine.broker.enqueue(jobs)  # … which relayed them too
        restored.clear()
        for _ in range(2):  # and it may be flushed again
            await world.engine.redis.flushall()
            await eventually(lambda: _waiting(world, 5))
    assert await in_redis(world) == [job.id for job in jobs]
    assert restored
    assert all(restored)  # the lanes' limits were there before the first job


async def test_a_reconcile_puts_back_settled_rows_that_redis_does_not_hold(world: World) -> None:
    kept, lost = a_job(world), a_job(world)
    await commit(world, kept, lost)
    world.clock.advance(30)
    young = a_job(world)
    await commit(world, young)
    await world.engine.broker.enqueue([kept])
    world.clock.advance(29)  # within two leases of the young one

    assert await world.outbox.reconcile() == 1

    assert await in_redis(world) == [kept.id, lost.id]
    assert await world.outbox.reconcile() == 0


async def test_a_reconcile_goes_through_all_pages(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "PAGE", 3)
    jobs = [a_job(world) for _ in range(10)]
    await commit(world, *jobs)
    world.clock.advance(61)
    assert await world.outbox.reconcile() == 10
    assert await in_redis(world) == [job.id for job in jobs]


async def test_a_reconcile_leaves_alone_what_runs_waits_and_is_delayed(world: World) -> None:
    running, waiting, delayed = a_job(world, priority=9), a_job(world), a_job(world, due_at=1 << 45)
    await commit(world, running, waiting, delayed)
    await world.engine.broker.enqueue([running, waiting, delayed])
    await world.engine.broker.claim(SEND, 1)
    world.clock.advance(61)
    assert await world.outbox.reconcile() == 0


@pytest.mark.parametrize("gone", ["r:5", "l:5:x", "e:5", "lv", "d", "ls:x", "r:5 l:5:x e:5 lv d a gone ls:x"])
async def test_a_reconcile_finds_the_jobs_of_a_key_that_somebody_deleted(world: World, gone: str) -> None:
    """In their order, in front of what came later, and each once."""
    before = [a_job(world, lane="x"), a_job(world), a_job(world, lane="x"), a_job(world), a_job(world, due_at=1 << 45)]
    since = [a_job(world, lane="x"), a_job(world)]
    await commit(world, *before, *since)
    await world.engine.broker.enqueue(before)
    await world.engine.redis.delete(*[key(SEND, name) for name in gone.split()])
    await world.engine.broker.enqueue(since)
    world.clock.advance(61)

    await world.outbox.reconcile()

    assert await world.outbox.reconcile() == 0
    left: list[Job] = []
    for _ in range(3):  # one job of a lane at a time
        left += await finish(world.engine.broker, Ending.DONE)
    assert [job.id for job in left if job.lane] == [before[0].id, before[2].id, since[0].id]
    assert [job.id for job in left if not job.lane] == [before[1].id, before[3].id, since[1].id]
    assert await world.engine.redis.zrange(key(SEND, "d"), 0, -1) == [before[4].id.encode()]
    assert await world.engine.broker.quarantine(SEND) == []


async def test_a_reconcile_frees_the_lane_of_a_claim_that_was_deleted(world: World) -> None:
    """Its end is refused, so nobody else would take it out of what the lane has in flight."""
    await world.engine.broker.limit_lane(SEND, "x", per_minute=None, burst=None, cap=1)
    first, second = a_job(world, lane="x"), a_job(world, lane="x")
    await commit(world, first, second)
    await world.engine.broker.enqueue([first, second])
    claim = await world.engine.broker.claim(SEND, 10)
    await world.engine.redis.delete(key(SEND, "a"))
    ended = [Finished(claimed, Ending.DONE) for claimed in claim.jobs]
    assert await world.engine.broker.finish(SEND, ended) == [False]
    world.clock.advance(61)

    assert await world.outbox.reconcile() == 1

    assert [job.id for job in await finish(world.engine.broker, Ending.DONE)] == [first.id]
    assert [job.id for job in await finish(world.engine.broker, Ending.DONE)] == [second.id]


async def test_a_reconcile_does_not_bring_back_what_has_just_ended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its row was read before it ended: here, or on another daemon, which has removed the row meanwhile."""
    here, elsewhere = a_job(world), a_job(world)
    await commit(world, here, elsewhere)
    world.clock.advance(61)
    locate = world.engine.broker.locate

    async def located(queue: str, ids: Sequence[str]) -> list[str]:
        world.outbox.finished([("default", here.id)])
        await world.writer.commit(world.outbox_rows.removed("default", elsewhere.id))
        return await locate(queue, ids)

    monkeypatch.setattr(world.engine.broker, "locate", located)

    assert await world.outbox.reconcile() == 0


async def test_a_job_in_redis_that_no_row_answers_for_is_quarantined_at_the_second_look(world: World) -> None:
    ours, stranger = a_job(world), a_job(world, payload=b"who are you")
    await commit(world, ours)
    await world.engine.broker.enqueue([ours, stranger])

    assert await world.outbox.strangers.expel() == 0  # it may have just ended, or be about to come
    assert await world.outbox.strangers.expel() == 1

    assert await in_redis(world) == [ours.id]
    (kept,) = await world.engine.broker.quarantine(SEND)
    assert kept.fields[0] == stranger.id.encode()
    assert kept.fields[1].endswith(b"\nwho are you")


async def test_a_reconcile_settles_what_died_unrecorded(world: World) -> None:
    """The process was killed after Redis knew of the death and before the row went."""
    dead: list[tuple[str, str]] = []

    async def on_dead(job: Job, reason: str, error: str) -> None:
        dead.append((job.id, reason))

    outbox = world.another_outbox(on_dead=on_dead)
    job = a_job(world)
    await commit(world, job)
    await world.engine.broker.enqueue([job])
    await finish(world.engine.broker, Ending.DEAD, reason="attempts")
    world.clock.advance(61)

    assert await outbox.reconcile() == 0
    await outbox.stop()

    assert dead == [(job.id, "reclaimed")]
    assert await world.jobs(SEND) == []
    assert await world.engine.broker.locate(SEND, [job.id]) == ["dead"]  # a person may still retry it
