"""Source → Event → Mapping → Route → Action: what came in from other systems, and what is done about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from zapd.model.transitions import sources_of
from zapd.records import record


class DefinitionKind(StrEnum):
    """What an operator may define. All are kept the same way: by name, in versions."""

    SOURCE = "source"
    MAPPING = "mapping"
    ROUTE = "route"
    TARGET = "target"
    SYNC = "sync"


@dataclass(frozen=True, kw_only=True, slots=True)
class Definition:
    """One version of something that an operator defined. `given` is the JSON as it was given; the store seals it."""

    tenant: str
    kind: DefinitionKind
    name: str
    version: int
    given: bytes
    created_at: int
    updated_at: int
    active: int  #: the version in force
    from_file: bool = False  #: it stands in the configuration file: the API cannot change it


class Progress(StrEnum):
    """How far an event is on its way through the routes."""

    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"  #: no rule could be applied to it; a person decides


PROGRESS: Mapping[Progress, frozenset[Progress]] = {
    Progress.PENDING: frozenset({Progress.DONE, Progress.FAILED}),
    Progress.DONE: frozenset({Progress.PENDING}),  # replayed
    Progress.FAILED: frozenset({Progress.PENDING}),
}

#: From which an event may come to each one.
PROGRESS_SOURCES = sources_of(PROGRESS)


@record
class EventState:
    """An event's way through the routes. Times in milliseconds since 1970 UTC."""

    tenant: str
    event_id: str
    progress: Progress
    type: str
    source: str | None
    cause: str | None  #: the event whose route emitted this one
    depth: int  #: how many `emit` lie behind it
    run: int  #: counted up by each replay
    due_at: int
    created_at: int
    occurred_at: int
    processed_at: int | None = None
    error: str | None = None
    trace: bytes | None = None  #: JSON: each rule, matched or not, and why


@record
class Inbound:
    """The body of an inbound webhook as it came. `dedup` is unique per source."""

    tenant: str
    event_id: str
    source: str
    dedup: str
    raw: bytes
    content_type: str
    headers: str  #: JSON, without what is secret
    received_at: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Quarantined:
    """An inbound call that was refused. `sealed` holds what a later try needs; empty when the body was too large."""

    tenant: str
    id: str
    source: str
    check: str
    detail: str
    size: int
    sealed: bytes
    received_at: int


class ActionState(StrEnum):
    """Where an action is."""

    PENDING = "pending"
    RETRYING = "retrying"
    DONE = "done"
    DEAD = "dead"
    CANCELED = "canceled"


A = ActionState

TRANSITIONS: Mapping[ActionState, frozenset[ActionState]] = {
    A.PENDING: frozenset({A.RETRYING, A.DONE, A.DEAD, A.CANCELED}),
    A.RETRYING: frozenset({A.RETRYING, A.DONE, A.DEAD, A.CANCELED}),
    A.DEAD: frozenset({A.PENDING}),
    A.DONE: frozenset(),
    A.CANCELED: frozenset({A.PENDING}),
}

#: From which states an action may move to each one.
SOURCES = sources_of(TRANSITIONS)

OPEN = frozenset({A.PENDING, A.RETRYING})  #: it will still be tried


@record
class ActionRow:
    """One thing to do about an event. `payload` is JSON, rendered when the event was processed."""

    tenant: str
    id: str
    event_id: str
    event_type: str
    run: int
    route: str  #: the rule that asked for it, with its version; `listener` for a listener
    kind: str
    place: str  #: whom it goes to: a target, a queue, a listener …
    state: ActionState
    payload: bytes
    max_attempts: int
    backoff: int  #: milliseconds
    due_at: int
    created_at: int
    attempts: int = 0
    finished_at: int | None = None
    error: str | None = None
    result: str | None = None
    answer: bytes | None = None  #: the beginning of what a target said last
