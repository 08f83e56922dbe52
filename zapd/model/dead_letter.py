"""A job that was given up."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadLetter:
    """All that is needed to see why, and to run it again. Times in milliseconds since 1970 UTC."""

    tenant: str
    queue: str
    id: str
    kind: str
    lane: str
    priority: int
    payload: bytes
    reason: str
    error: str
    attempts: int
    crashes: int
    created_at: int
    died_at: int


@dataclass(frozen=True, kw_only=True, slots=True)
class DeadFilter:
    """Which dead letters; what is None does not matter. `since` ≤ died_at < `until`; `text` is in any text."""

    queue: str | None = None
    reason: str | None = None
    kind: str | None = None
    since: int | None = None
    until: int | None = None
    text: str | None = None
    ids: tuple[str, ...] | None = None
