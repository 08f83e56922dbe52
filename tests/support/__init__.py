"""What the tests share: waiting on a condition, a clock that stands still, ids that repeat."""

import asyncio
import inspect
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, overload

from zapd.ids import Ids

T = TypeVar("T")


@overload
async def eventually(check: Callable[[], Coroutine[Any, Any, T]], within: float = ..., every: float = ...) -> T: ...
@overload
async def eventually(check: Callable[[], T], within: float = ..., every: float = ...) -> T: ...
async def eventually(check: Callable[[], Any], within: float = 5.0, every: float = 0.02) -> Any:
    """Wait until `check` gives something truthy, and return it. Fails after `within` seconds."""
    end = time.monotonic() + within
    while True:
        value = check()
        found = await value if inspect.isawaitable(value) else value
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {within} s: {inspect.getsource(check).strip()[:200]}")
        await asyncio.sleep(every)


class FakeClock:
    """A wall clock that moves only when told."""

    def __init__(self, now_ms: int = 1_750_000_000_000) -> None:
        self.value = now_ms

    def now_ms(self) -> int:
        return self.value

    def advance(self, seconds: float) -> None:
        self.value += round(seconds * 1000)


def make_ids(clock_ms: Callable[[], int] | None = None, seed: int = 1) -> Ids:
    """Ids from a seeded source: the same in every run."""
    source = random.Random(seed)
    return Ids(clock_ms=clock_ms or FakeClock().now_ms, random_bytes=source.randbytes)
