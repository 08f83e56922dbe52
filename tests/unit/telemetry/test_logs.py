"""One line per event, from zapd and from libraries, below the level nothing."""

import logging
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
import structlog

from zapd.telemetry.logs import Logs, configure


@pytest.fixture
def as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, events = root.handlers[:], root.level, structlog.get_config()
    yield
    structlog.configure(**events)
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def logs(as_before: None, capfd: pytest.CaptureFixture[str]) -> Iterator[Logs]:
    logs = configure(level="info", format="auto", environ={})
    yield logs
    logs.close()


def lines(logs: Logs, capfd: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    logs.close()
    return [orjson.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_an_event_is_one_json_line(logs: Logs, capfd: pytest.CaptureFixture[str]) -> None:
    structlog.get_logger("zapd.test").info("message.sent", message_id="msg_1", path=Path("/x"), peer="5511999998888")
    (line,) = lines(logs, capfd)
    assert str(line.pop("time")).endswith("Z")
    assert list(line.items()) == [
        ("level", "info"),
        ("logger", "zapd.test"),
        ("event", "message.sent"),
        ("message_id", "msg_1"),
        ("path", "/x"),
        ("peer", "***"),
    ]
    assert logs.written["info"] == 1
    assert logs.dropped == 0


def test_below_the_level_nothing_is_written(logs: Logs, capfd: pytest.CaptureFixture[str]) -> None:
    structlog.get_logger("zapd.test").debug("message.body", text="Olá")
    assert lines(logs, capfd) == []


def test_a_traceback_is_a_field_and_is_masked(logs: Logs, capfd: pytest.CaptureFixture[str]) -> None:
    try:
        raise ValueError("no chat with 5511999998888")
    except ValueError:
        structlog.get_logger("zapd.test").exception("test.crashed")
    (line,) = lines(logs, capfd)
    assert "ValueError: no chat with ***" in str(line["exception"])


def test_what_libraries_log_comes_along(logs: Logs, capfd: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("asyncio").warning("slow %s", "callback")
    logging.getLogger("asyncio").info("not this")
    (line,) = lines(logs, capfd)
    assert (line["logger"], line["event"], line["message"]) == ("asyncio", "library.logged", "slow callback")


def test_a_person_reads_text_that_cannot_write_over_the_terminal(
    as_before: None, capfd: pytest.CaptureFixture[str]
) -> None:
    logs = configure(level="info", format="text", environ={})
    structlog.get_logger("zapd.test").info("job.dead", job_id="job_1", error="two words\x1b[2J", attempts=3)
    try:
        raise ValueError("why")
    except ValueError:
        structlog.get_logger("zapd.test").exception("job.raised")
    logs.close()
    first, second, *trace = capfd.readouterr().out.splitlines()
    assert first[8:].split() == ["info", "job.dead", "job_id=job_1", "error='two", r"words\x1b[2J'", "attempts=3"]
    assert second[8:].split() == ["error", "job.raised"]
    assert trace[-1] == "ValueError: why"
