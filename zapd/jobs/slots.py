"""How many jobs of one queue run at once here: between the two numbers of the operator, as the backlog needs.

A job that waits for a stranger for very long (`hangs_after`) is a socket and no work: it counts no more, or a few dozen
receivers that stopped answering would hold all slots until their timeout, and the healthy ones would wait for them.
"""

import asyncio

from zapd.jobs.metrics import QueueNumbers
from zapd.jobs.run import Run
from zapd.jobs.settings import QueueSettings

GROW_EVERY = 0.1  #: seconds between two steps of the limit upwards
_SHRINK_AFTER = 10.0  # seconds of little use before a step down
_FORGET = 0.05  # the weight of the newest job in the average of what jobs take
_MOST_HANGING = 4  # times the slots of the operator: jobs that hang and do not count
_SMALL_POOL = 8  # slots that one claim may fill


class Slots:
    """The runs of one queue, in order of their deadline, and the limit of how many there may be."""

    def __init__(self, *, queue: QueueSettings, numbers: QueueNumbers) -> None:
        self._queue = queue
        self._numbers = numbers
        self._limit = queue.concurrency
        self._resized_at = 0.0
        self._took = 0.0  # seconds of a job, on average of late
        self.runs: dict[Run, None] = {}
        self.show()

    @property
    def free(self) -> int:
        if self._queue.waits_after is None and self._queue.hangs_after is None:  # asked for each queue at each claim
            return self._limit - len(self.runs)
        hanging = self._hanging()
        waiting = max(self._older(self._queue.waits_after), hanging)
        return min(self._limit + waiting, self._queue.max_concurrency + hanging) - len(self.runs)

    @property
    def busy(self) -> int:
        """The runs that count for the limit over all pools."""
        return len(self.runs) - self._hanging()

    @property
    def grows_in(self) -> float:
        """Seconds after which a full pool may have more slots."""
        return GROW_EVERY if self._queue.waits_after is None else min(self._queue.waits_after, GROW_EVERY)

    @property
    def share(self) -> int:
        """How many to claim at once: half of the slots, so that those run while Redis looks for the others."""
        return max(_SMALL_POOL, (self._limit + 1) // 2)

    def take(self, run: Run) -> None:
        """Call `show` after the last."""
        self.runs[run] = None

    def ran(self, seconds: float) -> None:
        """A handler took so long."""
        self._took += (seconds - self._took) * _FORGET

    def leave(self, run: Run) -> None:
        """The slot is free."""
        del self.runs[run]
        self._numbers.slots_used = len(self.runs)

    def configure(self, queue: QueueSettings) -> None:
        self._queue = queue
        self._limit = min(max(self._limit, queue.concurrency), queue.max_concurrency)
        self.show()

    def resize(self, *, ready: int) -> None:
        """Move the limit: doubled while `ready` jobs wait that would take too long, halved after a time of little use.

        Between two steps there is time to see what the last one did.
        """
        now = asyncio.get_running_loop().time()
        if ready and self._limit < self._queue.max_concurrency and self._clears_late(ready, now):
            if now - self._resized_at >= GROW_EVERY:
                self._limit, self._resized_at = min(self._queue.max_concurrency, self._limit * 2), now
        elif len(self.runs) > self._limit // 2:
            self._resized_at = now
        elif self._limit > self._queue.concurrency and now - self._resized_at >= _SHRINK_AFTER:
            self._limit, self._resized_at = max(self._queue.concurrency, self._limit // 2), now
        self.show()

    def show(self) -> None:
        """Into the metrics."""
        self._numbers.slots = max(self._limit, len(self.runs))
        self._numbers.slots_used = len(self.runs)

    def _clears_late(self, ready: int, now: float) -> bool:
        """Whether what is ready takes longer than the operator wants, as long as jobs took of late."""
        oldest = next(iter(self.runs), None)
        took = max(self._took, now - oldest.started if oldest else 0.0)  # nothing may have ended yet
        return ready * took / self._limit > self._queue.clear_within

    def _hanging(self) -> int:
        if self._queue.hangs_after is None:
            return 0
        return min(self._older(self._queue.hangs_after), self._queue.max_concurrency * _MOST_HANGING)

    def _older(self, age: float | None) -> int:
        """How many jobs run for longer: they wait for a stranger who takes his time."""
        if age is None:
            return 0
        before, older = asyncio.get_running_loop().time() - age, 0
        for run in self.runs:
            if run.started >= before:
                break
            older += 1
        return older
