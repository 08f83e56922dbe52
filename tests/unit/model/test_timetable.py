"""When a schedule fires, also when the clocks change."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zapd.model.timetable import Misfire, Timetable, check_cron, check_zone, delay_of, misfire_of

NEW_YORK, SAO_PAULO = "America/New_York", "America/Sao_Paulo"


def at(text: str, zone: str = "UTC") -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def clock(ms: int, zone: str) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).astimezone(ZoneInfo(zone)).strftime("%d %H:%M%z")


def slots(table: Timetable, start: int, hours: float) -> list[int]:
    """All of a time, by stepping forward."""
    found: list[int] = []
    end = start + round(hours * 3_600_000)
    while (slot := table.after(found[-1] if found else start)) <= end:
        found.append(slot)
    return found


@pytest.mark.parametrize(
    ("line", "after", "slot"),
    [
        ("0 * * * *", "2026-03-01T10:59:59", "2026-03-01T11:00:00"),
        ("0 * * * *", "2026-03-01T11:00:00", "2026-03-01T12:00:00"),
        ("30 3 * * *", "2026-12-31T03:30:01", "2027-01-01T03:30:00"),
        ("0 0 29 2 *", "2026-03-01T00:00:00", "2028-02-29T00:00:00"),
        ("@hourly", "2026-03-01T10:30:00", "2026-03-01T11:00:00"),
        ("@daily", "2026-03-01T10:30:00", "2026-03-02T00:00:00"),
        ("@weekly", "2026-03-01T10:30:00", "2026-03-08T00:00:00"),
        ("@monthly", "2026-03-01T10:30:00", "2026-04-01T00:00:00"),
        ("@yearly", "2026-03-01T10:30:00", "2027-01-01T00:00:00"),
    ],
)
def test_the_next_slot_lies_after_the_time(line: str, after: str, slot: str) -> None:
    assert Timetable(cron=line).after(at(after)) == at(slot)


def test_a_part_of_a_second_rounds_no_slot_away() -> None:
    assert Timetable(cron="0 * * * *").after(at("2026-03-01T10:59:59") + 999) == at("2026-03-01T11:00:00")


def test_a_zone_is_what_the_hours_are_in() -> None:
    slot = Timetable(cron="0 8 * * *", timezone=SAO_PAULO).after(at("2026-03-01T00:00:00"))
    assert slot == at("2026-03-01T11:00:00")


def test_in_the_hour_that_is_left_out_a_slot_fires_when_the_hour_is_over() -> None:
    table = Timetable(cron="30 2 * * *", timezone=NEW_YORK)  # on 8 March 2026, 02:00 becomes 03:00
    found = slots(table, at("2026-03-07T00:00:00", NEW_YORK), 72)
    assert [clock(slot, NEW_YORK) for slot in found] == ["07 02:30-0500", "08 03:00-0400", "09 02:30-0400"]


def test_in_the_hour_that_comes_twice_a_slot_fires_once() -> None:
    table = Timetable(cron="30 1 * * *", timezone=NEW_YORK)  # on 1 November 2026, 02:00 becomes 01:00
    found = slots(table, at("2026-10-31T00:00:00", NEW_YORK), 72)
    assert [clock(slot, NEW_YORK) for slot in found] == ["31 01:30-0400", "01 01:30-0400", "02 01:30-0500"]


def test_when_the_hour_comes_again_its_slot_is_over() -> None:
    """Else the next fire would lie in the past until the hour is over for good, and be looked for without a pause."""
    table = Timetable(cron="30 1 * * *", timezone=NEW_YORK)
    for minutes in range(0, 60, 7):
        now = at("2026-11-01T06:00:00") + minutes * 60_000  # 01:00 to 02:00 for the second time
        assert clock(table.after(now), NEW_YORK) == "02 01:30-0500"
        (slot,) = table.between(at("2026-10-31T12:00:00"), now, 10)
        assert clock(slot, NEW_YORK) == "01 01:30-0400"


@pytest.mark.parametrize("day", ["2026-03-08T00:00:00", "2026-11-01T00:00:00"])
def test_what_follows_real_time_keeps_its_interval(day: str) -> None:
    found = slots(Timetable(cron="*/30 * * * *", timezone=NEW_YORK), at(day, NEW_YORK), 6)
    assert {b - a for a, b in pairwise(found)} == {1_800_000}


def test_where_clocks_change_by_half_an_hour_no_slot_is_passed_over() -> None:
    """On 5 April 2026 at 02:00 it becomes 01:30 on Lord Howe: real 02:00 comes half an hour later."""
    for line, expected in (
        ("0 */2 * * *", ["00:00+1100", "02:00+1030", "04:00+1030"]),
        ("*/30 2 * * *", ["02:00+1030"]),
    ):
        table = Timetable(cron=line, timezone="Australia/Lord_Howe")
        first = at("2026-04-04T12:45:00")
        found = [table.after(first)]
        while len(found) < len(expected):
            found.append(table.after(found[-1]))
        assert [clock(slot, "Australia/Lord_Howe") for slot in found] == [f"05 {slot}" for slot in expected]
        assert table.between(first, found[-1], 10) == found


LINES = [
    "0 */2 * * *",
    "*/20 2 * * *",
    "30 2 * * *",
    "*/30 * * * *",
    "0 * * * *",
    "30 1 * * *",
    "15 1,2,3 * * *",
    "0 0 * * SUN",
    "0 3 1 * *",
]


@given(
    st.sampled_from(LINES),
    st.sampled_from([NEW_YORK, SAO_PAULO, "UTC", "Australia/Lord_Howe"]),
    st.integers(at("2026-03-05T00:00:00"), at("2026-11-05T00:00:00")),
    st.integers(0, 100),
)
def test_what_lies_between_is_what_comes_one_after_the_other(line: str, zone: str, start: int, hours: int) -> None:
    table = Timetable(cron=line, timezone=zone)
    end = start + hours * 3_600_000
    forward = slots(table, start, hours)
    assert table.between(start, end, 1_000) == forward
    assert table.between(start, end, 3) == forward[-3:]


@given(st.integers(1_000, 10**8), st.integers(0, 2 * 10**12), st.integers(0, 2 * 10**12), st.integers(1, 5))
def test_intervals_stand_on_a_grid(every: int, anchor: int, start: int, steps: int) -> None:
    table = Timetable(every=every, anchor=anchor)
    slot = table.after(start)
    assert (slot - anchor) % every == 0
    assert start < slot <= start + every
    assert table.between(start, start + steps * every, 100) == slots(table, start, steps * every / 3_600_000)


def test_a_late_fire_is_the_same_on_every_daemon_and_never_early() -> None:
    delays = {delay_of("a", slot, 5_000) for slot in range(1_000)}
    assert delays <= set(range(5_001))
    assert len(delays) > 500
    assert delay_of("a", 7, 5_000) == delay_of("a", 7, 5_000) != delay_of("b", 7, 5_000)
    assert delay_of("a", 7, 0) == 0


@pytest.mark.parametrize("line", ["61 * * * *", "@often", "* * *", "hello", "0 0 30 2 *", "", "0 0 31 4,6 *"])
def test_a_line_that_never_fires_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="cron line that fires"):
        check_cron(line)


def test_zones_and_policies() -> None:
    check_zone(SAO_PAULO)
    for wrong in ("Mars/Olympus", "", "../etc", "\0"):
        with pytest.raises(ValueError, match="time zone"):
            check_zone(wrong)
    assert misfire_of("skip") == (Misfire.SKIP, 0)
    assert misfire_of("once") == (Misfire.ONCE, 0)
    assert misfire_of("all(7)") == (Misfire.ALL, 7)
    for wrong in ("all", "all(0)", "all(1001)", "all(-1)", "often", "all(1) "):
        with pytest.raises(ValueError, match="skip"):
            misfire_of(wrong)


def test_a_day_has_no_more_slots_than_hours() -> None:
    assert timedelta(hours=1) * len(slots(Timetable(cron="0 * * * *"), at("2026-01-01T00:00:00"), 24)) == timedelta(1)
