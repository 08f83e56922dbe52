"""What many viewers ask for at the same moment is made once."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Mapping
from typing import Any

Regions = Mapping[str, str]


class Turns:
    """Remembers what was made for `keep` seconds. `clock` in seconds."""

    def __init__(self, *, clock: Callable[[], float], keep: float) -> None:
        self._clock = clock
        self._keep = keep
        self._made: dict[Hashable, tuple[float, asyncio.Task[Regions]]] = {}

    async def once(self, what: Hashable, make: Callable[[], Coroutine[Any, Any, Regions]]) -> Regions:
        """What `make` returned, or raised, for the first who asked."""
        now = self._clock()
        self._made = {key: made for key, made in self._made.items() if now - made[0] < self._keep}
        if what not in self._made:
            self._made[what] = (now, asyncio.create_task(make(), name="dashboard:render"))
        return await asyncio.shield(self._made[what][1])  # one viewer who leaves takes nothing from the others
