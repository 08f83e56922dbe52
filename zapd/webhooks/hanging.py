"""Receivers that do not answer, when they are many: how much of the queue they may hold together.

A POST without an answer is a socket and no work, so the queue lets others run beside it; but that has an end, too
(`jobs/slots.py`), and hundreds of such receivers would reach it, each with several POSTs. Two rules keep the rest free:
once many POSTs hang, an endpoint of which one hangs gets no other; and those that were silent the last time share a
part.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count

HANGS_AFTER = 0.5  #: seconds without an answer after which a POST hangs
_SILENT = 2  # times the slots of the queue: POSTs at once to endpoints that were silent the last time


class Hanging:
    """The POSTs under way of one daemon. `slots`: those of the queue. `clock`: seconds."""

    def __init__(self, *, slots: int, clock: Callable[[], float]) -> None:
        self._slots = slots
        self._clock = clock
        self._numbers = count()
        self._young: dict[int, tuple[str, float]] = {}  # number → endpoint and start, the oldest first
        self._old: dict[int, str] = {}
        self._of: Counter[str] = Counter()  # old ones of an endpoint
        self._silent = 0

    def shuts_out(self, endpoint_id: str, *, silent: bool) -> bool:
        """Whether a POST to it must wait, because too many hang. `silent`: it did not answer the last one."""
        if silent and self._silent >= self._slots * _SILENT:
            return True
        self._age()
        return len(self._old) >= self._slots and self._of[endpoint_id] > 0

    @contextmanager
    def under_way(self, endpoint_id: str, *, silent: bool) -> Iterator[None]:
        """Around a POST."""
        number = next(self._numbers)
        self._young[number] = (endpoint_id, self._clock())
        self._silent += silent
        try:
            yield
        finally:
            self._silent -= silent
            if self._young.pop(number, None) is None:
                del self._old[number]
                self._of[endpoint_id] -= 1
                if not self._of[endpoint_id]:
                    del self._of[endpoint_id]

    def _age(self) -> None:
        before = self._clock() - HANGS_AFTER
        while self._young:
            number = next(iter(self._young))
            endpoint_id, started = self._young[number]
            if started > before:
                return
            del self._young[number]
            self._old[number] = endpoint_id
            self._of[endpoint_id] += 1
