"""An event as rules see it, and new events with what must be committed together with them."""

from typing import Any, NamedTuple

import orjson

from zapd.announce import iso
from zapd.ids import Ids
from zapd.jobs.job import Job
from zapd.model.hub import EventState, Progress
from zapd.model.webhook import Category, Event, Severity
from zapd.store.commands import Change
from zapd.store.event_states import EventStateStore
from zapd.store.events import EventStore

QUEUE = "event:process"
PROCESS, ACT, REPLAY, SYNC, SELFTEST = "event", "action", "replay", "sync", "selftest"  #: kinds of jobs of the hub


class NewEvent(NamedTuple):
    """An event that is not stored yet, and where it starts on its way."""

    event: Event
    state: EventState


class Envelopes:
    """Makes events that go through the routes."""

    def __init__(self, *, ids: Ids, events: EventStore, states: EventStateStore, priority: int) -> None:
        self._ids = ids
        self._events = events
        self._states = states
        self._priority = priority

    def made(
        self,
        *,
        tenant: str,
        type: str,
        data: Any,
        category: Category,
        at: int,
        id: str | None = None,
        source: str | None = None,
        occurred_at: int | None = None,
        due_at: int = 0,
        cause: EventState | None = None,
    ) -> NewEvent:
        """An event of `data` (JSON, or an orjson.Fragment of it). `cause` is the event whose route emits it."""
        event_id = id or self._ids.new("evt")
        happened = at if occurred_at is None else occurred_at
        envelope = {"id": event_id, "type": type, "timestamp": iso(happened), "connection_id": None, "data": data}
        event = Event(
            tenant=tenant,
            id=event_id,
            type=type,
            category=category,
            severity=Severity.INFO,
            connection_id=None,
            message_id=None,
            payload=orjson.dumps(envelope),
            created_at=at,
        )
        return NewEvent(event, state_of(event, at=at, source=source, occurred_at=happened, due_at=due_at, cause=cause))

    def changes(self, new: NewEvent) -> list[Change]:
        """Its rows, under an id that is ours."""
        return [self._events.recorded(new.event), self._states.added(new.state)]

    def job(self, state: EventState, *, due_at: int = 0) -> Job:
        """The job that takes an event through the routes."""
        return Job(
            id=self._ids.new("job"),
            queue=QUEUE,
            kind=PROCESS,
            payload=orjson.dumps({"event_id": state.event_id}),
            priority=self._priority,
            created_at=state.created_at,
            due_at=due_at or state.due_at,
            tenant=state.tenant,
        )


def state_of(
    event: Event,
    *,
    at: int,
    source: str | None = None,
    occurred_at: int | None = None,
    due_at: int = 0,
    cause: EventState | None = None,
) -> EventState:
    """Where a new event starts."""
    return EventState(
        tenant=event.tenant,
        event_id=event.id,
        progress=Progress.PENDING,
        type=event.type,
        source=source,
        cause=cause.event_id if cause else None,
        depth=cause.depth + 1 if cause else 0,
        run=1,
        due_at=due_at,
        created_at=at,
        occurred_at=at if occurred_at is None else occurred_at,
    )


def context_of(event: Event, state: EventState) -> dict[str, Any]:
    """What conditions, mappings and templates see."""
    envelope = orjson.loads(event.payload)
    return {
        "id": event.id,
        "type": event.type,
        "timestamp": envelope["timestamp"],
        "source": state.source,
        "connection_id": event.connection_id,
        "data": envelope["data"],
    }
