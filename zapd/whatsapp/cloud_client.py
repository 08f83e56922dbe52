"""Calls to Meta's Graph API with one connection's token, and how they fail. Source: wire facts §1.1, §1.5."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from zapd.whatsapp.cloud_errors import to_error, to_problem
from zapd.whatsapp.transport import RetryAt, UnknownOutcome

Json = dict[str, Any]

MAX_ANSWER = 64 * 1024  #: bytes of an answer that are read


class CloudClient:
    """`timeout` bounds a whole call, `connect_timeout` the part in which nothing is written yet."""

    def __init__(
        self,
        *,
        http: aiohttp.ClientSession,
        base_url: str,
        token: str,
        timeout: float = 30.0,
        connect_timeout: float = 10.0,
    ) -> None:
        self._http = http
        self._base_url = base_url.rstrip("/")
        self._token = token
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=connect_timeout)

    async def call(
        self, method: str, path: str, *, json: Json | None = None, query: Mapping[str, str] | None = None
    ) -> bytes:
        """The body of a good answer. Raises a SendError."""
        data = orjson.dumps(json) if json is not None else None
        headers = {"Content-Type": "application/json"}
        async with self._asked(method, f"{self._base_url}/{path}", params=query, data=data, headers=headers) as answer:
            return await _read(answer, MAX_ANSWER)

    async def upload(
        self, path: str, *, fields: Mapping[str, str], file: Path, mime: str, filename: str, timeout: float
    ) -> bytes:
        """POST a file as a form. Raises a SendError, or FileNotFoundError."""
        form = aiohttp.FormData(dict(fields))
        with await asyncio.to_thread(file.open, "rb") as content:
            form.add_field("file", content, content_type=mime, filename=filename)
            deadline = self._deadline(timeout)
            async with self._asked("POST", f"{self._base_url}/{path}", data=form, timeout=deadline) as answer:
                return await _read(answer, MAX_ANSWER)

    async def stream(self, url: str, *, timeout: float) -> AsyncIterator[bytes]:
        """The content at a URL that Meta gave. Raises a SendError."""
        # A browser's agent is said to be refused there, and none at all too.
        headers = {"User-Agent": "zapd", "Accept-Encoding": "identity"}
        async with self._asked("GET", url, headers=headers, timeout=self._deadline(timeout)) as answer:
            async for chunk in answer.content.iter_any():
                yield chunk

    @asynccontextmanager
    async def _asked(self, method: str, url: str, **more: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """A good answer, whose body may be read inside."""
        headers = {"Authorization": f"Bearer {self._token}", **more.pop("headers", {})}
        given = {"timeout": self._timeout, "allow_redirects": False, **more}
        try:
            async with self._http.request(method, url, headers=headers, **given) as answer:
                if answer.status // 100 != 2:
                    body = await _read(answer, MAX_ANSWER)
                    raise to_error(to_problem(answer.status, body, answer.headers.get("Retry-After")))
                yield answer
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise RetryAt("unreachable", type(error).__name__) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnknownOutcome("no_answer", type(error).__name__) from error

    def _deadline(self, total: float) -> aiohttp.ClientTimeout:
        return aiohttp.ClientTimeout(total=total, connect=self._timeout.connect)


async def _read(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) >= limit:
            break
    return bytes(body)
