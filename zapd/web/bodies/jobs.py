"""Jobs, and batches of them."""

from typing import Any

from pydantic import Field, model_validator

from zapd.enqueue import Policy
from zapd.web.bodies.body import MAX_ITEMS, ONE_LINE, Body, Id, Moment, Priority, Seconds


class JobSpec(Body):
    """What a job of an own queue is made of."""

    kind: str = Field(default="", max_length=64, pattern=ONE_LINE)
    payload: Any
    priority: Priority | None = None
    lane: str = Field(default="", max_length=200, pattern=ONE_LINE)


class JobItem(JobSpec):
    """One job for a queue of the operator's. Without `unique_…` the queue's own rules hold."""

    id: Id | None = None
    run_at: Moment | None = None
    unique_key: str | None = Field(default=None, min_length=1, max_length=200, pattern=ONE_LINE)
    unique_for: Seconds | None = Field(default=None, gt=0, description="seconds, or text such as `10m`")
    unique_policy: Policy | None = Field(default=None, strict=False)


class BatchStep(JobSpec):
    """A step of a chain. It has no id of the client's: that may be taken when its turn comes."""

    queue: str = Field(min_length=1, max_length=64)


class BatchJob(BatchStep):
    """A job of a batch."""

    id: Id | None = None


class BatchCallback(JobSpec):
    """What happens when all have ended: a job in `queue`, or a webhook to an endpoint, or both.

    The job's payload is `{"batch_id", "kind", "total", "succeeded", "failed", "data": payload}`.
    """

    payload: Any = None
    queue: str | None = Field(default=None, min_length=1, max_length=64)
    endpoint_id: str | None = Field(default=None, min_length=1, max_length=64)

    @model_validator(mode="after")
    def _one(self) -> "BatchCallback":
        if self.queue is None and self.endpoint_id is None:
            raise ValueError("give queue or endpoint_id")
        return self


class CreateBatch(Body):
    """Jobs that belong together: `jobs` side by side or `chain` one after the other."""

    id: Id | None = None
    jobs: list[BatchJob] | None = Field(default=None, min_length=1, max_length=MAX_ITEMS)
    chain: list[BatchStep] | None = Field(default=None, min_length=1, max_length=1000)
    callback: BatchCallback | None = None

    @model_validator(mode="after")
    def _one(self) -> "CreateBatch":
        if (self.jobs is None) == (self.chain is None):
            raise ValueError("give either jobs or chain")
        return self


class EnqueueJobs(Body):
    """Jobs to enqueue; each is checked by itself, so that one that is wrong does not keep out the others."""

    jobs: list[JobItem] = Field(min_length=1, max_length=MAX_ITEMS)


class ChangeJob(Body):
    """What to change of a job that waits."""

    priority: Priority
