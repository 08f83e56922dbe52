"""What the daemon says of itself."""

from collections.abc import Mapping
from typing import Any

import pytest

from zapd.errors import Unavailable
from zapd.state import State


def a_state(parts: Mapping[str, Any] | None = None, **up: bool) -> State:
    services = {name: {"up": is_up, "restarts": 0, "failed": None} for name, is_up in up.items()}
    return State(version="1", services=lambda: services, parts=parts or {})


async def five() -> int:
    return 5


async def away() -> int:
    raise Unavailable("Redis is away")


async def broken() -> int:
    raise ZeroDivisionError


def test_it_is_ready_while_it_runs_and_at_no_other_time() -> None:
    state = a_state()
    assert state.not_ready() == "starting"
    state.phase = "running"
    assert state.not_ready() is None
    state.phase = "draining"
    assert state.not_ready() == "draining"


async def test_a_part_that_is_away_says_so_and_the_others_answer() -> None:
    status = await a_state({"queues": away, "outbox": five}, writer=True).status()
    assert status["queues"] == {"unavailable": "Redis is away"}
    assert status["outbox"] == 5
    assert (status["version"], status["phase"], status["services"]["writer"]["up"]) == ("1", "starting", True)


async def test_a_bug_in_a_part_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        await a_state({"queues": broken}).status()


def test_the_line_for_systemctl_names_what_is_down() -> None:
    assert a_state(writer=True).summary() == "starting"
    assert a_state(writer=True, cron=False, outbox=False).summary() == "starting, down: cron outbox"
    state = State(version="1", services=dict, parts={}, paused=lambda: "all queues")
    assert state.summary() == "starting, paused: all queues"


def test_in_a_drain_nothing_counts_as_down() -> None:
    state = a_state(cron=False)
    state.phase = "draining"
    assert state.summary() == "draining"
