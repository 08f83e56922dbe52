"""The handler of an own queue: what all actions have in common, around the one that does the work.

- A job whose row in SQL is gone was canceled or replaced while Redis still had it: it ends without being run. An
  action without an effect (`noop`) does not look.
- A job of a batch is counted, in SQL, before Redis hears that it ended: after a crash between the two it runs again,
  and the count, a compare-and-set, stays right.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

from zapd.actions.envelope import Opened, opened
from zapd.actions.listener import Result
from zapd.jobs.job import Done, Job, Outcome


class Action(Protocol):
    """One try of a job."""

    async def __call__(self, job: Job, opened: Opened, /) -> Outcome | Result: ...


class Members(Protocol):
    """What batches want to know of their jobs."""

    async def ended(self, job: Job, batch: str, *, error: str | None, result: bytes | None) -> None: ...


class Runner:
    """`live(tenant, job id)` says whether SQL still answers for the job; None: it need not be asked."""

    def __init__(self, *, action: Action, live: Callable[[str, str], Awaitable[bool]] | None, members: Members) -> None:
        self._action = action
        self._live = live
        self._members = members

    async def run(self, job: Job) -> Outcome:
        """One try. Raises what the action raises."""
        if self._live is not None and not await self._live(job.tenant, job.id):
            return Done()
        its = opened(job.payload)
        said = await self._action(job, its)
        if not isinstance(said, Result):
            return said
        if its.batch:
            await self._members.ended(job, its.batch, error=None, result=said.value)
        return Done()

    async def dead(self, job: Job, reason: str, error: str) -> None:
        """It is given up."""
        its = opened(job.payload)
        if its.batch:
            await self._members.ended(job, its.batch, error=error or reason, result=None)


async def noop(_job: Job, _opened: Opened) -> Outcome | Result:
    """The action of a queue that exists for measuring."""
    return Result()
