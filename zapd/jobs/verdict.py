"""What becomes of a job: whether it starts at all, and what its handler's word means for the claim."""

from collections.abc import Awaitable, Callable

import structlog

from zapd.backoff import Backoff
from zapd.jobs.claim import Claimed, Ending, Finished
from zapd.jobs.job import CANCELED, Discard, Done, Job, Outcome, Retry, Snooze
from zapd.jobs.settings import QueueSettings, RetryRule

log = structlog.get_logger("zapd.jobs")

CRASH_LIMIT = 3  #: a job whose worker died this often is dead, reason `poison`
_UNTOLD_WAIT = 5.0  # seconds until a death is tried again that `on_dead` could not write down

#: Called before a job goes to the dead letters: SQL must know first. Raising keeps the job alive.
OnDead = Callable[[Job, str, str], Awaitable[None]]
#: Called with queue, id, number and error of a try that failed and will be repeated.
OnRetry = Callable[[str, str, int, str], None]


def is_suspect(claimed: Claimed) -> bool:
    """Whether one more crash makes it poison: it runs beside no other such job."""
    return claimed.job.crashes == CRASH_LIMIT - 1


class Verdicts:
    """The rules of one queue. `configure` sets them, also anew."""

    def __init__(
        self,
        *,
        queue: QueueSettings,
        on_dead: OnDead,
        on_retry: OnRetry,
        now_ms: Callable[[], int],
        random: Callable[[], float],
    ) -> None:
        self._on_dead = on_dead
        self._on_retry = on_retry
        self._now_ms = now_ms
        self._random = random
        self.configure(queue)

    def configure(self, queue: QueueSettings) -> None:
        """New settings, for what ends from now on."""
        self._queue = queue
        self._backoff = Backoff(base=queue.backoff, factor=queue.backoff_factor, jitter=queue.jitter)

    def refuses(self, job: Job) -> Discard | None:
        """Why it is not even started."""
        if job.crashes >= CRASH_LIMIT:
            return Discard("poison", f"its worker died {job.crashes} times")
        if self._past_deadline(job, 0):
            return Discard("expired", f"it did not start within {self._queue.deadline:g} s")
        return None

    async def on(self, claimed: Claimed, outcome: Outcome | None) -> Finished:
        """How the claim ends. No outcome: its handler was not called, or a drain did not let it end."""
        match outcome:
            case Done():
                return Finished(claimed, Ending.DONE)
            case None:
                return Finished(claimed, Ending.HAND_BACK)
            case Snooze(seconds, park_lane, given_back):
                ending = Ending.PARK if park_lane and claimed.job.lane else Ending.SNOOZE
                return Finished(claimed, ending, round(seconds * 1000), given_back=given_back)
            case Discard() if outcome is CANCELED:
                return Finished(claimed, Ending.CANCELED)
            case Discard(reason, error):
                return await self._bury(claimed, reason, error)
            case Retry():
                return await self._again(claimed, outcome)

    async def _again(self, claimed: Claimed, failed: Retry) -> Finished:
        job, rule = claimed.job, self._queue.rule(failed.kind)
        if job.attempt >= (rule.attempts or self._queue.attempts):
            return await self._bury(claimed, "attempts", failed.error)
        delay = self._delay(job, failed.after, rule)
        if self._past_deadline(job, delay):
            return await self._bury(claimed, "expired", failed.error)
        self._on_retry(job.queue, job.id, job.attempt, failed.error)
        return Finished(claimed, Ending.RETRY, round(delay * 1000))

    def _delay(self, job: Job, after: float | None, rule: RetryRule) -> float:
        if after is not None:
            return Backoff(base=after, cap=after, jitter=self._queue.jitter).delay(1, random=self._random)
        if rule.backoff is None:
            return self._backoff.delay(job.attempt, random=self._random)
        own = Backoff(base=rule.backoff, factor=self._queue.backoff_factor, jitter=self._queue.jitter)
        return own.delay(job.attempt, random=self._random)

    def _past_deadline(self, job: Job, delay: float) -> bool:
        """Whether a try that starts after `delay` would start too late."""
        if self._queue.deadline is None:
            return False
        since = job.first_due_at or max(job.created_at, job.due_at)
        return self._now_ms() + delay * 1000 > since + self._queue.deadline * 1000

    async def _bury(self, claimed: Claimed, reason: str, error: str) -> Finished:
        job = claimed.job
        try:
            await self._on_dead(job, reason, error)
        except Exception:  # SQL is away: the job must not be dead in Redis only
            log.exception("job.death_untold", queue=job.queue, job_id=job.id)
            return Finished(claimed, Ending.SNOOZE, round(_UNTOLD_WAIT * 1000))
        log.warning("job.dead", queue=job.queue, job_id=job.id, attempt=job.attempt, reason=reason)
        return Finished(claimed, Ending.DEAD, reason=_line(reason), error=_line(error))


def _line(text: str) -> str:
    return " ".join(text.split())[:1000]
