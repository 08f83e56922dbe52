"""Says that something happened: a row of the event log and, for whoever asked, a delivery with its job.

The envelope is encoded once, here; the bytes are stored, signed and sent as they are.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson

from zapd.ids import Ids
from zapd.jobs.job import Job
from zapd.model.message import Message
from zapd.model.webhook import Category, Event, Severity
from zapd.records import record
from zapd.store.commands import Change
from zapd.store.events import EventStore

#: Event types that receivers may get. The others are rows of the log only.
PUBLIC = frozenset(
    {
        "message.received",
        "message.media",
        "message.sent",
        "message.delivered",
        "message.read",
        "message.played",
        "message.failed",
        "message.held",
        "message.expired",
        "message.canceled",
        "connection.state",
        "connection.alert",
        "connection.qr",
        "connection.restricted",
        "contact.opted_out",
        "contact.opted_in",
        "template.state",
        "endpoint.failing",
        "endpoint.disabled",
        "delivery.exhausted",
        "batch.completed",
        "event.failed",
        "action.failed",
        "sync.failed",
        "replay.finished",
        "selftest.failed",
    }
)


@record
class Announcement:
    """What must be committed together with the change that it announces. `event_id` of several is the first one's."""

    changes: Sequence[Change]
    jobs: Sequence[Job]
    event_id: str = ""


def together(*announcements: Announcement) -> Announcement:
    """Several announcements as one, in order."""
    return Announcement(
        changes=[change for a in announcements for change in a.changes],
        jobs=[job for a in announcements for job in a.jobs],
        event_id=announcements[0].event_id if announcements else "",
    )


class Announcer:
    """Makes events. `fan_out` gives the deliveries of an event and their jobs."""

    def __init__(
        self,
        *,
        events: EventStore,
        fan_out: Callable[[Event, Sequence[str]], tuple[Sequence[Change], Sequence[Job]]],
        ids: Ids,
    ) -> None:
        self._events = events
        self._fan_out = fan_out
        self._ids = ids

    def announce(
        self,
        event_type: str,
        *,
        tenant: str,
        at: int,
        data: Mapping[str, Any],
        connection_id: str | None = None,
        message_id: str | None = None,
        category: Category = Category.STATE,
        severity: Severity = Severity.INFO,
        also: Sequence[str] = (),
    ) -> Announcement:
        """An event of `event_type` at `at` (ms). Nothing is written until its changes are committed.

        `also` are endpoints that get it, whatever types they asked for.
        """
        event_id = self._ids.new("evt")
        envelope = {
            "id": event_id,
            "type": event_type,
            "timestamp": iso(at),
            "connection_id": connection_id,
            "data": data,
        }
        event = Event(
            tenant=tenant,
            id=event_id,
            type=event_type,
            category=category,
            severity=severity,
            connection_id=connection_id,
            message_id=message_id,
            payload=orjson.dumps(envelope),
            created_at=at,
        )
        changes, jobs = self._fan_out(event, also) if event_type in PUBLIC else ((), ())
        return Announcement(changes=[self._events.recorded(event), *changes], jobs=jobs, event_id=event_id)

    def of_message(
        self,
        event_type: str,
        message: Message,
        *,
        at: int,
        data: Mapping[str, Any] | None = None,
        severity: Severity = Severity.INFO,
    ) -> Announcement:
        """An event of a message that we send. `data` adds to its id and recipient."""
        return self.announce(
            event_type,
            tenant=message.tenant,
            at=at,
            data={"message_id": message.id, "to": message.peer, **(data or {})},
            connection_id=message.connection_id,
            message_id=message.id,
            severity=severity,
        )


def iso(ms: int) -> str:
    """Milliseconds since 1970 as ISO 8601 in UTC, with milliseconds and `Z`."""
    seconds, rest = divmod(ms, 1000)
    return f"{_to_the_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=1024)
def _to_the_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").removesuffix("+00:00")
