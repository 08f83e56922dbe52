"""What the Redis server tells of itself, for the gauges and for `zapd doctor`."""

from collections.abc import Callable
from dataclasses import dataclass

import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from zapd.errors import Unavailable
from zapd.jobs.client import connect
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


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What must be right about a server. Sizes in bytes; `limit` 0: none."""

    version: str
    time: float
    policy: str
    used: int
    limit: int
    aof: bool
    aof_broken: bool


async def facts_of(url: str) -> Facts:
    """Ask the server there. Raises Unavailable."""
    redis: Redis = connect(url, name="zapd:doctor", connections=1)
    try:
        seconds, micros = await redis.time()
        found = {**await redis.info("server"), **await redis.info("memory"), **await redis.info("persistence")}
    except (RedisError, OSError) as error:
        raise Unavailable(str(error)) from error
    finally:
        await redis.aclose()
    return Facts(
        version=str(found.get("valkey_version") or found["redis_version"]),
        time=seconds + micros / 1e6,
        policy=str(found.get("maxmemory_policy", "noeviction")),
        used=int(found["used_memory"]),
        limit=int(found.get("maxmemory", 0)),
        aof=bool(int(found.get("aof_enabled", 0))),
        aof_broken=found.get("aof_last_write_status", "ok") != "ok",
    )
