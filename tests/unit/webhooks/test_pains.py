"""Each pain of users of other webhook senders that zapd solves from day one has a test named after it.

The numbers are those of the list of threads the issue names (webhooks.md, section D). What is not tested under its
number is said here, with the reason.
"""

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2]
FROM_DAY_ONE = list(range(1, 26))

#: Pain → where it is tested under another name, or why there is nothing to test.
ELSEWHERE = {
    1: "a lost consumer group and a lost Redis: `make chaos` FLUSHALL, tests/integration/jobs/test_epoch.py",
    9: "retention of every table: tests/contract/store/test_purge.py, tests/integration/test_janitor.py",
    10: "erasure by contact and by tenant: tests/integration/test_privacy.py",
    11: "the portal is the dashboard: tests/integration/web/test_dashboard.py",
    12: "nothing is gated: there is no licence, key or edition in the code",
    15: "a claim has no lease that could be shorter than a request: the daemon's heartbeat holds all of its claims",
    24: "a stranger's key on every route: tests/integration/web/test_tenants.py",
}


def named() -> set[int]:
    """The numbers in the names of tests."""
    pattern = re.compile(r"def test_pain_(\d+)_")
    return {int(n) for file in TESTS.rglob("test_*.py") for n in pattern.findall(file.read_text())}


@pytest.mark.parametrize("number", FROM_DAY_ONE)
def test_each_pain_has_its_test_or_a_reason(number: int) -> None:
    assert number in named() or number in ELSEWHERE


@pytest.mark.parametrize("reason", ELSEWHERE.values())
def test_a_file_that_is_named_is_there(reason: str) -> None:
    for file in re.findall(r"tests/[a-z_/]+\.py", reason):
        assert (TESTS.parent / file).exists(), file
