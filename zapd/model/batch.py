"""Jobs that belong together, and the states of each.

batch   open → ended
member  blocked → pending → succeeded | failed;  blocked → skipped, when a step before it failed
"""

from dataclasses import dataclass
from enum import StrEnum


class BatchKind(StrEnum):
    """`batch`: side by side; `chain`: each after the one before it succeeded, and with its result."""

    BATCH = "batch"
    CHAIN = "chain"


class BatchState(StrEnum):
    """Whether all its jobs have ended."""

    OPEN = "open"
    ENDED = "ended"


class MemberState(StrEnum):
    """Where a job of a batch is."""

    BLOCKED = "blocked"
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Times in milliseconds since 1970 UTC. `callback` is JSON: what happens when all have ended."""

    tenant: str
    id: str
    kind: BatchKind
    state: BatchState
    total: int
    succeeded: int
    failed: int
    callback: bytes | None
    callback_job: str | None
    created_at: int
    ended_at: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A job of a batch. `spec` is JSON: what the job of a blocked step is made of."""

    tenant: str
    batch_id: str
    job_id: str
    position: int
    queue: str
    state: MemberState
    spec: bytes | None = None
    result: bytes | None = None
    error: str | None = None
    ended_at: int | None = None
