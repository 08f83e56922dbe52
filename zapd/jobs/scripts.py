"""Loads the Lua scripts and calls them by their digest."""

import hashlib
import time
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from zapd.errors import Unavailable
from zapd.jobs.client import Connections
from zapd.jobs.keys import PREFIX, key, of_all
from zapd.jobs.metrics import JobMetrics

log = structlog.get_logger("zapd.jobs")

_FLAGS = "-- flags: "
_SHEBANG_SINCE = 7  # a script with a shebang is a syntax error on 6.2; without one, 7 refuses nothing when it is full


class ScriptFailed(Unavailable):
    """Redis answers, but not with what was asked for: the trouble is with this queue's data, not with Redis."""


class Scripts:
    """The scripts of a queue, on one client. Every failure of Redis comes out as Unavailable.

    Nothing is repeated here: a call whose answer was lost may have taken effect, and the caller knows what that means.
    """

    def __init__(self, *, client: Redis, metrics: JobMetrics, prefix: str = PREFIX) -> None:
        self._client = client
        pool = client.connection_pool
        self._execute: Callable[..., Awaitable[Any]] = (
            pool.execute if isinstance(pool, Connections) else client.execute_command
        )
        self._metrics = metrics
        self._prefix = prefix
        self._limits = of_all(prefix)
        self._loaded: dict[str, tuple[str, str]] = {}  # name -> digest, source

    async def call(self, name: str, queue: str, *args: str | bytes | int | float, shared: bool = False) -> Any:
        """Run a script on a queue, and when it is `shared` on the limits over all queues too.

        Answers are what Redis sends: ints, bytes and lists.
        """
        started = time.perf_counter()
        jobs = key(queue, "jobs", self._prefix)
        keys = (2, jobs, self._limits) if shared else (1, jobs)
        try:
            digest, source = self._loaded.get(name) or await self._load(name)
            try:
                answer = await self._execute("EVALSHA", digest, *keys, *args)
            except NoScriptError:
                answer = await self._execute("EVAL", source, *keys, *args)
        except RedisError as error:
            raise self._unavailable(name, error) from error
        except OSError as error:
            raise self._unavailable(name, RedisConnectionError(str(error))) from error
        self._metrics.redis_answered(name, time.perf_counter() - started)
        return answer

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _unavailable(self, name: str, error: RedisError) -> Unavailable:
        message = f"Redis, {name}: {type(error).__name__}: {error}"
        if isinstance(error, RedisConnectionError | RedisTimeoutError):
            self._metrics.redis_failed()
            self._loaded.clear()  # it may come back as another version
            return Unavailable(message, told="Redis does not answer at the moment")
        log.error("redis.script_failed", script=name, error=str(error)[:300])
        return ScriptFailed(message, told=f"Redis could not do this ({name}); zapd's log says why")

    async def _load(self, name: str) -> tuple[str, str]:
        server = await self._client.info("server")
        source = script(name, shebang=int(str(server["redis_version"]).split(".", maxsplit=1)[0]) >= _SHEBANG_SINCE)
        loaded = (hashlib.sha1(source.encode()).hexdigest(), source)
        self._loaded[name] = loaded
        return loaded


def script(name: str, *, shebang: bool) -> str:
    """The source of one script: what all share, then its own. A first line `-- flags: …` gives its flags."""
    folder = files("zapd.jobs") / "scripts"
    shared, own = ((folder / f"{part}.lua").read_text() for part in ("queue", name))
    if not shebang:
        return f"{shared}\n{own}"
    first = own.partition("\n")[0]
    flags = f" flags={first.removeprefix(_FLAGS)}" if first.startswith(_FLAGS) else ""
    return f"#!lua{flags}\n{shared}\n{own}"
