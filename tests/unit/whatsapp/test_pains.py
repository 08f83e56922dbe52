"""Each pain of the users of other gateways that is solved from day one has a test named after it, or a reason here.

The numbers are those of whatsapp-gateway-pains.md. The tests of webhooks have numbers of their own, so only those of
messages and sessions count.
"""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
FROM_DAY_ONE = list(range(1, 26))

#: Pain → where it is tested under another name, or why there is nothing to test.
ELSEWHERE = {
    11: "the library answers retry receipts itself; what it forgets with its worker is said in README, Real numbers",
    18: "one writer and batched look-ups instead of a pool: tests/integration/store/test_postgres_outage.py",
    21: "tries end in the dead letters and are replayed: tests/integration/webhooks/test_endpoint_lanes.py",
    24: "flows are not built yet: there is no conversation of a bot that could go on for ever",
}


def named() -> set[int]:
    """The numbers in the names of tests."""
    pattern = re.compile(r"def test_pain_(\d+)_")
    files = (TESTS / "integration" / "whatsapp").glob("test_*.py")
    return {int(number) for file in files for number in pattern.findall(file.read_text())}


@pytest.mark.parametrize("number", FROM_DAY_ONE)
def test_each_pain_has_its_test_or_a_reason(number: int) -> None:
    assert (number in named()) is not (number in ELSEWHERE)


@pytest.mark.parametrize("reason", ELSEWHERE.values())
def test_a_file_that_is_named_is_there(reason: str) -> None:
    for file in re.findall(r"tests/[a-z_/]+\.py", reason):
        assert (TESTS.parent / file).exists(), file
