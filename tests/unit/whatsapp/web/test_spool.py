"""What an account received is not lost by a kill."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from zapd.whatsapp.web.worker import spool as module
from zapd.whatsapp.web.worker.spool import WINDOW, Spool

Open = Callable[[], Spool]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spool.jsonl"


@pytest.fixture
def opened(path: Path) -> Iterator[Open]:
    """Opens the spool, as each process does that has the account."""
    spools: list[Spool] = []

    def open_() -> Spool:
        spools.append(Spool(path))
        return spools[-1]

    yield open_
    for spool in spools:
        spool.close()


def updates(spool: Spool) -> list[int]:
    return [item["update"]["x"] for item in spool.due()]


def test_what_is_not_committed_is_there_after_a_kill(path: Path, opened: Open) -> None:
    spool = opened()
    for x in range(3):
        spool.add({"x": x})
    first, *_ = spool.due()
    spool.committed(first["n"])
    # Nothing is closed: a process that is killed closes nothing.
    assert updates(opened()) == [0, 1, 2]  # what was committed comes again: at least once


def test_when_all_is_committed_the_file_is_empty(path: Path, opened: Open) -> None:
    spool = opened()
    spool.add({"x": 1})
    spool.committed(spool.due()[-1]["n"])
    assert path.read_bytes() == b""
    spool.add({"x": 2})
    assert updates(opened()) == [2]


def test_the_daemon_is_given_each_once_and_not_more_than_it_can_hold(path: Path, opened: Open) -> None:
    spool = opened()
    for x in range(WINDOW + 5):
        spool.add({"x": x})
    due = spool.due()
    assert len(due) == WINDOW
    assert spool.due() == []
    spool.committed(due[2]["n"])
    assert updates(spool) == [WINDOW, WINDOW + 1, WINDOW + 2]


def test_a_line_that_was_cut_off_costs_no_other(path: Path, opened: Open) -> None:
    spool = opened()
    spool.add({"x": 1})
    with path.open("ab") as file:
        file.write(b'{"x":')
    assert updates(opened()) == [1]


def test_it_does_not_grow_without_end(path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMPACT_AT", 100)
    spool = opened()
    for x in range(50):
        spool.add({"x": x})
        due = spool.due()
        if x:
            spool.committed(due[-1]["n"] - 1)  # there is always one more
    assert path.stat().st_size < 200
    assert updates(opened())[-1] == 49
