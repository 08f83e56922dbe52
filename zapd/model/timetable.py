"""When a schedule fires: a cron line in a time zone, or a fixed interval. Pure.

Around a change of the clocks, as Debian's cron does it: a slot in the hour that is left out fires when that hour is
over, one in the hour that comes twice fires once; lines with `*` in hour or minute follow real time.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

MAX_MISSED = 1000  #: slots that `all(n)` may catch up with
_ALL = re.compile(r"all\((\d{1,4})\)")
_NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_MINUTE = timedelta(minutes=1)
_MINUTE_MS, _DAY = 60_000, 86_400_000
_CHANGE = 3 * 3_600_000  # ms that are more than any change of the clocks


class Misfire(StrEnum):
    """What becomes of slots that came while nobody could fire them."""

    SKIP = "skip"
    ONCE = "once"  #: one fire for all of them
    ALL = "all"  #: one for each, of the newest n


@dataclass(frozen=True, kw_only=True, slots=True)
class Timetable:
    """Either `cron` or `every` (ms). `anchor` (ms) is where the intervals begin; `jitter` in ms."""

    cron: str = ""
    every: int = 0
    timezone: str = "UTC"
    anchor: int = 0
    jitter: int = 0

    def after(self, ms: int) -> int:
        """The first slot (ms) after a time (ms)."""
        if self.every:
            return self.anchor + ((ms - self.anchor) // self.every + 1) * self.every
        # In an hour that comes twice the first that is found may be that of its first time, which is over.
        found = next(slot for moment in _sim(self.cron, self._moment(ms)) if (slot := _ms(moment)) > ms)
        return next(self._passed_over(ms, found), found)

    def _passed_over(self, after: int, until: int) -> Iterator[int]:
        """Slots between that the library jumps over: it goes by whole hours, and some clocks change by half of one."""
        sim = _sim(self.cron, self._moment(after))
        if sim.fixup_tz is not None or self.timezone == "UTC":  # fixed hours: see above
            return
        for day in range(after, until, _DAY):
            if self._moment(day).utcoffset() == self._moment(day + _DAY).utcoffset():
                continue
            for slot in range(day - day % _MINUTE_MS + _MINUTE_MS, min(day + _DAY, until), _MINUTE_MS):
                at = self._moment(slot)
                if at.minute in sim.minutes and at.hour in sim.hours and at.month in sim.months and sim.match_day(at):
                    yield slot

    def between(self, after: int, until: int, most: int) -> list[int]:
        """The newest `most` slots in (after, until], in order."""
        found: list[int] = []
        for slot in self._back_from(until):
            if slot <= after or len(found) == most:
                break
            found.append(slot)
        return found[::-1]

    def _back_from(self, until: int) -> Iterator[int]:
        if self.every:
            slot = self.anchor + (until - self.anchor) // self.every * self.every
            while True:
                yield slot
                slot -= self.every
        start = self._moment(until + _CHANGE if self._clocks_changed(until) else until) + _MINUTE
        for moment in _sim(self.cron, start, reverse=True):
            slot = _ms(moment)
            # Where clocks changed, the library finds other slots backwards than forwards; those of `after` count.
            if slot <= until and (not self._clocks_changed(slot) or self.after(slot - 1) == slot):
                yield slot

    def _clocks_changed(self, ms: int) -> bool:
        """Whether they did a short time before."""
        return self._moment(ms).utcoffset() != self._moment(ms - _CHANGE).utcoffset()

    def _moment(self, ms: int) -> datetime:
        return datetime.fromtimestamp(ms / 1000, UTC).astimezone(ZoneInfo(self.timezone))


def _sim(line: str, start: datetime, *, reverse: bool = False) -> CronSim:
    return CronSim(_NAMED.get(line, line), start, reverse=reverse)


def delay_of(name: str, slot: int, jitter: int) -> int:
    """How many ms after its slot a schedule fires: by chance, but the same on every daemon."""
    if not jitter:
        return 0
    digest = hashlib.sha256(f"{name}|{slot}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % (jitter + 1)


def check_cron(line: str, zone: str = "UTC") -> None:
    """Raises ValueError when the line is none, or never fires."""
    try:
        next(_sim(line, datetime(2025, 1, 1, tzinfo=ZoneInfo(zone))))
    except (CronSimError, StopIteration) as error:
        raise ValueError(
            'should be a cron line that fires, such as "*/5 * * * *" (minute hour day month weekday)'
        ) from error


def check_zone(name: str) -> None:
    """Raises ValueError when there is no such time zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError('should be a time zone such as "UTC" or "America/Sao_Paulo"') from error


def misfire_of(text: str) -> tuple[Misfire, int]:
    """The policy and its n. Raises ValueError."""
    if text in (Misfire.SKIP, Misfire.ONCE):
        return Misfire(text), 0
    found = _ALL.fullmatch(text)
    if not found or not 1 <= int(found[1]) <= MAX_MISSED:
        raise ValueError(f'should be "skip", "once" or "all(n)" with n from 1 to {MAX_MISSED}')
    return Misfire.ALL, int(found[1])


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
