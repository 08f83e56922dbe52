"""Prefixed, time-sortable ids: `msg_01J9Z3K5T8…` (ULID: 48 bits of milliseconds, 80 bits of randomness).

Ids made by one `Ids` rise strictly, also within one millisecond and when the wall clock steps back, because the
outbox and the history order by id.
"""

from collections.abc import Callable

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford base 32, as the ULID specification
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
_RANDOM_BITS = 80


class Ids:
    """Makes ids from a millisecond clock and a source of random bytes."""

    def __init__(self, *, clock_ms: Callable[[], int], random_bytes: Callable[[int], bytes]) -> None:
        self._clock_ms = clock_ms
        self._random_bytes = random_bytes
        self._last = 0

    def new(self, prefix: str) -> str:
        """The next id with this prefix (without the underscore)."""
        return f"{prefix}_{self.ulid()}"

    def ulid(self) -> str:
        """26 characters that sort by time of making."""
        floor = self._clock_ms() << _RANDOM_BITS
        if floor > self._last:
            # The top random bit stays 0 so that counting up cannot reach the next millisecond.
            self._last = floor | (int.from_bytes(self._random_bytes(10), "big") >> 1)
        else:
            self._last += 1
        number = self._last
        return "".join([_PAIRS[(number >> shift) & 1023] for shift in range(120, -1, -10)])


def is_ours(text: str, prefix: str) -> bool:
    """Whether it looks like an id that `Ids` made with this prefix."""
    head, _, tail = text.partition("_")
    return head == prefix and len(tail) == 26 and set(tail) <= set(_ALPHABET)
