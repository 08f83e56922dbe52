"""Calls to Meta's Graph API with one connection's token, and how they fail. Source: wire facts §1.1, §1.5."""

from collections.abc import Mapping
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
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        data = orjson.dumps(json) if json is not None else None
        try:
            async with self._http.request(
                method,
                f"{self._base_url}/{path}",
                params=query,
                data=data,
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
            ) as answer:
                body = await _read(answer)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise RetryAt("unreachable", type(error).__name__) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise UnknownOutcome("no_answer", type(error).__name__) from error
        if answer.status // 100 == 2:
            return body
        raise to_error(to_problem(answer.status, body, answer.headers.get("Retry-After")))


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) >= MAX_ANSWER:
            break
    return bytes(body)
