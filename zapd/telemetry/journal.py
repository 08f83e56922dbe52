"""journald's native protocol: one datagram per entry, so that `journalctl ZAPD_EVENT=… MESSAGE_ID=…` works.

https://systemd.io/JOURNAL_NATIVE_PROTOCOL/
"""

import os
import re
import socket
import struct
import uuid
from collections import deque
from collections.abc import Mapping
from functools import lru_cache

import orjson

SOCKET = "/run/systemd/journal/socket"
MAX_BACKLOG = 5_000  #: entries kept while journald does not take them
MAX_VALUE = 32_768  #: bytes of one field; a datagram has to fit into the socket's buffer
_PRIORITY = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_NAMESPACE = uuid.UUID("6f0f7c26-6c8f-5b0e-9d0a-7a61706400aa")  #: ours: event name → MESSAGE_ID
_OWN = ("event", "level", "time", "logger", "exception")


def connected_to_journal(environ: Mapping[str, str], descriptors: tuple[int, ...] = (2, 1)) -> bool:
    """Whether systemd connected one of the descriptors to the journal: `$JOURNAL_STREAM` is its device and inode.

    The variable alone proves nothing: it is inherited by what a user starts with its output sent elsewhere.
    """
    for descriptor in descriptors:
        try:
            status = os.fstat(descriptor)
        except OSError:
            continue
        if environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}":
            return True
    return False


class JournalSink:
    """Sends datagrams and never waits; a bounded backlog bridges a busy journald, and goes out with later entries."""

    def __init__(self, *, path: str = SOCKET, limit: int = MAX_BACKLOG) -> None:
        self.dropped = 0
        self._path = path
        self._backlog: deque[bytes] = deque()
        self._limit = limit
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def write(self, line: bytes) -> None:
        """Send the entry, or keep it, or count it as dropped."""
        if len(self._backlog) >= self._limit:
            self.dropped += 1
            return
        self._backlog.append(line)
        self._flush()

    def close(self) -> None:
        """Send what journald still takes. Safe to call twice."""
        self._flush()
        self.dropped += len(self._backlog)
        self._backlog.clear()
        self._socket.close()

    def _flush(self) -> None:
        while self._backlog:
            try:
                self._socket.sendto(self._backlog[0], self._path)
            except (BlockingIOError, ConnectionRefusedError, FileNotFoundError):
                return  # busy, or being restarted: the next entry tries again
            except OSError:  # this entry can never be sent
                self.dropped += 1
            self._backlog.popleft()


def datagram(event: Mapping[str, object]) -> bytes:
    """The entry of one event. MESSAGE reads like a sentence; each field also stands alone, to search by."""
    name = str(event.get("event", ""))
    fields = {key: _text(value) for key, value in event.items() if key not in _OWN}
    message = " ".join([name, *(f"{key}={value}" for key, value in fields.items())])
    if "exception" in event:
        message += f"\n{event['exception']}"
    parts = [
        _field("MESSAGE", message),
        _field("PRIORITY", str(_PRIORITY.get(str(event.get("level")), 6))),
        _field("SYSLOG_IDENTIFIER", "zapd"),
        _field("MESSAGE_ID", _message_id(name)),
        _field("ZAPD_EVENT", name),
        _field("ZAPD_LOGGER", str(event.get("logger", ""))),
    ]
    parts += [_field(_name(key), value) for key, value in fields.items()]
    return b"".join(parts)


def _text(value: object) -> str:
    return (
        value if isinstance(value, str) else orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    )


def _field(name: str, value: str) -> bytes:
    data = value.encode(errors="replace")[:MAX_VALUE]
    if b"\n" in data:  # the binary form: name, length, bytes
        return name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"
    return name.encode() + b"=" + data + b"\n"


@lru_cache(maxsize=1024)
def _name(key: str) -> str:
    # journald takes A-Z 0-9 _ up to 64 characters; the prefix keeps clear of the names that mean something to it.
    return ("ZAPD_" + re.sub(r"[^A-Z0-9]", "_", key.upper()))[:64]


@lru_cache(maxsize=1024)
def _message_id(event: str) -> str:
    return uuid.uuid5(_NAMESPACE, event).hex
