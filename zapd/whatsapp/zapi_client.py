"""Calls to Z-API for one instance, and how they fail. Its secrets are in the path: no URL may reach a log.

A file goes as a data URI inside the JSON. It is read and encoded piece by piece while the request is written, so that
a large one is never in memory.
"""

import asyncio
import base64
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import orjson

from zapd.whatsapp.transport import MediaFile, RetryAt, UnknownOutcome
from zapd.whatsapp.zapi_errors import error_of

Json = dict[str, Any]

MAX_ANSWER = 256 * 1024  #: bytes of an answer that are read; a QR code as a picture is the largest
#: Seconds for a whole call, and for the part in which nothing is written yet.
TIMEOUT = aiohttp.ClientTimeout(total=50.0, connect=10.0)
PIECE = 3 * 64 * 1024  #: bytes of a file at once; a multiple of 3, so that pieces of base64 can be joined


class ZapiClient:
    """Calls of one instance."""

    def __init__(
        self,
        *,
        http: aiohttp.ClientSession,
        base_url: str,
        instance_id: str,
        instance_token: str,
        client_token: str,
    ) -> None:
        self._http = http
        self._url = f"{base_url.rstrip('/')}/instances/{instance_id}/token/{instance_token}"
        self._headers = {"Client-Token": client_token, "Content-Type": "application/json"}

    async def call(
        self,
        method: str,
        operation: str,
        body: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        """The decoded answer, or its text when it is no JSON. Raises a SendError.

        A value of `body` may be a MediaFile.
        """
        headers, data = self._headers, None
        if body is not None:
            data, length = _encoded(body)
            headers = headers | {"Content-Length": str(length)}
        try:
            async with self._http.request(
                method,
                f"{self._url}/{operation}",
                params=query,
                data=data,
                headers=headers,
                timeout=TIMEOUT,
                allow_redirects=False,
            ) as answer:
                raw = await _read(answer)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise RetryAt("unreachable", type(error).__name__) from None  # its text and context hold the URL
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnknownOutcome("no_answer", type(error).__name__) from None
        return _judged(answer.status, raw, answer.headers.get("Retry-After"), informative=operation == "status")


def _judged(status: int, raw: bytes, retry_after: str | None, *, informative: bool) -> Any:
    """`informative`: the `error` in a good answer tells how things are, also when they are well."""
    try:
        answer: Any = orjson.loads(raw)
    except ValueError:
        answer = raw.decode(errors="replace")
    told = answer if isinstance(answer, dict) else {}
    said = told.get("error") or (told.get("message") if status // 100 != 2 else None)
    if status // 100 == 2 and (informative or not said):
        return answer
    text = str(said or f"HTTP {status}")[:500]
    code = told.get("errorCode")
    raise error_of(text, code=str(code) if code else None, status=status, retry_after=retry_after)


def _encoded(body: Mapping[str, Any]) -> tuple[AsyncIterator[bytes], int]:
    """The body piece by piece, and its length."""
    files = {key: value for key, value in body.items() if isinstance(value, MediaFile)}
    marks = {key: f"file:{uuid.uuid4().hex}" for key in files}
    text = orjson.dumps({**body, **marks})
    pieces: list[bytes | MediaFile] = [text]
    for key, file in files.items():
        last = pieces.pop()
        assert isinstance(last, bytes)
        before, after = last.split(marks[key].encode())
        pieces += [before + f"data:{file.mime};base64,".encode(), file, after]
    length = sum(len(piece) if isinstance(piece, bytes) else (piece.size + 2) // 3 * 4 for piece in pieces)
    return _written(pieces), length


async def _written(pieces: list[bytes | MediaFile]) -> AsyncIterator[bytes]:
    for piece in pieces:
        if isinstance(piece, bytes):
            yield piece
            continue
        file = await asyncio.to_thread(piece.path.open, "rb")
        try:
            while part := await asyncio.to_thread(file.read, PIECE):
                yield base64.b64encode(part)
        finally:
            await asyncio.to_thread(file.close)


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) >= MAX_ANSWER:
            break
    return bytes(body)
