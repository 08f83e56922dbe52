"""A claim: the jobs that are ours for now, and how each of them can end."""

from enum import StrEnum
from typing import NamedTuple

from zapd.jobs.job import Job


class Ending(StrEnum):
    """What becomes of a claimed job; the letters that `finish.lua` knows."""

    DONE = "d"
    RETRY = "r"
    SNOOZE = "s"
    PARK = "p"  #: snooze at the head of its lane, which waits as well
    DEAD = "x"
    HAND_BACK = "h"
    CANCELED = "c"


class Claimed(NamedTuple):
    """A job that is ours until we finish it. `fence` is the number of this claim; no other of this start has it."""

    job: Job
    fence: int


class Claim(NamedTuple):
    """`more`: something may be ready besides. Else `wait` is the seconds until something is due; None: nothing is."""

    jobs: list[Claimed]
    more: bool
    wait: float | None
    ready: int = 0  #: about how many more could be claimed now
    shut: bool = False  #: the rate over all queues let none go; no other queue's jobs can go before `wait` either
    held: bool = False  #: jobs wait for their tenant's limit over all queues
    capped: bool = False  #: and one just met its limit of jobs at once: any queue's finish may let it go on


class Finished(NamedTuple):
    """How a claim ends. `delay_ms` is for RETRY, SNOOZE and PARK; `reason` and `error` for DEAD; `took_ms` for DONE."""

    claimed: Claimed
    ending: Ending
    delay_ms: int = 0
    reason: str = ""
    error: str = ""
    took_ms: int = 0
    given_back: bool = False  #: of SNOOZE and PARK: the start does not count in its lane's rate
