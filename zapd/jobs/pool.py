"""Runs the jobs of one queue, at most so many at once, from the claim until Redis has taken their end.

`slots.py` says how many, `run.py` what one job's handler said, `verdict.py` what that means, `finish.py` tells Redis.
"""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from zapd import failpoint
from zapd.errors import Unavailable
from zapd.jobs.broker import Broker
from zapd.jobs.claim import Claimed, Ending, Finished
from zapd.jobs.finish import FinishBuffer
from zapd.jobs.job import Done, Handler
from zapd.jobs.metrics import QueueNumbers
from zapd.jobs.run import Run, Stop
from zapd.jobs.settings import QueueSettings
from zapd.jobs.slots import Slots
from zapd.jobs.suspects import Suspects
from zapd.jobs.verdict import OnDead, OnRetry, Verdicts, is_suspect

log = structlog.get_logger("zapd.jobs")

_TWICE_WAIT = 0.5  # seconds between looks whether the first run of a job, or of another suspect, has ended
_CANCEL_GRACE = 2.0  # seconds for handlers to end after they were canceled

#: Called with (tenant, id) of jobs that are over: done, discarded or dead.
OnFinished = Callable[[Sequence[tuple[str, str]]], None]


class Pool:
    """The handlers of one queue. A slot is free as soon as its handler ends, before Redis knows of that."""

    def __init__(
        self,
        *,
        queue: QueueSettings,
        broker: Broker,
        handler: Handler,
        on_dead: OnDead,
        on_finished: OnFinished,
        now_ms: Callable[[], int],
        random: Callable[[], float],
        numbers: QueueNumbers,
        on_retry: OnRetry = lambda _queue, _job, _attempt, _error: None,
        suspects: Suspects | None = None,
    ) -> None:
        self.queue = queue
        self.slots = Slots(queue=queue, numbers=numbers)
        self.on_slot: Callable[[], None] = _nothing  #: set by the dispatcher: a slot became free
        self.on_change: Callable[[], None] = _nothing  #: set by the dispatcher: more may be ready, or due soon
        self.tells_all = False  #: set by the dispatcher: `on_change` is for every end, whatever job it was
        self._handler = handler
        self._broker = broker
        self._on_finished = on_finished
        self._now_ms = now_ms
        self._numbers = numbers
        self._verdicts = Verdicts(queue=queue, on_dead=on_dead, on_retry=on_retry, now_ms=now_ms, random=random)
        self._timer: asyncio.TimerHandle | None = None
        self._buffer = FinishBuffer(queue=queue.name, broker=broker, on_answered=self._answered, random=random)
        self._suspects = suspects or Suspects()  # shared by all pools of a daemon
        self._suspects.join(self._buffer.settle, lambda: self.slots.runs)

    @property
    def running(self) -> int:
        return len(self.slots.runs)

    def held(self) -> list[str]:
        """Ids of the jobs that are ours: running, or their finish not answered yet."""
        return [*(run.claimed.job.id for run in self.slots.runs), *self._buffer.held()]

    def start(self, claims: Sequence[Claimed]) -> None:
        """Run claimed jobs, at most as many as slots are free. Two kinds wait a little, each with its lane.

        One that runs here already, until that run has ended: Redis lost its data, where that run is no longer known,
        and SQL put the job back. And one that saw two workers die while another such runs: see `suspects.py`.
        """
        if claims:
            failpoint.reached("job.claimed")
        loop = asyncio.get_running_loop()
        now = loop.time()
        deadline = now + self.queue.timeout
        running = {run.claimed.job.id for run in self.slots.runs}
        for claimed in claims:
            run = Run(claimed, now, deadline)
            if claimed.job.id in running or (is_suspect(claimed) and not self._suspects.admit(run)):
                ending = Ending.PARK if claimed.job.lane else Ending.SNOOZE
                self._buffer.add(Finished(claimed, ending, round(_TWICE_WAIT * 1000)))
                continue
            self.slots.take(run)
            run.task = loop.create_task(self._work(run, loop), name=claimed.job.id)
        if self._timer is None and self.slots.runs:
            self._timer = loop.call_at(deadline, self._stop_late)
        self.slots.show()

    def cancel(self, job_id: str, fence: int | None = None) -> bool:
        """Stop a job that runs here; it ends as canceled, unless its handler ends first. False: it does not run here.

        With a fence only that very claim is stopped.
        """
        for run in self.slots.runs:
            job, its = run.claimed
            if job.id == job_id and not run.stopped and fence in (None, its):
                run.stop(Stop.CANCELED)
                return True
        return False

    def started(self, job_id: str) -> float | None:
        """For how many seconds the job runs here; None: it does not."""
        now = asyncio.get_running_loop().time()
        found = [run for run in self.slots.runs if run.claimed.job.id == job_id]
        return now - found[0].started if found else None

    def configure(self, queue: QueueSettings) -> None:
        """New settings, for the jobs that start from now on."""
        self.queue = queue
        self._verdicts.configure(queue)
        self.slots.configure(queue)

    async def drain(self, seconds: float) -> int:
        """Wait for what runs, at most so long; then cancel and hand back the rest. Returns how many were handed back.

        Claims must have stopped before. Handing back burns no attempt.
        """
        await self._wait_idle(seconds)
        left = list(self.slots.runs)
        for run in left:
            run.stop(Stop.DRAIN)
        await self._wait_idle(_CANCEL_GRACE)
        for run in list(self.slots.runs):  # a handler that does not stop: somebody else may start it, the fence holds
            self._end(run, Finished(run.claimed, Ending.HAND_BACK))
        if left:
            failpoint.reached("drain.handing_back")
        if self._timer:
            self._timer.cancel()
        await self._buffer.flush(_CANCEL_GRACE)
        return len(left)

    async def _wait_idle(self, seconds: float) -> None:
        tasks = [run.task for run in self.slots.runs if run.task]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    def _stop_late(self) -> None:
        """Cancel what is past its deadline, and come back for the next."""
        loop = asyncio.get_running_loop()
        self._timer = None
        for run in self.slots.runs:
            if run.deadline > loop.time():
                self._timer = loop.call_at(run.deadline, self._stop_late)
                return
            if not run.stopped:
                run.stop(Stop.TIMEOUT)

    async def _work(self, run: Run, loop: asyncio.AbstractEventLoop) -> None:
        claimed = run.claimed
        job = claimed.job
        self._numbers.wait.observe(max(0, self._now_ms() - max(job.created_at, job.due_at)) / 1000)
        if is_suspect(claimed):
            await self._alone(run)
        elif self._suspects.shut:
            await self._suspects.opened(run)
        refused = None if run.stopped else self._verdicts.refuses(job)
        outcome = refused or await run.perform(self._handler)
        took = loop.time() - run.started
        self._numbers.run.observe(took)
        self.slots.ran(took)
        run.stopped = run.stopped or Stop.ENDED
        if type(outcome) is Done:
            result = Finished(claimed, Ending.DONE, took_ms=round(took * 1000))
        else:
            result = await self._verdicts.on(claimed, outcome)
        if run in self.slots.runs:  # else a drain that could not wait has handed it back
            self._end(run, result)

    async def _alone(self, run: Run) -> None:
        """Until the suspect begins, no crash is its own."""
        for begun in (False, True):
            try:
                await self._broker.spare(self.queue.name, run.claimed, begun=begun)
            except Unavailable as error:  # then it is tried once more than it need be
                log.warning("job.not_spared", queue=self.queue.name, job_id=run.claimed.job.id, error=str(error)[:200])
            if not begun:
                await self._suspects.alone(run)

    def _end(self, run: Run, result: Finished) -> None:
        self._suspects.leave(run)
        self.slots.leave(run)
        self._buffer.add(result)
        self.on_slot()

    def _answered(self, results: Sequence[Finished], taken: Sequence[bool]) -> None:
        over = []
        changed = self.tells_all
        for result, ours in zip(results, taken, strict=True):
            job, ending = result.claimed.job, result.ending
            changed = changed or ending is not Ending.DONE or job.lane != ""
            if not ours:
                self._numbers.fenced += 1
                log.warning("job.fenced", queue=job.queue, job_id=job.id)
                continue
            self._numbers.ended(ending, result.reason)
            if ending is Ending.DONE or ending is Ending.DEAD or ending is Ending.CANCELED:
                over.append((job.tenant, job.id))
        if over:
            self._on_finished(over)
        if changed:
            self.on_change()


def _nothing() -> None:
    pass
