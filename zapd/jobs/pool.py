"""Runs the jobs of one queue, at most so many at once, and turns what their handler says into the end of the claim."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import takewhile

import structlog

from zapd import failpoint
from zapd.backoff import Backoff
from zapd.errors import Unavailable
from zapd.jobs.broker import Broker, Claimed, Ending, Finished
from zapd.jobs.finish import FinishBuffer
from zapd.jobs.job import Discard, Done, Handler, Job, Outcome, Retry, Snooze, UnknownKind
from zapd.jobs.metrics import QueueNumbers
from zapd.jobs.settings import QueueSettings, RetryRule

log = structlog.get_logger("zapd.jobs")

CRASH_LIMIT = 3  #: a job whose worker died this often is dead, reason `poison`
_SUSPECT = CRASH_LIMIT - 1  # a job that saw so many workers die runs beside no other such job
AWAY_WAIT = 5.0  #: seconds until a job is tried again whose handler met no database or another resource that is away
_TWICE_WAIT = 0.5  # seconds between looks whether the first run of a job, or of another suspect, has ended
_UNKNOWN_WAIT = 30.0  # seconds until a job whose kind is not known here is looked at again, by whoever comes first
_UNTOLD_WAIT = 5.0  # seconds until a death is tried again that `on_dead` could not write down
GROW_EVERY = 0.1  #: seconds between two steps of the limit upwards
_SHRINK_AFTER = 10.0  # seconds of little use before a step down
_FORGET = 0.05  # the weight of the newest job in the average of what jobs take
_SMALL_POOL = 8  # slots that one claim may fill
_CANCEL_GRACE = 2.0  # seconds for handlers to end after they were canceled
_TIMEOUT, _DRAIN, _ENDED, _CANCELED = "timeout", "drain", "ended", "canceled"
_CANCEL = Discard("canceled")  # somebody took the job back while it ran; it is no dead letter
_OUTCOMES = frozenset((Done, Retry, Snooze, Discard))

#: Called before a job goes to the dead letters: SQL must know first. Raising keeps the job alive.
OnDead = Callable[[Job, str, str], Awaitable[None]]
#: Called with queue, id, number and error of a try that failed and will be repeated.
OnRetry = Callable[[str, str, int, str], None]
#: Called with (tenant, id) of jobs that are over: done, discarded or dead.
OnFinished = Callable[[Sequence[tuple[str, str]]], None]


class _Run:
    """A job that runs. `stopped`: why we canceled it, or that its handler ended and its timeout is over."""

    __slots__ = ("begun", "claimed", "deadline", "started", "stopped", "task")

    def __init__(self, claimed: Claimed, started: float, deadline: float) -> None:
        self.claimed = claimed
        self.started = started
        self.deadline = deadline
        self.stopped = ""
        self.begun = False  #: its handler is called: a task that is canceled before that would never end its run
        self.task: asyncio.Task[None] | None = None


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
    ) -> None:
        self.queue = queue
        self.on_slot: Callable[[], None] = _nothing  #: set by the dispatcher: a slot became free
        self.on_change: Callable[[], None] = _nothing  #: set by the dispatcher: more may be ready, or due soon
        self.tells_all = False  #: set by the dispatcher: `on_change` is for every end, whatever job it was
        self._handler = handler
        self._on_dead = on_dead
        self._on_finished = on_finished
        self._on_retry = on_retry
        self._now_ms = now_ms
        self._random = random
        self._numbers = numbers
        self._backoff = backoff_of(queue)
        self._limit = queue.concurrency
        self._resized_at = 0.0
        self._took = 0.0  # seconds of a job, on average of late
        self._running: dict[_Run, None] = {}  # in order of their deadline, because the timeout is the same for all
        self._timer: asyncio.TimerHandle | None = None
        self._buffer = FinishBuffer(queue=queue.name, broker=broker, on_answered=self._answered, random=random)
        self._show()

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def free(self) -> int:
        return min(self._limit + self._waiting(), self.queue.max_concurrency) - len(self._running)

    @property
    def grows_in(self) -> float:
        """Seconds after which a full pool may have more slots."""
        return GROW_EVERY if self.queue.waits_after is None else min(self.queue.waits_after, GROW_EVERY)

    @property
    def share(self) -> int:
        """How many to claim at once: half of the slots, so that those run while Redis looks for the others."""
        return max(_SMALL_POOL, (self._limit + 1) // 2)

    def held(self) -> list[str]:
        """Ids of the jobs that are ours: running, or their finish not answered yet."""
        return [*(run.claimed.job.id for run in self._running), *self._buffer.held()]

    def start(self, claims: Sequence[Claimed]) -> None:
        """Run claimed jobs, at most `free`. One that runs here already waits, with its lane, until that run has ended.

        That happens when Redis lost its data and SQL put the job back: the first run is no longer known there. Jobs
        that saw two workers die run one at a time: the third crash shows which it was, and takes no bystander.
        """
        if claims:
            failpoint.reached("job.claimed")
        loop = asyncio.get_running_loop()
        now = loop.time()
        deadline = now + self.queue.timeout
        running = {run.claimed.job.id for run in self._running}
        for claimed in claims:
            if claimed.job.id in running or (_is_suspect(claimed) and any(map(_runs_suspect, self._running))):
                ending = Ending.PARK if claimed.job.lane else Ending.SNOOZE
                self._buffer.add(Finished(claimed, ending, round(_TWICE_WAIT * 1000)))
                continue
            run = _Run(claimed, now, deadline)
            self._running[run] = None
            run.task = loop.create_task(self._work(run), name=claimed.job.id)
        if self._timer is None and self._running:
            self._timer = loop.call_at(deadline, self._stop_late)
        self._show()

    def cancel(self, job_id: str, fence: int | None = None) -> bool:
        """Stop a job that runs here; it ends as canceled, unless its handler ends first. False: it does not run here.

        With a fence only that very claim is stopped.
        """
        for run in self._running:
            job, its = run.claimed
            if job.id == job_id and not run.stopped and fence in (None, its):
                run.stopped = _CANCELED
                if run.task and run.begun:
                    run.task.cancel()
                return True
        return False

    def started(self, job_id: str) -> float | None:
        """For how many seconds the job runs here; None: it does not."""
        now = asyncio.get_running_loop().time()
        found = [run for run in self._running if run.claimed.job.id == job_id]
        return now - found[0].started if found else None

    def resize(self, *, ready: int) -> None:
        """Move the limit: doubled while `ready` jobs wait that would take too long, halved after a time of little use.

        Between two steps there is time to see what the last one did.
        """
        now = asyncio.get_running_loop().time()
        if ready and self._limit < self.queue.max_concurrency and self._clears_late(ready, now):
            if now - self._resized_at >= GROW_EVERY:
                self._limit, self._resized_at = min(self.queue.max_concurrency, self._limit * 2), now
        elif len(self._running) > self._limit // 2:
            self._resized_at = now
        elif self._limit > self.queue.concurrency and now - self._resized_at >= _SHRINK_AFTER:
            self._limit, self._resized_at = max(self.queue.concurrency, self._limit // 2), now
        self._show()

    def _clears_late(self, ready: int, now: float) -> bool:
        """Whether what is ready takes longer than the operator wants, as long as jobs took of late."""
        oldest = next(iter(self._running), None)
        took = max(self._took, now - oldest.started if oldest else 0.0)  # nothing may have ended yet
        return ready * took / self._limit > self.queue.clear_within

    def _waiting(self) -> int:
        """How many jobs wait for a stranger who takes his time; the others must not wait with them."""
        if self.queue.waits_after is None:
            return 0
        before = asyncio.get_running_loop().time() - self.queue.waits_after
        return sum(1 for _ in takewhile(lambda run: run.started < before, self._running))

    def configure(self, queue: QueueSettings) -> None:
        """New settings, for the jobs that start from now on."""
        self.queue = queue
        self._backoff = backoff_of(queue)
        self._limit = min(max(self._limit, queue.concurrency), queue.max_concurrency)
        self._show()

    async def drain(self, seconds: float) -> int:
        """Wait for what runs, at most so long; then cancel and hand back the rest. Returns how many were handed back.

        Claims must have stopped before. Handing back burns no attempt.
        """
        await self._wait_idle(seconds)
        left = list(self._running)
        for run in left:
            run.stopped = _DRAIN
            if run.task:
                run.task.cancel()
        await self._wait_idle(_CANCEL_GRACE)
        for run in list(self._running):  # a handler that does not stop: somebody else may start it, the fence holds
            self._end(run, Finished(run.claimed, Ending.HAND_BACK))
        if left:
            failpoint.reached("drain.handing_back")
        if self._timer:
            self._timer.cancel()
        await self._buffer.flush(_CANCEL_GRACE)
        return len(left)

    async def _wait_idle(self, seconds: float) -> None:
        tasks = [run.task for run in self._running if run.task]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    def _stop_late(self) -> None:
        """Cancel what is past its deadline, and come back for the next."""
        loop = asyncio.get_running_loop()
        self._timer = None
        for run in self._running:
            if run.deadline > loop.time():
                self._timer = loop.call_at(run.deadline, self._stop_late)
                return
            if not run.stopped and run.task:
                run.stopped = _TIMEOUT
                run.task.cancel()

    async def _work(self, run: _Run) -> None:
        loop = asyncio.get_running_loop()
        job = run.claimed.job
        self._numbers.wait.observe(max(0, self._now_ms() - max(job.created_at, job.due_at)) / 1000)
        if _is_suspect(run.claimed):
            await self._buffer.settle()  # the other suspects must be out of our hands before this one takes us down
        outcome = await self._perform(run)
        took = loop.time() - run.started
        self._numbers.run.observe(took)
        self._took += (took - self._took) * _FORGET
        run.stopped = run.stopped or _ENDED
        if type(outcome) is Done:
            result = Finished(run.claimed, Ending.DONE, took_ms=round(took * 1000))
        else:
            result = await self._ending(run.claimed, outcome)
        if run in self._running:  # else a drain that could not wait has handed it back
            self._end(run, result)

    async def _perform(self, run: _Run) -> Outcome | None:
        """What the handler says; None when a drain stopped it."""
        job = run.claimed.job
        if run.stopped == _CANCELED:
            return _CANCEL
        if given_up := self._given_up(job):
            return given_up
        run.begun = True
        try:
            outcome = await self._handler(job)
            if type(outcome) not in _OUTCOMES:
                raise TypeError(f"a handler returned {type(outcome).__name__}")
            return outcome
        except asyncio.CancelledError:
            return self._stopped(run)
        except Exception as error:  # whatever a handler does, its job has an end
            return _raised(job, error)

    def _given_up(self, job: Job) -> Discard | None:
        """Why it is not even started."""
        if job.crashes >= CRASH_LIMIT:
            return Discard("poison", f"its worker died {job.crashes} times")
        if job.attempt == 1 and self._past_deadline(job, 0):
            return Discard("expired", f"it did not start within {self.queue.deadline:g} s")
        return None

    def _stopped(self, run: _Run) -> Outcome | None:
        """What becomes of a job whose handler was canceled."""
        if run.stopped == _DRAIN:
            return None
        if run.stopped == _CANCELED:
            return _CANCEL
        if run.stopped == _TIMEOUT:
            return Retry(f"timeout after {self.queue.timeout:g} s", kind="timeout")
        return Retry("canceled", kind="canceled")

    async def _ending(self, claimed: Claimed, outcome: Outcome | None) -> Finished:
        job = claimed.job
        match outcome:
            case None:
                return Finished(claimed, Ending.HAND_BACK)
            case Done():
                return Finished(claimed, Ending.DONE)
            case Snooze(seconds, park_lane):
                ending = Ending.PARK if park_lane and job.lane else Ending.SNOOZE
                return Finished(claimed, ending, round(seconds * 1000))
            case Discard() if outcome is _CANCEL:
                return Finished(claimed, Ending.CANCELED)
            case Discard(reason, error):
                return await self._bury(claimed, reason, error)
            case Retry():
                return await self._again(claimed, outcome)

    async def _again(self, claimed: Claimed, failed: Retry) -> Finished:
        job, rule = claimed.job, self.queue.rule(failed.kind)
        if job.attempt >= (rule.attempts or self.queue.attempts):
            return await self._bury(claimed, "attempts", failed.error)
        delay = self._delay(job, failed.after, rule)
        if self._past_deadline(job, delay):
            return await self._bury(claimed, "expired", failed.error)
        self._on_retry(job.queue, job.id, job.attempt, failed.error)
        return Finished(claimed, Ending.RETRY, round(delay * 1000))

    def _delay(self, job: Job, after: float | None, rule: RetryRule) -> float:
        if after is not None:
            return Backoff(base=after, cap=after, jitter=self.queue.jitter).delay(1, random=self._random)
        if rule.backoff is None:
            return self._backoff.delay(job.attempt, random=self._random)
        own = Backoff(base=rule.backoff, factor=self.queue.backoff_factor, jitter=self.queue.jitter)
        return own.delay(job.attempt, random=self._random)

    def _past_deadline(self, job: Job, delay: float) -> bool:
        """Whether a try that starts after `delay` would start too late."""
        if self.queue.deadline is None:
            return False
        since = max(job.created_at, job.due_at)
        return self._now_ms() + delay * 1000 > since + self.queue.deadline * 1000

    async def _bury(self, claimed: Claimed, reason: str, error: str) -> Finished:
        job = claimed.job
        try:
            await self._on_dead(job, reason, error)
        except Exception:  # SQL is away: the job must not be dead in Redis only
            log.exception("job.death_untold", queue=job.queue, job=job.id)
            return Finished(claimed, Ending.SNOOZE, round(_UNTOLD_WAIT * 1000))
        log.warning("job.dead", queue=job.queue, job=job.id, attempt=job.attempt, reason=reason)
        return Finished(claimed, Ending.DEAD, reason=_line(reason), error=_line(error))

    def _end(self, run: _Run, result: Finished) -> None:
        del self._running[run]
        self._numbers.slots_used = len(self._running)
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
                log.warning("job.fenced", queue=job.queue, job=job.id)
                continue
            self._count(result)
            if ending is Ending.DONE or ending is Ending.DEAD or ending is Ending.CANCELED:
                over.append((job.tenant, job.id))
        if over:
            self._on_finished(over)
        if changed:
            self.on_change()

    def _count(self, result: Finished) -> None:
        outcomes = self._numbers.outcomes
        match result.ending:
            case Ending.DONE:
                outcomes["done"] += 1
            case Ending.RETRY:
                outcomes["retry"] += 1
            case Ending.CANCELED:
                outcomes["canceled"] += 1
            case Ending.SNOOZE | Ending.PARK:
                outcomes["snooze"] += 1
            case Ending.DEAD:
                outcomes["dead" if result.reason in _OWN_REASONS else "discard"] += 1
                self._numbers.died(result.reason)

    def _show(self) -> None:
        self._numbers.slots = max(self._limit, len(self._running))
        self._numbers.slots_used = len(self._running)


_OWN_REASONS = ("attempts", "poison")


def backoff_of(queue: QueueSettings) -> Backoff:
    """The waits between the tries of a queue."""
    return Backoff(base=queue.backoff, factor=queue.backoff_factor, jitter=queue.jitter)


def _is_suspect(claimed: Claimed) -> bool:
    return _SUSPECT <= claimed.job.crashes < CRASH_LIMIT


def _runs_suspect(run: _Run) -> bool:
    return _is_suspect(run.claimed)


def _raised(job: Job, error: Exception) -> Outcome:
    """What becomes of a job whose handler raised."""
    match error:
        case Unavailable():  # not the job's fault: no attempt is burnt, and its lane keeps its order
            log.warning("job.waiting", queue=job.queue, job=job.id, reason=str(error)[:200])
            return Snooze(AWAY_WAIT, park_lane=True)
        case UnknownKind():
            log.warning("job.unknown_kind", queue=job.queue, job=job.id, kind=job.kind)
            return Snooze(_UNKNOWN_WAIT, park_lane=True)
    log.warning("job.raised", queue=job.queue, job=job.id, attempt=job.attempt, error=type(error).__name__)
    return Retry(repr(error), kind=" ".join(cls.__name__ for cls in type(error).__mro__[:-2]))


def _nothing() -> None:
    pass


def _line(text: str) -> str:
    return " ".join(text.split())[:1000]
