import pytest

from zapd.web import limits
from zapd.web.limits import Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_burst_passes_at_once_and_the_next_one_waits_for_one_interval() -> None:
    clock = Clock()
    pace = Pace(rate=2.0, burst=3, clock=clock)
    assert [pace.take("a") for _ in range(3)] == [0.0, 0.0, 0.0]
    assert pace.take("a") == pytest.approx(0.5)
    clock.now += 0.5
    assert pace.take("a") == 0.0
    assert pace.take("a") > 0.0


def test_a_refused_request_costs_nothing() -> None:
    clock = Clock()
    pace = Pace(rate=1.0, burst=1, clock=clock)
    pace.take("a")
    for _ in range(100):
        assert pace.take("a") > 0.0
    clock.now += 1.0
    assert pace.take("a") == 0.0


def test_one_caller_does_not_slow_another() -> None:
    pace = Pace(rate=1.0, burst=1, clock=Clock())
    assert pace.take("a") == 0.0
    assert pace.take("b") == 0.0


def test_looking_at_the_wait_counts_nothing() -> None:
    pace = Pace(rate=1.0, burst=1, clock=Clock())
    assert [pace.wait("a") for _ in range(3)] == [0.0, 0.0, 0.0]
    assert pace.take("a") == 0.0
    assert pace.wait("a") == pytest.approx(1.0)


def test_a_rate_of_zero_is_no_limit() -> None:
    pace = Pace(rate=0.0, burst=1, clock=Clock())
    assert all(pace.take("a") == 0.0 for _ in range(100))


def test_callers_are_forgotten_beyond_the_cap_the_longest_unseen_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_CALLERS", 2)
    pace = Pace(rate=1.0, burst=2, clock=Clock())
    pace.take("a")
    pace.take("b")
    pace.take("a")
    pace.take("c")  # b goes: a was seen after it
    assert pace.take("a") > 0.0
    assert pace.take("b") == 0.0


def test_a_caller_may_have_a_rate_of_its_own() -> None:
    pace = Pace(rate=1, burst=1, clock=Clock())
    assert [pace.take("fast", 120) for _ in range(120)] == [0.0] * 120
    assert pace.take("fast", 120) == pytest.approx(0.5)
    assert pace.take("other") == 0.0
