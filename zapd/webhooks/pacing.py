"""How an endpoint is spared when it says "later", does not answer, or fails again and again.

The whole endpoint waits, not one delivery: its backlog stays where it is and burns no tries. When the time is over one
delivery goes, the oldest (the canary). If it is taken, the number at once doubles with each success up to the
endpoint's own; if not, the wait doubles.

This is memory of one daemon. The waiting itself is a parked lane in Redis, so it holds for all of them; what a restart
forgets is only how long the next wait would have been.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from zapd.backoff import Backoff
from zapd.model.webhook import Endpoint

BREAK_AFTER = 10  #: failures in a row, whatever they are, after which the endpoint waits
MAX_SUSPECTS = 10_000  #: deliveries remembered because they timed out
#: Waits after the n-th "later" or timeout in a row, and after the breaker opened for the n-th time.
LATER = Backoff(base=1.0, factor=2.0, cap=3600.0)
BREAK = Backoff(base=10.0, factor=2.0, cap=600.0)

#: (endpoint, POSTs at once over all daemons; None: its own number again)
SetCap = Callable[[Endpoint, int | None], Awaitable[None]]


@dataclass(slots=True)
class _State:
    """How one endpoint does. Times in milliseconds."""

    until: int = 0  # it waits
    waits: int = 0  # in a row, without a success between
    failures: int = 0  # in a row
    cap: int | None = None  # POSTs at once; None: its own number
    opened_at: int = 0
    taken: int = 0  # POSTs that were taken, ever
    suspects: dict[str, int] = field(default_factory=dict)  # delivery that timed out → `taken` at that time


class Pacing:
    """The endpoints that are spared at the moment. `default_cap`: POSTs at once to an endpoint that names no number."""

    def __init__(
        self, *, set_cap: SetCap, default_cap: int, now_ms: Callable[[], int], random: Callable[[], float]
    ) -> None:
        self._set_cap = set_cap
        self._default_cap = default_cap
        self._now_ms = now_ms
        self._random = random
        self._states: dict[str, _State] = {}

    @property
    def held(self) -> int:
        """How many endpoints wait now or send with fewer POSTs at once than they might."""
        return sum(state.cap is not None for state in self._states.values())

    def wait(self, endpoint: Endpoint) -> float:
        """Seconds that the endpoint still waits; 0: it may be tried."""
        state = self._states.get(endpoint.id)
        return 0.0 if state is None else max(0, state.until - self._now_ms()) / 1000

    async def took(self, endpoint: Endpoint, delivery_id: str) -> None:
        """It took a POST: twice as many at once, until they are as many as it may have."""
        state = self._states.get(endpoint.id)
        if state is None:
            return
        state.taken += 1
        state.failures = state.waits = state.until = 0
        state.suspects.pop(delivery_id, None)
        if state.cap is None:
            if not state.suspects:
                del self._states[endpoint.id]
            return
        wider = state.cap * 2
        state.cap = wider if wider < (endpoint.options.concurrency or self._default_cap) else None
        await self._set_cap(endpoint, state.cap)

    async def later(self, endpoint: Endpoint, hint: float | None, *, started: int) -> float:
        """It asked to be left alone, or did not answer in time. Returns for how many seconds it is."""
        state = self._state(endpoint)
        if state.opened_at >= started and state.until > self._now_ms():  # one of several that were under way
            return max(hint or 0.0, self.wait(endpoint))
        state.waits += 1
        seconds = max(hint or 0.0, LATER.delay(state.waits, random=self._random))
        await self._hold(endpoint, state, seconds)
        return seconds

    async def failed(self, endpoint: Endpoint, hint: float | None, *, started: int) -> None:
        """A POST failed: from a certain number in a row on the endpoint waits, or when the receiver named a time."""
        state = self._state(endpoint)
        state.failures += 1
        open_now = state.opened_at >= started and state.until > self._now_ms()
        seconds = hint or 0.0
        if state.failures >= BREAK_AFTER and not open_now:
            state.waits += 1
            seconds = max(seconds, BREAK.delay(state.waits, random=self._random))
        if seconds > self.wait(endpoint):
            await self._hold(endpoint, state, seconds)

    def poisonous(self, endpoint: Endpoint, delivery_id: str) -> bool:
        """Whether it is this delivery that the receiver does not answer: others were taken since it timed out last."""
        state = self._state(endpoint)
        before = state.suspects.get(delivery_id)
        if len(state.suspects) >= MAX_SUSPECTS:
            del state.suspects[next(iter(state.suspects))]
        state.suspects[delivery_id] = state.taken
        return before is not None and state.taken > before

    async def forget(self, endpoint: Endpoint) -> None:
        """It was changed or enabled: what was known of it does not hold any more."""
        if self._states.pop(endpoint.id, None) is not None:
            await self._set_cap(endpoint, None)

    async def _hold(self, endpoint: Endpoint, state: _State, seconds: float) -> None:
        state.opened_at = self._now_ms()
        state.until = state.opened_at + round(seconds * 1000)
        if state.cap != 1:
            state.cap = 1
            await self._set_cap(endpoint, 1)

    def _state(self, endpoint: Endpoint) -> _State:
        return self._states.setdefault(endpoint.id, _State())
