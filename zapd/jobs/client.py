"""Connections to Redis, set up so that nothing is ever sent twice behind our back."""

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff


def connect(url: str, *, name: str, connections: int = 16, timeout: float = 3.0) -> Redis:
    """A client. `name` shows in CLIENT LIST; `timeout` (seconds) is for connecting and for each answer.

    Retries are off: redis-py would send a timed-out command again, and one XADD would give two entries. Callers
    repeat what is idempotent themselves. A caller waits when all connections are busy.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=timeout,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        health_check_interval=15,
        client_name=name,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        protocol=2,
    )
    return Redis.from_pool(pool)  # closing the client closes the pool
