"""A circuit breaker: after so many failures in a row nobody calls for a while; then one tries."""

from collections.abc import Callable


class Breaker:
    """For one target. `clock` is in seconds."""

    def __init__(self, *, failures: int, wait: float, clock: Callable[[], float]) -> None:
        self.failures = failures
        self.wait = wait
        self._clock = clock
        self._in_a_row = 0
        self._open_until = 0.0
        self._trying = False

    @property
    def open(self) -> bool:
        """Whether calls are held back."""
        return self._in_a_row >= self.failures

    def blocked(self) -> float:
        """0.0 when a call may be made now, else the seconds to wait. Who gets 0.0 must tell how it went."""
        if not self.open:
            return 0.0
        left = self._open_until - self._clock()
        if left > 0 or self._trying:
            return max(left, 1.0)
        self._trying = True  # the one that tries
        return 0.0

    def told(self, *, ok: bool) -> None:
        """A call ended. Only what is the target's fault counts as a failure."""
        self._trying = False
        self._in_a_row = 0 if ok else self._in_a_row + 1
        if self.open:
            self._open_until = self._clock() + self.wait

    def abandoned(self) -> None:
        """The call was not made, or says nothing about the target."""
        self._trying = False
