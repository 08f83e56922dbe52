"""Reads one HTTP/1.1 answer to a POST, byte by byte from a stranger: strict, bounded, without decompression. Pure.

Only the head and the first bytes of the body are kept. Whatever goes on after that is not read: the connection is
closed instead of reused.
"""

import re

MAX_HEAD = 16 * 1024  #: bytes of status line and headers
MAX_HEADERS = 200
MAX_CHUNKS = 1000  #: after so many the rest is not read; tiny chunks would only cost us time
_MAX_INTERIM = 10  # answers of 1xx before the answer
_MAX_CHUNK_LINE = 256  # bytes of a chunk's size line with its extensions
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\r\n]*)?")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", re.DOTALL)
_LENGTH = re.compile(rb"[0-9]{1,18}")


class BadAnswer(Exception):
    """What came is not HTTP/1.1."""


class AnswerReader:
    """Feed it what arrives until `done`. `keep`: how many bytes of the body are wanted."""

    def __init__(self, *, keep: int) -> None:
        self.status = 0  #: 0 until the head has come
        self.headers: dict[str, str] = {}  #: names in lower case; of repeated ones the first
        self.body = bytearray()
        self.done = False
        self.reusable = False  #: once done: whether the connection can carry another request
        self._keep = keep
        self._buffer = b""
        self._at = 0  # how far into the buffer we have read
        self._interim = 0
        self._head_done = False
        self._left: int | None = None  # bytes of the body still to come; None: until the connection ends
        self._chunked = False
        self._chunks = 0
        self._chunk_left = 0
        self._separator = b""  # what stands before the next chunk's size: the line end of the chunk before it

    def feed(self, data: bytes) -> bool:
        """Take bytes in; returns `done`. Raises BadAnswer."""
        self._buffer = self._buffer[self._at :] + data
        self._at = 0
        while not self._head_done:
            if not self._read_head():
                return False
        if self._chunked:
            self._read_chunks()
        else:
            self._read_plain()
        return self.done

    def end(self) -> bool:
        """The connection ended; returns whether the answer is complete: only one without a length can be."""
        self.reusable = False
        self.done = self.done or (self._head_done and not self._chunked and self._left is None)
        return self.done

    @property
    def started(self) -> bool:
        """Whether anything came at all."""
        return self._head_done or bool(self._buffer)

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n", self._at)
        if (len(self._buffer) if end < 0 else end) - self._at > MAX_HEAD:
            raise BadAnswer("its headers are too long")
        if end < 0:
            return False
        first, *lines = self._buffer[self._at : end].split(b"\r\n")
        self._at = end + 4
        found = _STATUS.fullmatch(first)
        if found is None:
            raise BadAnswer("it does not begin with an HTTP/1.1 status line")
        status = int(found[2])
        if status < 200:
            self._pass_interim(status)
            return True
        self.status = status
        self._read_headers(lines)
        self._plan_body(old=found[1] == b"0")
        return True

    def _pass_interim(self, status: int) -> None:
        """1xx only announces an answer that still comes."""
        self._interim += 1
        if status == 101 or self._interim > _MAX_INTERIM:
            raise BadAnswer("it switches protocols or never begins")

    def _read_headers(self, lines: list[bytes]) -> None:
        if len(lines) > MAX_HEADERS:
            raise BadAnswer("it has too many headers")
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon or not _NAME.fullmatch(name):
                raise BadAnswer("a header line is malformed")
            key, text = name.decode("ascii").lower(), value.strip(b" \t").decode("latin-1")
            if key == "content-length" and self.headers.get(key, text) != text:
                raise BadAnswer("it has two lengths")
            self.headers.setdefault(key, text)

    def _plan_body(self, *, old: bool) -> None:
        self._head_done = True
        coding = self.headers.get("transfer-encoding", "").lower()
        length = self.headers.get("content-length")
        self.reusable = not old and "close" not in self.headers.get("connection", "").lower()
        if self.status in (204, 304):  # they have no body, whatever their headers say
            self._left = 0
        elif coding == "chunked":
            self._chunked = True
            self.reusable = self.reusable and length is None  # both: a sign of request smuggling
        elif coding or length is None:
            self.reusable = False
        elif not _LENGTH.fullmatch(length.encode("latin-1")):
            raise BadAnswer("its length is not a number")
        else:
            self._left = int(length)

    def _read_plain(self) -> None:
        taken = self._take(self._left)
        if self._left is not None:
            self._left -= taken
            if self._left == 0:
                self._finish(clean=self._at == len(self._buffer))

    def _read_chunks(self) -> None:
        while not self.done and (self._chunk_left or self._read_chunk_size()):
            self._chunk_left -= self._take(self._chunk_left)
            if self._chunk_left:
                return

    def _read_chunk_size(self) -> bool:
        start = self._at + len(self._separator)
        if not self._separator.startswith(self._buffer[self._at : start]):
            raise BadAnswer("a chunk is longer than it said")
        end = self._buffer.find(b"\r\n", start)
        if (len(self._buffer) if end < 0 else end) - start > _MAX_CHUNK_LINE:
            raise BadAnswer("a chunk's size line is too long")
        if end < 0:
            return False
        found = _CHUNK.fullmatch(self._buffer, start, end)
        if found is None:
            raise BadAnswer("a chunk's size is not a number")
        self._at, self._chunk_left, self._separator = end + 2, int(found[1], 16), b"\r\n"
        self._chunks += 1
        if self._chunk_left == 0 or self._chunks > MAX_CHUNKS:
            # Trailers are of no use to us: an answer with some is complete, and costs its connection.
            self._finish(clean=self._chunk_left == 0 and self._buffer[self._at :] == b"\r\n")
        return not self.done

    def _take(self, most: int | None) -> int:
        """Pass over at most that many bytes, and keep those that are wanted."""
        there = len(self._buffer) - self._at
        size = there if most is None else min(most, there)
        self.body += self._buffer[self._at : self._at + min(size, self._keep - len(self.body))]
        self._at += size
        if len(self.body) >= self._keep:
            self._finish(clean=size == most and not self._chunked and size == there)
        return size

    def _finish(self, *, clean: bool) -> None:
        self.done = True
        self.reusable = self.reusable and clean
