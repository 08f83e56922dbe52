"""How an endpoint is spared when it says "later", does not answer, or fails again and again.

The whole endpoint waits, not one delivery: its backlog stays where it is and burns no tries. When the time is over one
delivery goes, the oldest (the canary). If it is taken, the number at once doubles with each success up to the
endpoint's own; if not, the wait doubles.

This is memory of one daemon. The waiting itself is a parked lane in Redis, so it holds for all of them. SQL keeps what
a restart must know: until when an endpoint waits, how long its next wait is, and that its failures are many, so that a
backlog burns no tries again because zapd or Redis came back.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import structlog

from zapd.backoff import Backoff
from zapd.errors import Unavailable
from zapd.model.webhook import Endpoint
from zapd.store.commands import Change
from zapd.store.endpoint_waits import EndpointWait, EndpointWaitStore

log = structlog.get_logger("zapd.webhooks")

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
        self,
        *,
        set_cap: SetCap,
        rows: EndpointWaitStore,
        commit: Callable[[Sequence[Change]], Awaitable[None]],
        default_cap: int,
        now_ms: Callable[[], int],
        random: Callable[[], float],
    ) -> None:
        self._set_cap = set_cap
        self._rows = rows
        self._commit = commit
        self._default_cap = default_cap
        self._now_ms = now_ms
        self._random = random
        self._states: dict[str, _State] = {}

    @property
    def held(self) -> int:
        """How many endpoints wait now or send with fewer POSTs at once than they might."""
        return sum(state.cap is not None for state in self._states.values())

    async def restore(self, endpoints: Sequence[Endpoint]) -> None:
        """At start: go on with these, the enabled ones, where the last run ended. Raises Unavailable."""
        for endpoint in endpoints:
            if endpoint.failures:
                self._state(endpoint).failures = endpoint.failures
        known = {endpoint.id for endpoint in endpoints}
        for kept in await self._rows.all():
            if kept.endpoint_id not in known:  # off or gone; who enables it forgives it
                await self._keep(self._rows.gone(kept.tenant, kept.endpoint_id))
                continue
            failures = max(kept.failures, self._failures_of(kept.endpoint_id))
            # Redis may have its old limit still, or none: one POST at once until one was taken.
            self._states[kept.endpoint_id] = _State(kept.until, kept.waits, failures, cap=1)

    async def limits_lost(self, endpoints: Sequence[Endpoint]) -> None:
        """The queue lost its data: those that are spared get their narrow way again."""
        for endpoint in endpoints:
            if (cap := self.cap(endpoint)) is not None:
                await self._set_cap(endpoint, cap)

    def cap(self, endpoint: Endpoint) -> int | None:
        """POSTs at once to it now; None: its own number."""
        state = self._states.get(endpoint.id)
        return None if state is None else state.cap

    def wait(self, endpoint: Endpoint) -> float:
        """Seconds that the endpoint still waits; 0: it may be tried."""
        state = self._states.get(endpoint.id)
        return 0.0 if state is None else max(0, state.until - self._now_ms()) / 1000

    def silent(self, endpoint: Endpoint) -> bool:
        """Whether it did not answer the last POST that ended."""
        state = self._states.get(endpoint.id)
        return state is not None and state.waits > 0 and bool(state.suspects)

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
        if state.cap is None:
            await self._keep(self._rows.gone(endpoint.tenant, endpoint.id))
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
        await self._keep(self._rows.gone(endpoint.tenant, endpoint.id))  # another daemon may have put it there
        if self._states.pop(endpoint.id, None) is not None:
            await self._set_cap(endpoint, None)

    async def _hold(self, endpoint: Endpoint, state: _State, seconds: float) -> None:
        state.opened_at = self._now_ms()
        state.until = state.opened_at + round(seconds * 1000)
        kept = EndpointWait(endpoint.tenant, endpoint.id, state.until, state.waits, state.failures)
        await self._keep(self._rows.put(kept))
        if state.cap != 1:
            state.cap = 1
            await self._set_cap(endpoint, 1)

    async def _keep(self, change: Change) -> None:
        try:
            await self._commit([change])
        except Unavailable as error:  # the memory holds; only a restart now would not know of it
            log.warning("endpoint.wait_not_kept", reason=str(error))

    def _failures_of(self, endpoint_id: str) -> int:
        state = self._states.get(endpoint_id)
        return 0 if state is None else state.failures

    def _state(self, endpoint: Endpoint) -> _State:
        return self._states.setdefault(endpoint.id, _State())
