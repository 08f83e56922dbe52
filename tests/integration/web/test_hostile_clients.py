"""Clients that mean no good: each is refused within limits, and the listener answers others meanwhile."""

import asyncio
import gzip
import json
import time

import aiohttp
import pytest

from tests.support import eventually
from tests.support.daemon import Daemon

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOML = """
[sandbox]
pair_after = "50ms"
[http]
body_limit = "64KiB"
body_timeout = "1s"
"""
ROUTES = ["/connections", "/endpoints", "/connections/main/send", "/keys"]


async def raw(daemon: Daemon, request: bytes, *, within: float = 10.0) -> bytes:
    """What comes back to these bytes, until the connection is closed or is silent."""
    reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
    answer = b""
    try:
        writer.write(request)
        async with asyncio.timeout(within):
            while b"\r\n\r\n" not in answer:
                piece = await reader.read(65536)
                if not piece:
                    break
                answer += piece
    finally:
        writer.close()
    return answer


def head(daemon: Daemon, path: str, *lines: str) -> bytes:
    start = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {daemon.key}\r\n"
    return (start + "".join(f"{line}\r\n" for line in lines) + "\r\n").encode()


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    ("body", "statuses"),
    [
        (b"[" * 60_000, {400, 422}),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, {400, 413, 422}),
        (b'{"label": "\xff\xfe"}', {400}),
        (b"\x00" * 100, {400}),
        (b'{"label": 1e999999}', {400, 422}),
        (b'{"label": ' + b"9" * 5000 + b"}", {400, 422}),
        (b'"\\ud800"', {400, 422}),
        (b"x" * 70_000, {413}),
    ],
    ids=["open brackets", "deep", "not UTF-8", "NUL", "huge number", "long number", "half a surrogate", "too large"],
)
async def test_a_bad_body_is_refused_on_every_route(
    daemon: Daemon, connection: str, path: str, body: bytes, statuses: set[int]
) -> None:
    status, problem = await daemon.call("POST", path, body)
    assert status in statuses, problem
    assert problem["status"] == status


async def test_a_nul_is_refused_or_kept_but_never_a_crash(daemon: Daemon, connection: str) -> None:
    text = {"to": "5511999998888", "type": "text", "payload": {"text": "a\u0000b"}}
    assert (await daemon.call("POST", f"/connections/{connection}/send", text))[0] < 500
    assert (await daemon.call("GET", "/messages/a%00b"))[0] == 404
    assert (await daemon.call("GET", "/events?type=a%00b"))[0] < 500
    assert (await daemon.call("POST", "/endpoints", {"url": "http://127.0.0.1:9/\u0000"}))[0] < 500


@pytest.mark.parametrize(
    "name", ["Authorization: Bearer x", "X-Api-Key: x\r\nX-Api-Key: y", "Idempotency-Key: a\r\nIdempotency-Key: b"]
)
async def test_a_header_that_decides_something_must_not_come_twice(daemon: Daemon, name: str) -> None:
    answer = await raw(daemon, head(daemon, "/endpoints", f"{name}: x", f"{name}: y", "Content-Length: 2") + b"{}")
    assert answer.startswith(b"HTTP/1.1 400"), answer


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 2", "Content-Length: 3"],
        ["Content-Length: -1"],
        ["Content-Length: 2", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked, identity"],
        ["X-Bad\x00Name: 1"],
        ["X-Long: " + "a" * 20_000],
    ],
    ids=["two lengths", "negative", "length and chunks", "odd coding", "NUL in a name", "long header"],
)
async def test_a_request_that_can_be_read_in_two_ways_is_refused(daemon: Daemon, lines: list[str]) -> None:
    answer = await raw(daemon, head(daemon, "/endpoints", *lines) + b"{}")
    assert answer[9:12] == b"400" or answer == b"", answer


async def test_a_compressed_body_is_refused_before_it_is_opened(daemon: Daemon) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    answer = await raw(
        daemon, head(daemon, "/endpoints", "Content-Encoding: gzip", f"Content-Length: {len(bomb)}") + bomb
    )
    assert answer.startswith(b"HTTP/1.1 415"), answer


async def test_a_slow_body_is_given_up(daemon: Daemon) -> None:
    began = time.monotonic()
    answer = await raw(daemon, head(daemon, "/endpoints", "Content-Length: 100") + b'{"u')
    assert answer.startswith(b"HTTP/1.1 408"), answer
    assert time.monotonic() - began < 8


async def test_others_are_answered_while_many_are_slow(daemon: Daemon) -> None:
    """200 connections that never end their headers or their bodies."""
    slow = [await asyncio.open_connection("127.0.0.1", daemon.port) for _ in range(200)]
    for n, (_, writer) in enumerate(slow):
        writer.write(b"GET /health HT" if n % 2 else head(daemon, "/endpoints", "Content-Length: 100000") + b"{")
    waits = []
    async with aiohttp.ClientSession() as http:
        for _ in range(20):
            began = time.monotonic()
            async with http.get(daemon.url + "/health") as answer:
                assert answer.status == 200
            waits.append(time.monotonic() - began)
    for _, writer in slow:
        writer.close()
    assert sorted(waits)[10] < 0.5, waits


async def test_a_hundred_megabytes_are_refused_and_cost_no_memory(daemon: Daemon) -> None:
    assert daemon.process

    def resident() -> int:
        with open(f"/proc/{daemon.process.pid}/statm") as file:  # type: ignore[union-attr]
            return int(file.read().split()[1]) * 4096

    before = resident()
    reader, writer = await asyncio.open_connection("127.0.0.1", daemon.port)
    writer.write(head(daemon, "/endpoints", "Content-Length: 100000000"))
    answer = b""
    try:
        async with asyncio.timeout(20):
            for _ in range(1600):
                writer.write(b"x" * 62_500)
                await writer.drain()
            answer = await reader.read(65536)
    except ConnectionError:
        pass  # it stopped reading: that is right too
    finally:
        writer.close()
    assert answer == b"" or answer.startswith(b"HTTP/1.1 413"), answer
    assert resident() - before < 32 * 1024**2


async def test_the_problem_says_what_was_wrong_and_nothing_of_us(daemon: Daemon) -> None:
    _, problem = await daemon.call("POST", "/endpoints", b"{")
    assert "Traceback" not in json.dumps(problem)
    assert problem["title"] == "Bad Request"


@pytest.mark.parametrize("line", [b"Authorization: Bearer s3cr3t\x01", b"X: " + b"s3cr3t" * 9_000])
async def test_what_is_no_http_is_one_line_of_the_log_without_what_was_sent(daemon: Daemon, line: bytes) -> None:
    before = len(daemon.log_text())
    answer = await raw(daemon, b"GET /health HTTP/1.1\r\nHost: x\r\n" + line + b"\r\n\r\n")
    assert b" 400 " in answer.partition(b"\r\n")[0]
    await eventually(lambda: "request.malformed" in daemon.log_text()[before:])
    logged = daemon.log_text()[before:]
    assert "s3cr3t" not in logged
    assert "Traceback" not in logged


@pytest.mark.parametrize("path", ["/health", "/ready", "/connections", "/openapi.json", "/dashboard"])
async def test_head_is_get_without_the_body(daemon: Daemon, path: str) -> None:
    """Probes and `curl -I` ask so."""
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {daemon.key}"}) as http:
        async with http.get(daemon.url + path, allow_redirects=False) as whole, http.head(daemon.url + path) as asked:
            assert (asked.status, asked.content_type) == (whole.status, whole.content_type)
            assert await asked.read() == b""
        async with http.head(daemon.url + "/stream") as stream:
            assert stream.status == 405
