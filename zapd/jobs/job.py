"""A job, and what a handler may say of it when it is done with it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from zapd.records import record

MAX_PRIORITY = 10  #: priorities go from 1 to this; the higher is the more urgent


@record
class Job:
    """An entry of a queue. `payload` is opaque to the engine. Times in milliseconds since 1970 UTC."""

    id: str
    queue: str
    payload: bytes
    priority: int
    created_at: int
    kind: str = ""
    lane: str = ""  #: the key whose jobs go one after another; empty: no lane
    due_at: int = 0  #: not before this time; 0: at once. After a wait, when that was over
    first_due_at: int = 0  #: when it was due before its first wait; 0: it had none yet
    tenant: str = "default"
    attempt: int = 1  #: which try this is, counted from 1
    crashes: int = 0  #: how often its worker died


@dataclass(frozen=True, slots=True)
class Done:
    """It worked."""


@dataclass(frozen=True, slots=True)
class Retry:
    """It failed and burns an attempt. `after` seconds at least, else the queue's own backoff.

    `kind` is the class of the error, for the queue's retry policy: `timeout`, `connect`, an exception's name …
    """

    error: str
    after: float | None = None
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Snooze:
    """Not now, and nobody's fault: no attempt is burnt.

    With `park_lane` the whole lane waits and the job goes back to its head, so that order is kept; without, only
    this job waits. `given_back`: it did nothing of what the lane's rate is for, so its start does not count there.
    """

    seconds: float
    park_lane: bool = False
    given_back: bool = False


@dataclass(frozen=True, slots=True)
class Discard:
    """It can never work: straight to the dead letters."""

    reason: str
    error: str = ""


CANCELED = Discard("canceled")  #: somebody took the job back while it ran; it is no dead letter


class UnknownKind(Exception):
    """Raised by a handler that has never heard of the job's kind; a newer release beside this one may have.

    The job is parked, its lane with it: no attempt is burnt, and it is looked at again.
    """


Outcome = Done | Retry | Snooze | Discard
Handler = Callable[[Job], Awaitable[Outcome]]
