"""POSTs webhooks: to vetted addresses only, no redirects, no decompression, a bounded answer, one deadline for all.

Why not aiohttp's client: this runs several times per message, and a POST through that one costs two and a half times
the processor time (`tests/bench/client.py` measures both). Its shortcut for literal addresses, its redirects, cookies
and decompression would all have to be switched off, and what is left, one request and one answer, is small.
"""

import asyncio
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from zapd.records import record
from zapd.webhooks.connection import Connection, Dropped, Idle, converse, reach
from zapd.webhooks.failure import Failure, of_exception, of_status
from zapd.webhooks.guard import Blocked
from zapd.webhooks.http_answer import AnswerReader, BadAnswer
from zapd.webhooks.resolver import Resolver
from zapd.webhooks.target import Target, target_of
from zapd.webhooks.trust import trusted

CAPTURE = 16 * 1024  #: bytes of the answer's body that are kept
KEEP_IDLE = 4.0  #: seconds; common receivers close after 5
TIMEOUT = 30.0  #: seconds for name lookup, connect, request and the whole answer


@record
class Answer:
    """How a POST ended. `failure` is None when the receiver took it."""

    status: int | None
    body: bytes  #: the first 16 KiB
    retry_after: str | None  #: that header as it came
    duration_ms: int
    phases: dict[str, float]  #: dns, connect, tls, first_byte, read: milliseconds, those that were reached
    failure: Failure | None


@dataclass(slots=True)
class _Try:
    """A POST under way."""

    reader: AnswerReader
    tenant: str
    phases: dict[str, float] = field(default_factory=dict)

    def took(self, phase: str, since: float) -> float:
        """Note how long a phase lasted; returns the time now."""
        now = time.monotonic()
        self.phases[phase] = round((now - since) * 1000, 3)
        return now


class Client:
    """One per daemon, so that connections are shared. `close` it."""

    def __init__(self, *, resolver: Resolver, timeout: float = TIMEOUT, tls: ssl.SSLContext | None = None) -> None:
        self._resolver = resolver
        self._timeout = timeout
        self._tls = tls
        self._idle = Idle(keep=KEEP_IDLE)

    async def post(self, url: str, *, headers: Sequence[tuple[str, str]], body: bytes, tenant: str = "") -> Answer:
        """POST a JSON body. Never raises for what the receiver, its name or its network does.

        `headers` come on top of Host, Content-Type and Content-Length. Raises ValueError when one holds a line break
        or is not Latin-1; `endpoints.py` lets no user give such a one. Networks of `tenant` alone are open to it.
        """
        started = time.monotonic()
        this = _Try(AnswerReader(keep=CAPTURE), tenant)
        failure: Failure | None
        try:
            async with asyncio.timeout(self._timeout):
                target = target_of(url)
                await self._exchange(target, _request(target, headers, body), this)
            failure = of_status(this.reader.status)
        except (Blocked, BadAnswer, OSError) as error:
            failure = of_exception(error)
        return Answer(
            status=this.reader.status or None,
            body=bytes(this.reader.body),
            retry_after=this.reader.headers.get("retry-after"),
            duration_ms=round((time.monotonic() - started) * 1000),
            phases=this.phases,
            failure=failure,
        )

    def close(self) -> None:
        """Close the idle connections."""
        self._idle.close()

    async def _exchange(self, target: Target, request: bytes, this: _Try) -> None:
        connection = self._idle.take((this.tenant, *target.destination))
        if connection is not None:
            try:
                await self._use(connection, target, request, this)
                return
            except Dropped:
                if this.reader.started:
                    raise
                # The receiver closed an idle connection while we wrote: a new one, and no attempt is lost.
        await self._use(await self._connect(target, this), target, request, this)

    async def _use(self, connection: Connection, target: Target, request: bytes, this: _Try) -> None:
        written = time.monotonic()
        try:
            await connection.exchange(request, this.reader)
        finally:
            if connection.first_byte_at:
                this.phases["first_byte"] = round((connection.first_byte_at - written) * 1000, 3)
                this.took("read", connection.first_byte_at)
            if this.reader.done and this.reader.reusable and connection.usable:
                self._idle.put((this.tenant, *target.destination), connection)
            else:
                connection.abort()

    async def _connect(self, target: Target, this: _Try) -> Connection:
        began = time.monotonic()
        addresses = await self._resolver.addresses(target.host, tenant=this.tenant)
        resolved = this.took("dns", began)
        if target.tls and self._tls is None:
            self._tls = await asyncio.to_thread(trusted)  # reads some hundred certificates at first
        socket = await reach(addresses, target.port)
        connected = this.took("connect", resolved)
        made = await converse(socket, tls=self._tls if target.tls else None, name=target.host)
        if target.tls:
            this.took("tls", connected)
        return made


def _request(target: Target, headers: Sequence[tuple[str, str]], body: bytes) -> bytes:
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    if lines.count("\n") != len(headers) or lines.count("\r") != len(headers):
        raise ValueError("a header holds a line break")
    head = (
        f"POST {target.path} HTTP/1.1\r\nHost: {target.authority}\r\nUser-Agent: zapd\r\nAccept-Encoding: identity\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
    )
    return head.encode("latin-1") + body
