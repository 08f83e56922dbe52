"""Named HTTP systems: vetted addresses, kept connections, sign-in, a rate, a breaker, and how they are doing.

Who may be called is decided by the same guard as for webhooks: every new connection goes to an address that was vetted
for it, and a literal address in the URL is judged at every call. Redirects are not followed.
"""

import asyncio
import json
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import unquote

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from zapd.config.hub import TargetSpec
from zapd.events.acting import ActionFailed
from zapd.events.breaker import Breaker
from zapd.events.metrics import HubMetrics
from zapd.events.registry import Registry
from zapd.events.sign_in import SignIn
from zapd.model.hub import DefinitionKind
from zapd.webhooks.guard import Blocked
from zapd.webhooks.resolver import Resolver
from zapd.webhooks.retry_after import seconds_of
from zapd.webhooks.target import target_of
from zapd.webhooks.trust import trusted

MAX_ANSWER = 4 * 1024 * 1024  #: bytes that are read of an answer
KEPT_ANSWER = 2_000  #: bytes of an answer that are kept
IDLE_CONNECTION = 15.0  #: seconds

Take = Callable[[str], float]


class CallFailed(ActionFailed):
    """The target did not take it. `answer` is the beginning of what it said; the message holds nothing of it."""


@dataclass(frozen=True, slots=True)
class TargetAnswer:
    """What a target said."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Health:
    """How a target is doing, as this daemon sees it."""

    calls: int = 0
    failures: int = 0
    last_ok_at: int | None = None
    last_error: str | None = None
    last_error_at: int | None = None


@dataclass
class _Place:
    """What is remembered of one target, as long as its definition stays the same."""

    tenant: str
    spec: TargetSpec
    breaker: Breaker
    slots: asyncio.Semaphore
    pace: Take | None
    sign_in: SignIn
    health: Health = field(default_factory=Health)


class _Vetted(AbstractResolver):
    """Gives aiohttp the addresses that the guard let pass for a tenant."""

    def __init__(self, resolver: Resolver, tenant: str) -> None:
        self._resolver = resolver
        self._tenant = tenant

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002  # aiohttp's signature; we give all families
    ) -> list[ResolveResult]:
        found = await self._resolver.addresses(host, tenant=self._tenant)
        return [
            ResolveResult(hostname=host, host=address, port=port, family=_family(address), proto=0, flags=0)
            for address in found
        ]

    async def close(self) -> None:
        """The resolver is not ours."""


class Targets:
    """Calls targets by name. `close` it."""

    def __init__(
        self,
        *,
        registry: Registry,
        resolver: Resolver,
        new_pace: Callable[[float], Take],
        now_ms: Callable[[], int],
        metrics: HubMetrics,
    ) -> None:
        self._registry = registry
        self._resolver = resolver
        self._new_pace = new_pace
        self._now_ms = now_ms
        self._metrics = metrics
        self._http: dict[str, aiohttp.ClientSession] = {}  # by tenant: each may reach networks of its own
        self._places: dict[tuple[str, str], _Place] = {}

    async def close(self) -> None:
        """Close the connections."""
        for session in self._http.values():
            await session.close()

    def health(self, tenant: str, name: str) -> tuple[Health, bool]:
        """How it is doing, and whether its breaker is open."""
        place = self._places.get((tenant, name))
        return (place.health, place.breaker.open) if place else (Health(), False)

    async def check(self, tenant: str, name: str) -> int:
        """Call its health path now; returns the status. Raises CallFailed."""
        spec = self._registry.target(tenant, name)
        path = spec.health if spec else ""
        return (await self.call(tenant, name, "GET", path, body=None, headers={}, probe=True)).status

    async def call(
        self,
        tenant: str,
        name: str,
        method: str,
        path: str,
        *,
        body: bytes | None,
        headers: Mapping[str, str],
        probe: bool = False,
    ) -> TargetAnswer:
        """One call; a 2xx answer. Raises CallFailed. A `probe` goes through although the breaker is open."""
        place = self._place(tenant, name)
        if not probe and (wait := place.breaker.blocked()):
            raise CallFailed(f"target {name} is failing: its breaker is open", after=wait, counts=False)
        if place.pace is not None and (wait := place.pace(name)):
            place.breaker.abandoned()
            raise CallFailed(f"target {name} is at its rate", after=wait, counts=False)
        try:
            async with place.slots:
                answer = await self._signed_in(place, method, path, body, headers)
        except CallFailed as error:
            self._failed(name, place, error)
            raise
        except BaseException:
            place.breaker.abandoned()
            raise
        place.breaker.told(ok=True)
        place.health.calls += 1
        place.health.last_ok_at = self._now_ms()
        self._metrics.target_up.labels(name).set(1)
        return answer

    def _failed(self, name: str, place: _Place, error: CallFailed) -> None:
        if error.final:
            place.breaker.abandoned()  # it answers: what we sent was wrong
        else:
            place.breaker.told(ok=False)
        place.health.calls += 1
        place.health.failures += 1
        place.health.last_error, place.health.last_error_at = str(error), self._now_ms()
        self._metrics.target_up.labels(name).set(not place.breaker.open)

    async def _signed_in(
        self, place: _Place, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> TargetAnswer:
        answer = await self._once(place, method, path, body, headers)
        if answer.status == 401 and place.sign_in.forget():  # a token that ended early: once more with a new one
            answer = await self._once(place, method, path, body, headers)
        if 200 <= answer.status < 300:
            return answer
        raise _refused(answer, self._now_ms())

    async def _once(
        self, place: _Place, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> TargetAnswer:
        spec = place.spec
        try:
            url = url_of(spec.base_url, path)
        except ValueError as error:
            raise CallFailed(str(error), final=True) from None
        try:
            async with asyncio.timeout(spec.timeout):
                request = partial(self._request, place.tenant)
                try:
                    signed = await place.sign_in.headers(body or b"", request)
                except ValueError as error:
                    raise CallFailed(str(error)) from None
                kind = {"Content-Type": "application/json"} if body is not None else {}
                sent = {**kind, **spec.headers, **headers, **signed}
                return await request(method, url, sent, body)
        except Blocked as error:
            raise CallFailed(f"the address is refused: {error}") from None
        except TimeoutError:
            raise CallFailed(f"no answer within {spec.timeout:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise CallFailed(f"the call failed: {type(error).__name__}") from None

    async def _request(
        self, tenant: str, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> TargetAnswer:
        # aiohttp asks no resolver about a literal address
        await self._resolver.addresses(target_of(url).host, tenant=tenant)
        async with self._session(tenant).request(
            method, url, headers=dict(headers), data=body, allow_redirects=False
        ) as response:
            content = bytearray()
            async for chunk in response.content.iter_chunked(65_536):
                content += chunk
                if len(content) > MAX_ANSWER:
                    raise CallFailed(f"the answer is larger than {MAX_ANSWER} bytes", final=True)
            low = {name.lower(): value for name, value in response.headers.items()}
            return TargetAnswer(response.status, low, bytes(content))

    def _session(self, tenant: str) -> aiohttp.ClientSession:
        if tenant not in self._http:
            connector = aiohttp.TCPConnector(
                ssl=trusted(),
                resolver=_Vetted(self._resolver, tenant),
                use_dns_cache=False,
                limit=200,
                keepalive_timeout=IDLE_CONNECTION,
            )
            self._http[tenant] = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), headers={"User-Agent": "zapd"}
            )
        return self._http[tenant]

    def _place(self, tenant: str, name: str) -> _Place:
        entry = self._registry.get(tenant, DefinitionKind.TARGET, name)
        spec = self._registry.target(tenant, name)
        if entry is None or spec is None:
            raise CallFailed(f"there is no target {name}", final=True)
        place = self._places.get((tenant, name))
        if place is None or place.spec != spec:
            place = self._places[tenant, name] = _Place(
                tenant=tenant,
                spec=spec,
                breaker=Breaker(failures=spec.breaker_failures, wait=spec.breaker_wait, clock=time.monotonic),
                slots=asyncio.Semaphore(spec.concurrency),
                pace=self._new_pace(spec.rate) if spec.rate else None,
                sign_in=SignIn(spec.auth, clock=time.monotonic),
            )
        return place


def url_of(base: str, path: str) -> str:
    """The URL of a path below the base, which it cannot leave. Raises ValueError."""
    if ".." in unquote(path.partition("?")[0]).replace("\\", "/").split("/"):
        raise ValueError("the path leads out of the target")
    return base if not path else f"{base}/{path.lstrip('/')}"


def _refused(answer: TargetAnswer, now_ms: int) -> CallFailed:
    error, said = f"answered {answer.status}", answer.body[:KEPT_ANSWER]
    if 300 <= answer.status < 400:
        return CallFailed(f"{error} (redirects are not followed: change base_url)", final=True, answer=said)
    after = seconds_of(answer.headers.get("retry-after"), now_ms=now_ms)
    final = 400 <= answer.status < 500 and answer.status not in (401, 403, 404, 408, 409, 421, 425, 429)
    return CallFailed(error, after=after, final=final, answer=said)


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def body_of(payload: Mapping[str, Any]) -> tuple[bytes, dict[str, str]]:
    """The body that a rendered `deliver` sends, with its type."""
    if "text" in payload:
        return payload["text"].encode(), {"Content-Type": "text/plain; charset=utf-8"}
    return json.dumps(payload["json"], ensure_ascii=False, separators=(",", ":")).encode(), {}
