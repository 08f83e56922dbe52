"""A webhook receiver that costs next to nothing: counts POSTs by event type, answers 204. `GET /` gives the counts."""

import asyncio
import json
from collections import Counter
from typing import cast

import uvloop

counts: Counter[str] = Counter()


class Sink(asyncio.Protocol):
    """One connection; requests come whole or in pieces, one after the other."""

    def __init__(self) -> None:
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._write = cast(asyncio.Transport, transport).write  # uvloop's own is no subclass of it

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(b"\r\n\r\n")) >= 0:
            head = self._data[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._data) < end + 4 + length:
                return
            self._data = self._data[end + 4 + length :]
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        write = self._write
        if head.startswith(b"get"):
            body = json.dumps(counts).encode()
            write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            return
        at = head.find(b"x-zaphub-event:")
        counts[head[at + 15 :].split(b"\r\n", 1)[0].strip().decode()] += 1
        write(b"HTTP/1.1 204 No Content\r\n\r\n")


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
