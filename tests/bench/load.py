"""A load generator for HTTP/1.1 on loopback, cheap enough to share two cores with the server that it measures.

Requests are made before the clock starts; each connection keeps one request under way; answers are only scanned for
their status and length. Run it in a process of its own: `python -m tests.bench.load URL --body … --seconds 5`.
"""

import argparse
import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import repeat
from typing import cast
from urllib.parse import urlsplit

import uvloop


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a run showed. Latencies in milliseconds."""

    requests: int
    seconds: float
    per_second: float
    p50: float
    p90: float
    p99: float
    worst: float
    statuses: dict[int, int]


class _Connection(asyncio.Protocol):
    """One keep-alive connection with one request under way. `take` gives the next request, None at the end."""

    def __init__(self, *, take: Callable[[], bytes | None], seen: Callable[[int, float], None]) -> None:
        self._take = take
        self._seen = seen
        self._left = -1  #: bytes of the body that are still to come; -1: the head is not complete
        self._head = b""
        self._status = 0
        self._sent_at = 0.0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is no subclass of it
        self._next()

    def data_received(self, data: bytes) -> None:
        if self._left < 0:
            data = self._head + data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._head = data
                return
            self._status = int(data[9:12])
            self._left, self._head = _length(data[:end]) + end + 4, b""
        self._left -= len(data)
        if self._left == 0:
            self._left = -1
            self._seen(self._status, time.perf_counter() - self._sent_at)
            self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(error or ConnectionResetError("the server closed the connection"))

    def _next(self) -> None:
        request = self._take()
        if request is None:
            self.ended.set_result(None)
            self._transport.close()
            return
        self._sent_at = time.perf_counter()
        self._transport.write(request)


async def run(*, url: str, requests: Iterator[bytes], connections: int, seconds: float) -> Result:
    """Send requests for that long. An exhausted iterator ends the run earlier. Raises when a connection breaks."""
    where = urlsplit(url)
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    begun = time.perf_counter()
    end = begun + seconds

    def take() -> bytes | None:
        return next(requests, None) if time.perf_counter() < end else None

    def seen(status: int, latency: float) -> None:
        statuses[status] += 1
        latencies.append(latency)

    loop = asyncio.get_running_loop()
    host, port = where.hostname or "127.0.0.1", where.port or 80
    opened = [
        await loop.create_connection(lambda: _Connection(take=take, seen=seen), host, port) for _ in range(connections)
    ]
    await asyncio.gather(*[protocol.ended for _, protocol in opened])
    return _result(latencies, statuses, time.perf_counter() - begun)


def request(method: str, url: str, body: bytes, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """The bytes of one request."""
    where = urlsplit(url)
    path = where.path + (f"?{where.query}" if where.query else "")
    lines = [f"{method} {path} HTTP/1.1", f"Host: {where.netloc}", f"Content-Length: {len(body)}"]
    lines += ["Content-Type: application/json", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _length(head: bytes) -> int:
    at = head.lower().find(b"\r\ncontent-length:")
    if at < 0:
        return 0
    return int(head[at + 17 :].split(b"\r\n", 1)[0])


def _result(latencies: list[float], statuses: Counter[int], seconds: float) -> Result:
    latencies.sort()
    count = len(latencies)

    def percentile(share: float) -> float:
        return round(latencies[min(count - 1, int(count * share))] * 1000, 3) if count else 0.0

    return Result(
        requests=count,
        seconds=round(seconds, 3),
        per_second=round(count / seconds, 1),
        p50=percentile(0.5),
        p90=percentile(0.9),
        p99=percentile(0.99),
        worst=percentile(1.0),
        statuses=dict(statuses),
    )


def main() -> None:
    """Print the result as one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--method", default="POST")
    parser.add_argument("--body", default="")
    parser.add_argument("--header", action="append", default=[], help="Name: value")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    given = parser.parse_args()
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in given.header)]
    one = request(given.method, given.url, given.body.encode(), headers)
    result = uvloop.run(run(url=given.url, requests=repeat(one), connections=given.connections, seconds=given.seconds))
    print(json.dumps(asdict(result)))


if __name__ == "__main__":
    main()
