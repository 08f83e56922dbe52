"""Ids sort by the time they were made, also when the clock does not help."""

import random
import re

from hypothesis import given
from hypothesis import strategies as st

from tests.support import FakeClock, make_ids
from zapd.ids import Ids


def test_an_id_is_a_prefix_and_26_characters() -> None:
    assert re.fullmatch(r"msg_[0-9A-HJKMNP-TV-Z]{26}", make_ids().new("msg"))


def test_the_time_stands_in_front() -> None:
    # Given by the ULID specification: 1469918176385 ms is 01ARYZ6S41.
    ids = Ids(clock_ms=lambda: 1_469_918_176_385, random_bytes=random.Random(1).randbytes)
    assert ids.ulid().startswith("01ARYZ6S41")


def test_ids_of_one_millisecond_rise() -> None:
    ids = make_ids()
    made = [ids.new("job") for _ in range(10_000)]
    assert made == sorted(set(made))


def test_ids_rise_at_the_upper_end_of_the_randomness() -> None:
    clock = FakeClock()
    ids = Ids(clock_ms=clock.now_ms, random_bytes=lambda n: b"\xff" * n)
    made = [ids.ulid() for _ in range(100)]
    clock.advance(0.001)
    made.append(ids.ulid())
    assert made == sorted(set(made))
    assert made[0][:10] == made[99][:10] < made[100][:10]  # counting up did not reach into the next millisecond


@given(steps=st.lists(st.integers(-5_000, 5_000), max_size=50))
def test_ids_rise_while_the_clock_jumps(steps: list[int]) -> None:
    clock = FakeClock()
    ids = make_ids(clock.now_ms)
    made = []
    for step in steps:
        clock.value += step
        made.append(ids.ulid())
    assert made == sorted(set(made))


def test_two_sources_do_not_make_the_same_id() -> None:
    assert make_ids(seed=1).ulid() != make_ids(seed=2).ulid()
