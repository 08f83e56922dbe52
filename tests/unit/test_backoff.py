"""Delays between tries: the design's series, never below the floor, never above the cap plus jitter."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zapd.backoff import Backoff


def never() -> float:
    """A random source at its lower end."""
    return 0.0


@pytest.mark.parametrize(
    ("base", "delays"),
    [(10.0, [10, 30, 90]), (5.0, [5, 15, 45]), (2.0, [2, 6, 18, 54])],
    ids=["webhook", "init", "send"],
)
def test_delays_are_the_designs_series(base: float, delays: list[float]) -> None:
    backoff = Backoff(base=base)
    assert [backoff.delay(n, random=never) for n in range(1, len(delays) + 1)] == delays


def test_jitter_only_adds() -> None:
    backoff = Backoff(base=10.0, jitter=0.1)
    assert backoff.delay(1, random=never) == 10.0
    assert backoff.delay(1, random=lambda: 0.5) == 10.5


def test_a_delay_stops_growing_at_the_cap() -> None:
    assert Backoff(base=10.0, cap=60.0).delay(50, random=never) == 60.0


def test_no_failure_yet_waits_like_the_first() -> None:
    assert Backoff(base=10.0).delay(0, random=never) == 10.0


@given(
    base=st.floats(0, 3600),
    factor=st.floats(1, 10),
    jitter=st.floats(0, 1),
    cap=st.floats(0, 7200),
    failures=st.integers(0, 100),
    drawn=st.floats(0, 1, exclude_max=True),
)
def test_a_delay_lies_between_its_floor_and_the_jitter_above_it(
    base: float, factor: float, jitter: float, cap: float, failures: int, drawn: float
) -> None:
    backoff = Backoff(base=base, factor=factor, jitter=jitter, cap=cap)
    floor = backoff.delay(failures, random=never)
    assert floor <= backoff.delay(failures, random=lambda: drawn) <= floor * (1 + jitter)
    assert floor <= cap
    assert floor <= backoff.delay(failures + 1, random=never)


def test_a_wait_after_thousands_of_failures_is_the_cap_and_not_an_error() -> None:
    backoff = Backoff(base=0.05, factor=2.0, cap=1.0)

    assert backoff.delay(100_000, random=lambda: 0.0) == 1.0
