"""Fetches the file that a message names by URL: from vetted addresses only, as webhooks go out, and bounded.

A redirect is followed a few times, each hop vetted anew. The connector asks the same resolver, so the address that was
judged is the one that is connected to.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from zapd.errors import FieldError, InvalidInput
from zapd.webhooks.guard import Blocked
from zapd.webhooks.resolver import Resolver
from zapd.webhooks.target import target_of
from zapd.webhooks.trust import trusted

MAX_REDIRECTS = 3


@dataclass(frozen=True)
class Found:
    """A file on its way."""

    mime: str | None  #: as the server says
    filename: str | None
    chunks: AsyncIterator[bytes]


class Vetted(AbstractResolver):
    """zapd's own resolver, in the form that aiohttp asks for."""

    def __init__(self, *, resolver: Resolver) -> None:
        self._resolver = resolver

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_UNSPEC) -> list[ResolveResult]:
        """The vetted addresses of a name, of both families. Raises OSError, also for one that is refused."""
        del family
        try:
            addresses = await self._resolver.addresses(host)
        except Blocked as error:
            raise OSError(None, str(error)) from error
        return [_result(host, port, address) for address in addresses]

    async def close(self) -> None:
        """The resolver belongs to somebody else."""


class Fetcher:
    """GETs files. `open` and `close` it; `at_once` bounds the fetches."""

    def __init__(self, *, resolver: Resolver, timeout: float, at_once: int) -> None:
        self._resolver = resolver
        self._timeout = timeout
        self._turns = asyncio.Semaphore(at_once)
        self._http: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def get(self, url: str, *, field: str) -> AsyncIterator[Found]:
        """The file at a URL. Raises InvalidInput, naming `field`, for everything that the URL's owner can do wrong.

        The deadline counts from the turn, and for the reading inside of this context too.
        """
        try:
            async with self._turns, asyncio.timeout(self._timeout), await self._answer(url) as answer:
                if answer.status != 200:
                    raise Blocked(f"answers with HTTP {answer.status}")
                yield Found(
                    mime=answer.headers.get("Content-Type"),
                    filename=_filename(answer),
                    chunks=answer.content.iter_any(),
                )
        except TimeoutError:
            raise InvalidInput(FieldError(field, f"was not fetched within {self._timeout:g} s")) from None
        except Blocked as error:
            raise InvalidInput(FieldError(field, str(error))) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise InvalidInput(FieldError(field, f"cannot be fetched: {_said(error)}")) from None

    async def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.close()

    async def _answer(self, url: str) -> aiohttp.ClientResponse:
        for _ in range(MAX_REDIRECTS + 1):
            # A literal address is connected to without asking the resolver, so it is vetted here.
            await self._resolver.addresses(target_of(url).host)
            answer = await self._session().get(URL(url, encoded=True), allow_redirects=False)
            if answer.status not in (301, 302, 303, 307, 308):
                return answer
            answer.close()
            url = str(URL(url).join(URL(answer.headers.get("Location", ""))))
        raise Blocked(f"redirects more than {MAX_REDIRECTS} times")

    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:  # made at the first use: it needs the running loop
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    ssl=trusted(), resolver=Vetted(resolver=self._resolver), use_dns_cache=False
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "zapd", "Accept-Encoding": "identity", "Accept": "*/*"},
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None),
            )
        return self._http


def _result(host: str, port: int, address: str) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(
        hostname=host, host=address, port=port, family=family, proto=0, flags=int(socket.AI_NUMERICHOST)
    )


def _filename(answer: aiohttp.ClientResponse) -> str | None:
    disposition: Any = answer.content_disposition
    name = (disposition.filename if disposition else None) or answer.url.name
    return name.rpartition("/")[2][:240] or None


def _said(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error.__cause__, Blocked):
        return str(error.os_error.__cause__)
    return type(error).__name__
