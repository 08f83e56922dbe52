"""How fast one account may write, beyond its messages a minute: to one person, to new people, at which hours."""

from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

DAY = 86_400_000  #: milliseconds
GROWTH = 1.25  #: of the new contacts that are allowed, from one day of the warm-up to the next


@dataclass(frozen=True, kw_only=True, slots=True)
class QuietHours:
    """From `begin` to `end` (minutes of the day, in the zone) only answers leave."""

    begin: int
    end: int
    time_zone: str

    def ends_at(self, now: int) -> int | None:
        """When the quiet ends (ms) that holds at `now`; None: it is not quiet."""
        zone = _zone(self.time_zone)
        local = datetime.fromtimestamp(now / 1000, zone)
        minute = local.hour * 60 + local.minute
        if self.begin < self.end:
            quiet, days = self.begin <= minute < self.end, 0
        else:
            quiet, days = minute >= self.begin or minute < self.end, 1 if minute >= self.begin else 0
        if not quiet:
            return None
        day = local.date() + timedelta(days=days)
        end = datetime(day.year, day.month, day.day, self.end // 60, self.end % 60, tzinfo=zone)
        return round(end.astimezone(UTC).timestamp() * 1000)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """None: the default of the transport; 0: no limit."""

    recipient_per_minute: int | None = None
    recipient_burst: int | None = None
    new_contacts_per_day: int | None = None
    new_contacts_first_day: int | None = None  #: where the warm-up begins
    lookups_per_minute: int | None = None
    quiet_hours: QuietHours | None = None

    def over(self, defaults: "Limits") -> "Limits":
        """These, and the defaults where they say nothing."""
        if self is NO_LIMITS:  # the usual case, asked for at each message
            return defaults
        given = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) is not None}
        return replace(defaults, **given)

    def new_contacts(self, *, age: int) -> int | None:
        """How many new people an account may write to in 24 hours, `age` (ms) after it was made; None: any number."""
        most, first = self.new_contacts_per_day or 0, self.new_contacts_first_day or 0
        if not most:
            return None
        days = min(max(age, 0) // DAY, 100)
        return min(most, int(first * GROWTH**days)) if first else most

    def as_json(self) -> dict[str, Any]:
        """What is stored: only what was given."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def of_json(cls, stored: dict[str, Any]) -> "Limits":
        """What `as_json` gave."""
        quiet = stored.get("quiet_hours")
        return cls(**{**stored, "quiet_hours": QuietHours(**quiet) if quiet else None})


NO_LIMITS = Limits()


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
