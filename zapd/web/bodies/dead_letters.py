"""Jobs that were given up."""

from typing import Any

from pydantic import Field

from zapd.web.bodies.body import MAX_ITEMS, Body, Moment


class RetryDead(Body):
    """Which dead letters to run again; without any field all of them. `rate`: at most so many per second."""

    queue: str | None = None
    reason: str | None = None
    kind: str | None = None
    since: Moment | None = None
    until: Moment | None = None
    text: str | None = Field(default=None, max_length=200)
    ids: list[str] | None = Field(default=None, max_length=MAX_ITEMS)
    limit: int = Field(default=MAX_ITEMS, ge=1, le=MAX_ITEMS)
    rate: float | None = Field(default=None, gt=0, le=100_000)


class EditDead(Body):
    """Another payload for the job."""

    payload: Any


class RetryOneDead(Body):
    """Run it again; with a payload: with that one."""

    payload: Any = None
