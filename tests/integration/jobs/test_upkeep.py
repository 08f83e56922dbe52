"""Heartbeats, reclaim, cleaning and the gauges, as the loops do them."""

import asyncio
import time

from prometheus_client import CollectorRegistry, generate_latest

from tests.integration.jobs.engine import QUEUE, Engine, done, settings
from tests.support import eventually
from tests.support.redis_server import RedisServer
from zapd.jobs.broker import Broker
from zapd.jobs.keys import key
from zapd.jobs.metrics import JobMetrics
from zapd.jobs.upkeep import Upkeep


def upkeep(engine: Engine, broker: Broker, ttl: float = 0.2) -> Upkeep:
    return Upkeep(
        broker=broker,
        metrics=engine.metrics,
        random=lambda: 0.0,
        beat_every=0.05,
        sweep_every=0.05,
        clean_every=0.05,
        heartbeat_ttl=ttl,
    )


async def test_jobs_of_a_dead_daemon_come_back_and_a_live_ones_stay(engine: Engine) -> None:
    dead, live = engine.another("dead"), engine.another("live")
    await engine.broker.enqueue([engine.job("lost"), engine.job("kept")])
    await dead.claim(QUEUE, 1)
    await live.claim(QUEUE, 1)
    await engine.kill(dead)
    service = upkeep(engine, engine.broker)
    task = asyncio.create_task(service.run(), name="upkeep")

    async def reclaimed() -> int:
        return (await engine.broker.stats(QUEUE)).waiting

    assert await eventually(reclaimed) == 1

    assert (await engine.broker.stats(QUEUE)).active_jobs == ["kept"]
    assert engine.metrics.queues[QUEUE].reclaimed == 1
    await service.stop()
    await asyncio.gather(task, return_exceptions=True)
    assert await engine.redis.zscore(key(QUEUE, "hb"), engine.broker.consumer) is None


async def test_after_an_outage_others_get_time_to_come_back(engine: Engine) -> None:
    other = engine.another("other")
    await engine.broker.enqueue([engine.job()])
    await other.claim(QUEUE, 1)
    await engine.kill(other)  # as after an outage longer than a TTL, though it lives
    service = upkeep(engine, engine.broker, ttl=30)
    task = asyncio.create_task(service.run(), name="upkeep")

    async def looked() -> bool:
        return engine.metrics.queues[QUEUE].jobs["active"] == 1

    await eventually(looked)
    await other.heartbeat(QUEUE)

    assert (await engine.broker.stats(QUEUE)).active == 1
    await service.stop()
    await asyncio.gather(task, return_exceptions=True)


async def test_stop_before_start_and_twice_is_safe(engine: Engine) -> None:
    await engine.broker.heartbeat(QUEUE)
    service = upkeep(engine, engine.broker)
    await service.stop()
    await service.stop()
    # It never ran, so it has nothing to take back, and asks no Redis that may be away.
    assert await engine.redis.zscore(key(QUEUE, "hb"), engine.broker.consumer) is not None


async def test_every_number_is_there_from_the_start(engine: Engine) -> None:
    registry = CollectorRegistry()
    JobMetrics(registry=registry, queues=["one", "two"])

    lines = generate_latest(registry).decode().splitlines()

    assert 'zapd_jobs_finished_total{outcome="snooze",queue="two"} 0.0' in lines
    assert 'zapd_queue_jobs{queue="one",state="staged"} 0.0' in lines
    assert 'zapd_job_wait_seconds_bucket{le="0.01",queue="one"} 0.0' in lines
    assert 'zapd_job_deaths_total{reason="poison"} 0.0' in lines
    assert 'zapd_redis_command_duration_seconds_count{command="claim"} 0.0' in lines
    assert "zapd_redis_up 0.0" in lines


async def test_a_jump_of_redis_clock_ahead_takes_nobody_for_dead(engine: Engine) -> None:
    other = engine.another("other")
    for broker in (engine.broker, other):
        await broker.heartbeat(QUEUE)
    await engine.broker.enqueue([engine.job()])
    await other.claim(QUEUE, 1)
    # An hour later by its clock: all that is past is an hour further past.
    await engine.kill(other)
    await engine.redis.set(key(QUEUE, "seen"), int(time.time() * 1000) - 3_600_000)

    assert await engine.broker.reclaim(QUEUE, others=True) == 0
    await engine.broker.heartbeat(QUEUE)
    assert await engine.broker.reclaim(QUEUE, others=True) == 0

    await engine.redis.delete(key(QUEUE, "doubt"))  # whoever lives had the time of one lease to say so
    assert await engine.broker.reclaim(QUEUE, others=True) == 1


async def test_a_jump_of_redis_clock_back_stalls_no_lane_and_hides_no_death(server: RedisServer) -> None:
    engine = Engine(server.url, settings(lane_rate_per_minute=60_000.0, lane_cap=2))
    other = engine.another("other", heartbeat_ttl=0.2)
    await engine.broker.enqueue([engine.job(lane=lane) for lane in ("rests", "rests", "runs", "runs", "runs", "held")])
    claimed = (await engine.broker.claim(QUEUE, 3)).jobs
    assert sorted(claim.job.lane for claim in claimed) == ["held", "rests", "runs"]
    await engine.broker.finish(QUEUE, done([claim for claim in claimed if claim.job.lane == "rests"]))
    await other.heartbeat(QUEUE)
    await engine.broker.heartbeat(QUEUE)
    # An hour earlier by its clock: all times that are kept are an hour ahead.
    hour = 3_600_000
    for name in ("e:5", "hb"):
        for member, score in await engine.redis.zrange(key(QUEUE, name), 0, -1, withscores=True):
            await engine.redis.zadd(key(QUEUE, name), {member: score + hour})
    for lane in ("rests", "runs"):
        fields = {"t": time.time() * 1000 + hour, "n": time.time() * 1000 + hour, "k": 0, "w": 0}
        await engine.redis.hset(key(QUEUE, f"ls:{lane}"), mapping=fields)
    await engine.redis.incrby(key(QUEUE, "seen"), hour)
    assert (await engine.broker.claim(QUEUE, 9)).jobs == []

    await engine.broker.heartbeat(QUEUE)

    async def all_lanes() -> bool:
        if found := (await engine.broker.claim(QUEUE, 9)).jobs:
            await engine.broker.finish(QUEUE, done(found))
        return (await engine.broker.stats(QUEUE)).staged == 0

    await eventually(all_lanes, within=20)
    assert max(score for _, score in await engine.redis.zrange(key(QUEUE, "hb"), 0, -1, withscores=True)) < (
        time.time() * 1000 + 60_000
    )
    await engine.broker.finish(QUEUE, done([claim for claim in claimed if claim.job.lane != "rests"]))
    await engine.close()
