"""One job from its start to what its handler says, also when the handler raises, hangs or is stopped."""

import asyncio
from enum import Enum, auto

import structlog

from zapd.errors import Unavailable
from zapd.jobs.claim import Claimed
from zapd.jobs.job import CANCELED, Discard, Done, Handler, Job, Outcome, Retry, Snooze, UnknownKind

log = structlog.get_logger("zapd.jobs")

AWAY_WAIT = 5.0  #: seconds until a job is tried again whose handler met no database or another resource that is away
_UNKNOWN_WAIT = 30.0  # seconds until a job whose kind is not known here is looked at again, by whoever comes first
_OUTCOMES = frozenset((Done, Retry, Snooze, Discard))


class Stop(Enum):
    """Why a handler is not to be canceled (any more)."""

    TIMEOUT = auto()
    DRAIN = auto()
    CANCELED = auto()  #: somebody took the job back while it ran
    ENDED = auto()  #: by itself; its timeout is over


class Run:
    """A job that runs here. Times as the loop's clock."""

    __slots__ = ("begun", "claimed", "deadline", "started", "stopped", "task")

    def __init__(self, claimed: Claimed, started: float, deadline: float) -> None:
        self.claimed = claimed
        self.started = started
        self.deadline = deadline
        self.stopped: Stop | None = None
        self.begun = False  #: its handler is called
        self.task: asyncio.Task[None] | None = None

    def stop(self, why: Stop) -> None:
        """Cancel the handler. One that is not called yet is not called at all: the task itself must reach its end."""
        self.stopped = why
        if self.begun and self.task:
            self.task.cancel()

    async def perform(self, handler: Handler) -> Outcome | None:
        """What the handler says; None: it has not had its chance, so somebody else may start the job."""
        if self.stopped:
            return CANCELED if self.stopped is Stop.CANCELED else None
        self.begun = True
        job = self.claimed.job
        try:
            outcome = await handler(job)
            if type(outcome) not in _OUTCOMES:
                raise TypeError(f"a handler returned {type(outcome).__name__}")
            return outcome
        except asyncio.CancelledError:
            return self._canceled()
        except Exception as error:  # whatever a handler does, its job has an end
            return _raised(job, error)

    def _canceled(self) -> Outcome | None:
        match self.stopped:
            case Stop.DRAIN:
                return None
            case Stop.CANCELED:
                return CANCELED
            case Stop.TIMEOUT:
                return Retry(f"timeout after {self.deadline - self.started:g} s", kind="timeout")
        return Retry("canceled", kind="canceled")  # by itself


def _raised(job: Job, error: Exception) -> Outcome:
    match error:
        case Unavailable():  # not the job's fault: no attempt is burnt, and its lane keeps its order
            log.warning("job.waiting", queue=job.queue, job_id=job.id, reason=str(error)[:200])
            return Snooze(AWAY_WAIT, park_lane=True)
        case UnknownKind():
            log.warning("job.unknown_kind", queue=job.queue, job_id=job.id, kind=job.kind)
            return Snooze(_UNKNOWN_WAIT, park_lane=True)
    log.warning("job.raised", queue=job.queue, job_id=job.id, attempt=job.attempt, error=type(error).__name__)
    return Retry(repr(error), kind=" ".join(cls.__name__ for cls in type(error).__mro__[:-2]))
