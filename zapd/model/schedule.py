"""Something that happens by the clock: when, and what."""

from dataclasses import dataclass

import orjson

from zapd.model.timetable import Misfire, Timetable, misfire_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Spec:
    """What somebody wants. Times in seconds; either `cron` or `every`; either `queue` or `emit`. `payload` is JSON."""

    cron: str = ""
    every: float = 0
    timezone: str = "UTC"
    jitter: float = 0
    misfire: str = "skip"
    queue: str = ""
    kind: str = ""
    lane: str = ""
    priority: int = 5
    emit: str = ""
    payload: bytes = b"{}"

    def timetable(self, anchor: int) -> Timetable:
        """When it fires."""
        return Timetable(
            cron=self.cron,
            every=round(self.every * 1000),
            timezone=self.timezone,
            anchor=anchor,
            jitter=round(self.jitter * 1000),
        )

    def missed(self) -> tuple[Misfire, int]:
        """What becomes of missed slots."""
        return misfire_of(self.misfire)

    def same_times(self, other: "Spec") -> bool:
        """Whether both have the same slots."""
        return (self.cron, self.every, self.timezone) == (other.cron, other.every, other.timezone)

    def dumped(self) -> bytes:
        """As it is stored, but for its payload."""
        return orjson.dumps({name: getattr(self, name) for name in self.__slots__ if name != "payload"})


def spec_of(stored: bytes, payload: bytes | None) -> Spec:
    """The other way round. Without a payload it is in `stored`: so it was kept at first."""
    fields = orjson.loads(stored)
    return Spec(**{**fields, "payload": orjson.dumps(fields["payload"]) if payload is None else payload})


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """A stored schedule. Times in ms since 1970 UTC. `last_slot`: every slot up to it has been dealt with.

    `source`: `api`, `config` (the operator's file), or `zapd` (its own). `last_made`: job or event of its last fire.
    """

    tenant: str
    id: str
    spec: Spec
    source: str
    paused: bool
    last_slot: int
    created_at: int
    updated_at: int
    fires: int = 0
    last_fired_at: int | None = None
    last_made: str | None = None

    @property
    def timetable(self) -> Timetable:
        """When it fires."""
        return self.spec.timetable(self.created_at)
