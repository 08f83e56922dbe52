"""Writes log lines to a file descriptor from a thread of its own."""

import os
import threading
from collections import deque

MAX_LINES = 20_000  #: lines kept while nobody reads the other end
BATCH = 500  #: lines in one write


class StreamSink:
    """A bounded buffer and the thread that empties it. `write` may be called from any thread and never waits.

    The descriptor stays blocking: standard output is shared with other processes, and a non-blocking terminal would
    surprise them.
    """

    def __init__(self, *, descriptor: int, limit: int = MAX_LINES) -> None:
        self.dropped = 0
        self._descriptor = descriptor
        self._limit = limit
        self._lines: deque[bytes] = deque()
        self._wake = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
        self._thread.start()

    def write(self, line: bytes) -> None:
        """Keep the line for the thread, or count it as dropped."""
        if len(self._lines) >= self._limit:
            self.dropped += 1
            return
        self._lines.append(line)
        self._wake.set()

    def close(self, within: float = 2.0) -> None:
        """Write what is left, at most `within` seconds long. Safe to call twice."""
        self._closed = True
        self._wake.set()
        self._thread.join(within)

    def _run(self) -> None:
        while not (self._closed and not self._lines):
            self._wake.wait()
            self._wake.clear()
            while self._lines:
                batch = [self._lines.popleft() for _ in range(min(BATCH, len(self._lines)))]
                try:
                    self._write_all(b"".join(batch))
                except OSError:  # the reader is gone: logs must not end the daemon
                    self.dropped += len(batch)

    def _write_all(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._descriptor, data) :]
