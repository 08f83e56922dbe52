"""The most telling of `make chaos`, once each: worker processes on one Redis, and the standing invariants."""

from pathlib import Path

import pytest

from tests.chaos.engine import SCENARIOS, Scenario, play

TELLING = (
    "SIGSTOP for two leases, SIGCONT",  # a zombie's finishes are refused
    "answers dropped after they took effect",  # finish, claim and enqueue repeated: nothing doubled
    "maxmemory reached",  # nothing new is taken, what is there ends
    "clocks an hour off",
    "poison",
)


@pytest.mark.parametrize("scenario", [pytest.param(one, id=one.name) for one in SCENARIOS if one.name in TELLING])
async def test_a_fault_loses_nothing(scenario: Scenario, tmp_path: Path) -> None:
    verdict = await play(scenario, tmp_path)
    assert verdict.ok, verdict
    assert verdict.acked > 0


def test_every_telling_fault_is_still_one() -> None:
    assert set(TELLING) <= {scenario.name for scenario in SCENARIOS}
