"""Warm-up and quiet hours."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from zapd.model.pace import DAY, Limits, QuietHours

NIGHT = QuietHours(begin=22 * 60, end=8 * 60, time_zone="America/Sao_Paulo")
NOON = QuietHours(begin=12 * 60, end=13 * 60 + 30, time_zone="America/Sao_Paulo")


def at(text: str, zone: str = "America/Sao_Paulo") -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("hours", "now", "end"),
    [
        (NIGHT, "2026-03-01T21:59", None),
        (NIGHT, "2026-03-01T22:00", "2026-03-02T08:00"),
        (NIGHT, "2026-03-02T00:30", "2026-03-02T08:00"),
        (NIGHT, "2026-03-02T08:00", None),
        (NOON, "2026-03-02T12:15", "2026-03-02T13:30"),
        (NOON, "2026-03-02T13:30", None),
    ],
)
def test_quiet_hours_end_at_the_local_time(hours: QuietHours, now: str, end: str | None) -> None:
    assert hours.ends_at(at(now)) == (at(end) if end else None)


def test_the_day_on_which_the_clock_is_turned_is_right_too() -> None:
    berlin = QuietHours(begin=22 * 60, end=8 * 60, time_zone="Europe/Berlin")
    assert berlin.ends_at(at("2026-03-28T23:00", "Europe/Berlin")) == at("2026-03-29T08:00", "Europe/Berlin")
    assert at("2026-03-29T08:00", "Europe/Berlin") - at("2026-03-28T23:00", "Europe/Berlin") == 8 * 3_600_000


def test_the_budget_of_new_people_grows_day_by_day() -> None:
    limits = Limits(new_contacts_per_day=100, new_contacts_first_day=40)
    assert [limits.new_contacts(age=day * DAY) for day in range(6)] == [40, 50, 62, 78, 97, 100]
    assert limits.new_contacts(age=10_000 * DAY) == 100
    assert limits.new_contacts(age=-5) == 40


def test_no_limit_and_no_warm_up() -> None:
    assert Limits(new_contacts_per_day=0, new_contacts_first_day=5).new_contacts(age=0) is None
    assert Limits().new_contacts(age=0) is None
    assert Limits(new_contacts_per_day=7, new_contacts_first_day=0).new_contacts(age=0) == 7


def test_own_limits_stand_over_the_defaults_and_0_switches_one_off() -> None:
    defaults = Limits(recipient_per_minute=20, recipient_burst=10, new_contacts_per_day=250)
    own = Limits(recipient_per_minute=0, quiet_hours=NIGHT)
    assert own.over(defaults) == Limits(
        recipient_per_minute=0, recipient_burst=10, new_contacts_per_day=250, quiet_hours=NIGHT
    )


def test_what_is_stored_comes_back() -> None:
    for limits in (Limits(), Limits(lookups_per_minute=0, quiet_hours=NIGHT)):
        assert Limits.of_json(limits.as_json()) == limits
