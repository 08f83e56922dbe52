"""Notices that Redis lost data: it restarted, failed over, was flushed or restored. SQL then puts the jobs back."""

from redis.asyncio import Redis
from redis.exceptions import RedisError

from zapd.errors import Unavailable


class Epoch:
    """A mark in Redis that goes when its data goes, and the server's run id."""

    def __init__(self, *, redis: Redis, prefix: str, mark: str) -> None:
        self._redis = redis
        self._key = f"{prefix}:epoch"
        self._mark = mark  #: random, of this start
        self._made = 0  # marks that this start made: each is another, else a flush would go unseen by its maker
        self._seen: tuple[object, str] | None = None

    async def lost(self) -> bool:
        """Whether jobs may be gone since the last call; the first call only looks. Raises Unavailable."""
        try:
            self._made += bool(await self._redis.set(self._key, f"{self._mark}:{self._made}", nx=True))
            mark = await self._redis.get(self._key)
            server = await self._redis.info("server")
        except (RedisError, OSError) as error:
            raise Unavailable(f"Redis: {error}") from error
        now: tuple[object, str] = (mark, str(server["run_id"]))
        before, self._seen = self._seen, now
        return before is not None and before != now
