"""Structured logs: one event name and its fields, as a JSON line, in journald's own protocol, or as text for people.

A log call only puts the line into a bounded buffer. A stalled journald, pipe or disk must not stall the event loop:
what does not fit is counted and dropped.
"""

import atexit
import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping, MutableMapping
from typing import Protocol

import orjson
import structlog

from zapd.telemetry.journal import JournalSink, connected_to_journal, datagram
from zapd.telemetry.redaction import redact
from zapd.telemetry.stream import StreamSink

Event = MutableMapping[str, object]
LEVELS = ("debug", "info", "warning", "error", "critical")


class Sink(Protocol):
    """Takes rendered lines without blocking; `dropped` counts those it could not keep."""

    dropped: int

    def write(self, line: bytes) -> None: ...

    def close(self) -> None: ...


class Logs:
    """What `configure` set up: counts for the metrics, and the end."""

    def __init__(self, *, sink: Sink) -> None:
        self._sink = sink
        self.written: Counter[str] = Counter(dict.fromkeys(LEVELS, 0))  #: lines by level

    @property
    def dropped(self) -> int:
        """Lines that were lost because nobody took them away."""
        return self._sink.dropped

    def count(self, _logger: object, method: str, event: Event) -> Event:
        """A structlog processor."""
        self.written[method] += 1
        return event

    def close(self) -> None:
        """Write what is buffered. Safe to call twice."""
        self._sink.close()


def configure(*, level: str, format: str, environ: Mapping[str, str], descriptor: int = 1) -> Logs:
    """Set up structlog and the standard library's logging for this process.

    `format` is json, journal, text, or auto: journal when systemd connected standard error or output to it, text when
    standard output is a terminal, else json. `descriptor` is where lines go: 2 for a command that prints its answer.
    The level is fixed from here on: loggers are cached, so that a call below the level costs next to nothing.
    """
    to_journal = format == "journal" or (format == "auto" and connected_to_journal(environ))
    to_person = format == "text" or (format == "auto" and os.isatty(1))
    sink: Sink = JournalSink() if to_journal else StreamSink(descriptor=descriptor)
    logs = Logs(sink=sink)
    atexit.register(logs.close)
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            logs.count,
            structlog.processors.add_log_level,
            _add_logger,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            redact,
            _datagram if to_journal else _text_line if to_person else _json_line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *name: _Output(name[0] if name else "", sink.write),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Forward()], level=max(number, logging.WARNING), force=True)
    logging.captureWarnings(True)
    return logs


class _Output:
    """What structlog calls with the rendered line."""

    def __init__(self, name: str, write: Callable[[bytes], None]) -> None:
        self.name = name
        self.debug = self.info = self.warning = self.error = self.critical = write


class _Forward(logging.Handler):
    """Brings what libraries log into the same stream."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(record.name)
        log.log(record.levelno, "library.logged", message=record.getMessage(), exc_info=record.exc_info)


def _add_logger(logger: _Output, _method: str, event: Event) -> Event:
    event["logger"] = logger.name
    return event


def _json_line(_logger: object, _method: str, event: Event) -> bytes:
    ordered = {key: event.pop(key, None) for key in ("time", "level", "logger", "event")}
    return orjson.dumps({**ordered, **event}, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS, default=str)


def _datagram(_logger: object, _method: str, event: Event) -> bytes:
    return datagram(event)


def _text_line(_logger: object, _method: str, event: Event) -> bytes:
    time, level, name, trace = (str(event.pop(key, "")) for key in ("time", "level", "event", "exception"))
    event.pop("logger", None)
    line = f"{time[11:19]} {level:<7} {name:<18} " + " ".join(f"{key}={_readable(event[key])}" for key in event)
    return f"{line.rstrip()}\n{trace + chr(10) if trace else ''}".encode()


def _readable(value: object) -> str:
    """As it is when it is one word; quoted otherwise, so that no value can write over the terminal."""
    text = value if isinstance(value, str) else str(value)
    return text if text.isprintable() and " " not in text else repr(text)
