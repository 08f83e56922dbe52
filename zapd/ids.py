"""Prefixed, time-sortable ids: `msg_01J9Z3K5T8…` (ULID: 48 bits of milliseconds, 80 bits of randomness).

Ids made by one `Ids` rise strictly, also within one millisecond and when the wall clock steps back, because the
outbox and the history order by id.
"""

from collections.abc import Callable

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford base 32, as the ULID specification
_PAIRS = [a + b for a in _ALPHABET for b in _ALPHABET]
_RANDOM_BYTES = 10
_COUNTED = 40  # bits of the randomness that count up within a millisecond


class Ids:
    """Makes ids from a millisecond clock and a source of random bytes."""

    def __init__(self, *, clock_ms: Callable[[], int], random_bytes: Callable[[int], bytes]) -> None:
        self._clock_ms = clock_ms
        self._random_bytes = random_bytes
        self._at = 0
        self._head = ""  # what all ids of one millisecond begin with
        self._count = 0

    def new(self, prefix: str) -> str:
        """The next id with this prefix (without the underscore)."""
        return f"{prefix}_{self.ulid()}"

    def ulid(self) -> str:
        """26 characters that sort by time of making."""
        now = self._clock_ms()
        if now > self._at:
            self._begin(now)
        else:
            self._count += 1
        n = self._count
        return f"{self._head}{_PAIRS[n >> 30]}{_PAIRS[n >> 20 & 1023]}{_PAIRS[n >> 10 & 1023]}{_PAIRS[n & 1023]}"

    def _begin(self, now: int) -> None:
        self._at = now
        drawn = int.from_bytes(self._random_bytes(_RANDOM_BYTES), "big")
        head = now << _COUNTED | drawn >> _COUNTED
        self._head = "".join([_PAIRS[(head >> shift) & 1023] for shift in range(80, -1, -10)])
        # The top bit stays 0 so that counting up cannot reach the head.
        self._count = (drawn & ((1 << _COUNTED) - 1)) >> 1


def place_of(item_id: str, prefix: str) -> str:
    """The cursor that stands for an id in a list of `prefix`. An id that a user chose is marked.

    Without the mark nobody could tell a place in the list from a typing mistake, which would answer an empty page.
    """
    return item_id if is_ours(item_id, prefix) else "~" + item_id


def place_pattern(prefix: str) -> str:
    """What `place_of` makes."""
    return rf"^({prefix}_[{_ALPHABET}]{{26}}|~[!-~]{{1,200}})$"


def id_at(place: str) -> str:
    """The id that a cursor stands for."""
    return place.removeprefix("~")


def is_ours(text: str, prefix: str) -> bool:
    """Whether it looks like an id that `Ids` made with this prefix."""
    head, _, tail = text.partition("_")
    return head == prefix and len(tail) == 26 and set(tail) <= set(_ALPHABET)
