"""What the Redis server tells of itself, for the gauges."""

from collections.abc import Callable

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from zapd.errors import Unavailable
from zapd.jobs.metrics import JobMetrics

log = structlog.get_logger("zapd.jobs")


class RedisServer:
    """Looks at the memory and the clock of Redis."""

    def __init__(self, *, redis: Redis, metrics: JobMetrics, now_ms: Callable[[], int]) -> None:
        self._redis = redis
        self._metrics = metrics
        self._now_ms = now_ms
        self._policy = ""

    async def look(self) -> None:
        """Bring the gauges up to date. Raises Unavailable.

        The clock matters because due times are ours and the scripts compare them with the time of Redis.
        """
        try:
            memory = await self._redis.info("memory")
            before = self._now_ms()
            seconds, micros = await self._redis.time()
            after = self._now_ms()
        except (RedisError, OSError) as error:
            raise Unavailable(f"Redis: {error}") from error
        self._look_at_policy(str(memory.get("maxmemory_policy", "noeviction")))
        self._metrics.redis_memory = int(memory["used_memory"])
        self._metrics.redis_skew = seconds + micros / 1e6 - (before + after) / 2000

    def _look_at_policy(self, policy: str) -> None:
        """Say it once when Redis may throw jobs away to make room. SQL would put them back, but late and twice."""
        if policy not in ("noeviction", self._policy):
            log.error("redis.may_evict", policy=policy, hint="set maxmemory-policy to noeviction")
        self._policy = policy
