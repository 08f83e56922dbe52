"""The breaker: opens after failures in a row, lets one try after a while, closes when that one worked."""

from zapd.events.breaker import Breaker


def test_it_opens_lets_one_try_and_closes_again() -> None:
    now = 0.0
    breaker = Breaker(failures=2, wait=10.0, clock=lambda: now)
    breaker.told(ok=False)
    breaker.told(ok=True)
    breaker.told(ok=False)
    assert not breaker.open  # not two in a row
    breaker.told(ok=False)
    assert breaker.open
    assert breaker.blocked() == 10.0
    now = 10.0
    assert breaker.blocked() == 0.0
    assert breaker.blocked() > 0  # one tries, the others wait
    breaker.told(ok=False)
    assert breaker.blocked() == 10.0
    now = 20.0
    assert breaker.blocked() == 0.0
    breaker.told(ok=True)
    assert breaker.blocked() == 0.0
    assert not breaker.open


def test_a_try_that_was_not_made_leaves_room_for_another() -> None:
    breaker = Breaker(failures=1, wait=0.0, clock=lambda: 0.0)
    breaker.told(ok=False)
    assert breaker.blocked() == 0.0
    breaker.abandoned()
    assert breaker.blocked() == 0.0
