"""What an account received and the daemon has not committed yet: a file, so that killing either loses nothing of it.

WhatsApp was told that a message arrived before this code sees it, and tells it no second time.
"""

import os
from collections import deque
from itertools import islice
from pathlib import Path

from zapd.whatsapp.web.frames import Frame, decode, encode

WINDOW = 64  #: updates that the daemon is given before it has committed the first of them
COMPACT_AT = 8 * 1024 * 1024  #: bytes of the file


class Spool:
    """The updates of one account, in order. Each has a number that only rises."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("a+b", buffering=0)
        self._waiting: deque[Frame] = deque()
        self._number = 0
        self._given = 0  # the last number that the daemon was given
        self._file.seek(0)
        for line in self._file.read().splitlines():
            self._remember(line)

    def add(self, update: Frame) -> None:
        """Keep one more. The kernel has it when this returns, so a kill does not lose it."""
        line = encode(update)
        self._file.write(line)
        self._remember(line)

    def due(self) -> list[Frame]:
        """What the daemon may be given now: `{"n": …, "update": …}` each."""
        due = [item for item in islice(self._waiting, WINDOW) if item["n"] > self._given]
        if due:
            self._given = due[-1]["n"]
        return due

    def committed(self, number: int) -> None:
        """The daemon has committed all up to this one."""
        while self._waiting and self._waiting[0]["n"] <= number:
            self._waiting.popleft()
        if not self._waiting:
            self._file.truncate(0)
        elif os.fstat(self._file.fileno()).st_size > COMPACT_AT:
            self._compact()

    def close(self) -> None:
        """Close the file; what waits stays in it."""
        self._file.close()

    def _remember(self, line: bytes) -> None:
        try:
            update = decode(line)
        except ValueError:
            return  # the end of a file whose writer was killed in the middle of a line
        self._number += 1
        self._waiting.append({"n": self._number, "update": update})

    def _compact(self) -> None:
        draft = self._path.with_suffix(".new")
        draft.write_bytes(b"".join(encode(item["update"]) for item in self._waiting))
        draft.replace(self._path)
        self._file.close()
        self._file = self._path.open("a+b", buffering=0)
