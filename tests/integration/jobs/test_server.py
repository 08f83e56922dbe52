"""What zapd says about the Redis server that it was given."""

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from zapd.jobs.client import connect
from zapd.jobs.metrics import JobMetrics
from zapd.jobs.server import RedisServer


@pytest.mark.parametrize(("policy", "said"), [("noeviction", 0), ("allkeys-lru", 1), ("volatile-ttl", 1)])
async def test_a_redis_that_may_evict_is_told_once(redis_url: str, policy: str, said: int) -> None:
    client = connect(redis_url, name="test")
    metrics = JobMetrics(registry=CollectorRegistry(), queues=[])
    server = RedisServer(redis=client, metrics=metrics, now_ms=lambda: 0)
    await client.config_set("maxmemory-policy", policy)
    try:
        with capture_logs() as logs:
            await server.look()
            await server.look()
    finally:
        await client.config_set("maxmemory-policy", "noeviction")
        await client.aclose()
    assert [line["policy"] for line in logs if line["event"] == "redis.may_evict"] == [policy] * said
    assert metrics.redis_memory > 0
