"""The places where a chaos run kills the process."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
from zapd import failpoint
for number in range(5):
    failpoint.reached("other")
    failpoint.reached("here")
    print(number, flush=True)
"""


def run(failpoint: str | None) -> tuple[int, list[str]]:
    environment = {} if failpoint is None else {"ZAPD_FAILPOINT": failpoint}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.split()


@pytest.mark.parametrize(
    ("failpoint", "printed"),
    [("here", []), ("here:1", []), ("here:3", ["0", "1"]), ("other:5", ["0", "1", "2", "3"])],
)
def test_the_process_is_killed_there(failpoint: str, printed: list[str]) -> None:
    assert run(failpoint) == (-signal.SIGKILL, printed)


@pytest.mark.parametrize("failpoint", [None, "", "elsewhere", "here:6"])
def test_it_is_not_killed_elsewhere_or_before(failpoint: str | None) -> None:
    assert run(failpoint) == (0, ["0", "1", "2", "3", "4"])
