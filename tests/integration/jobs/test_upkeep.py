"""Heartbeats, reclaim, cleaning and the gauges, as the loops do them."""

import asyncio

from prometheus_client import CollectorRegistry, generate_latest

from tests.integration.jobs.engine import QUEUE, Engine
from tests.support import eventually
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
    service = upkeep(engine, engine.broker)
    await service.stop()
    await service.stop()


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
