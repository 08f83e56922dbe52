import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zapd.webhooks.http_answer import MAX_CHUNKS, MAX_HEAD, MAX_HEADERS, AnswerReader, BadAnswer

KEEP = 64


def read(*pieces: bytes, keep: int = KEEP) -> AnswerReader:
    reader = AnswerReader(keep=keep)
    for piece in pieces:
        reader.feed(piece)
    return reader


# answer, status, body, done, reusable
ANSWERS = [
    (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True, True),
    (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, b"", True, True),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", True, True),
    (b"HTTP/1.1 200 OK\r\ncontent-length:2\r\n\r\no", 200, b"o", False, True),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok!", 200, b"ok", True, False),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", True, False),
    (b"HTTP/1.1 500 Oh\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno", 500, b"no", True, False),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", 201, b"", True, True),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, b"ok", True, True),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n1;x=y\r\no\r\n1\r\nk\r\n0\r\n\r\n", 200, b"ok", True, True),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nA: b\r\n\r\n", 200, b"ok", True, False),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", 200, b"ok", False, True),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nxx", 200, b"xx", False, False),
    (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", 200, b"until the end", False, False),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + b"x" * 100, 200, b"x" * KEEP, True, False),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n" + b"x" * 99, 200, b"x" * KEEP, True, False),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n" + b"x" * 64, 200, b"x" * 64, True, True),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, b"", True, False),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n", 304, b"", True, True),
]


@pytest.mark.parametrize(("answer", "status", "body", "done", "reusable"), ANSWERS)
def test_reads_an_answer(answer: bytes, status: int, body: bytes, done: bool, reusable: bool) -> None:
    reader = read(answer)
    assert (reader.status, bytes(reader.body), reader.done, reader.reusable) == (status, body, done, reusable)


@given(answer=st.sampled_from([a[0] for a in ANSWERS]), cuts=st.lists(st.integers(1, 200), max_size=5))
def test_how_the_bytes_are_cut_does_not_matter(answer: bytes, cuts: list[int]) -> None:
    whole = read(answer)
    edges = [0, *sorted(cut for cut in cuts if cut < len(answer)), len(answer)]
    reader = AnswerReader(keep=KEEP)
    for start, end in itertools.pairwise(edges):
        if not reader.done:
            reader.feed(answer[start:end])
    assert (reader.status, reader.body, reader.done) == (whole.status, whole.body, whole.done)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 099 Low\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nNo colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nName : x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 300,
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD,
        b"HTTP/1.1 200 OK\r\n" + b"a:\r\n" * (MAX_HEADERS + 1) + b"\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 11,
    ],
)
def test_what_is_not_http_is_refused(answer: bytes) -> None:
    with pytest.raises(BadAnswer):
        read(answer)


@given(pieces=st.lists(st.binary(max_size=40), max_size=10), start=st.sampled_from([a[0] for a in ANSWERS]))
def test_any_bytes_are_read_or_refused_and_little_is_kept(pieces: list[bytes], start: bytes) -> None:
    reader = AnswerReader(keep=KEEP)
    try:
        for piece in (start[: len(start) // 2], *pieces):
            if not reader.done:
                reader.feed(piece)
    except BadAnswer:
        pass
    assert len(reader.body) <= KEEP


def test_of_very_many_tiny_chunks_the_rest_is_not_read() -> None:
    start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    reader = read(start + b"1\r\nx\r\n" * 10 * MAX_CHUNKS, keep=100 * MAX_CHUNKS)
    assert (reader.done, reader.reusable, bytes(reader.body)) == (True, False, b"x" * MAX_CHUNKS)


def test_only_an_answer_without_a_length_may_end_with_the_connection() -> None:
    assert read(b"HTTP/1.1 200 OK\r\n\r\nall").end()
    assert not read(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall").end()
    assert not read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nall\r\n").end()
    assert not read(b"HTTP/1.1 200 OK\r\n").end()


def test_of_repeated_headers_the_first_is_kept() -> None:
    reader = read(b"HTTP/1.1 429 Slow\r\nRetry-After: 7 \r\nretry-after: 9\r\nContent-Length: 0\r\n\r\n")
    assert reader.headers["retry-after"] == "7"
