"""Who calls, and may they: key, scope, bound connection, pace.

Wrong keys are slowed per address. A right one is never slowed by somebody else's wrong guesses, so nobody can lock out
the users of a shared address (a proxy). Guessing 256 random bits is hopeless at any pace.
"""

from collections.abc import Awaitable, Callable, Collection
from ipaddress import IPv4Network, IPv6Network, ip_address

from aiohttp import web

from zapd.errors import Forbidden, NotFound, Unauthorized
from zapd.model.access import ApiKey, Scope
from zapd.web.keyring import Keyring
from zapd.web.limits import Pace
from zapd.web.problems import PaceExceeded
from zapd.web.route import Route

_KEY = web.RequestKey("key", ApiKey)  #: where the request carries its key


class Access:
    """The door. `per_key`, `per_tenant` and `per_address` pace all requests, `wrong_keys` only the failed ones.

    `denied` hears of each request without a live key: (request, address).
    """

    def __init__(
        self,
        *,
        keyring: Keyring,
        per_key: Pace,
        per_tenant: Pace,
        per_address: Pace,
        wrong_keys: Pace,
        denied: Callable[[web.Request, str], Awaitable[None]],
        trusted_proxies: Collection[IPv4Network | IPv6Network] = (),
    ) -> None:
        self._keyring = keyring
        self._per_key = per_key
        self._per_tenant = per_tenant
        self._denied = denied
        self._per_address = per_address
        self._wrong_keys = wrong_keys
        self._trusted_proxies = trusted_proxies

    async def admit(self, request: web.Request, route: Route) -> None:
        """Let the request in and note its key. Raises Unauthorized, Forbidden or PaceExceeded."""
        address = self.address_of(request)
        _keep_pace(self._per_address, address, "ip")
        if route.scope is None:
            return
        token = _token(request)
        key = self._keyring.remembered(token) if token else None
        if key is None:
            key = await self._find(request, token, address)
        _keep_pace(self._per_key, key.id, "key", key.rate_per_minute)
        _keep_pace(self._per_tenant, key.tenant, "tenant")
        if route.operator and not key.operates:
            raise Forbidden("this belongs to who operates the daemon")
        _check(key, request, route.scope, bound=route.bound)
        request[_KEY] = key

    async def key_behind(self, request: web.Request, token: str) -> ApiKey:
        """The live key of a token that was pasted into a form. Raises Unauthorized or PaceExceeded."""
        return await self._find(request, token, self.address_of(request))

    async def _find(self, request: web.Request, token: str, address: str) -> ApiKey:
        key = await self._keyring.find(token) if token else None
        if key is not None:
            return key
        if wait := self._wrong_keys.wait(address):
            raise PaceExceeded("too many wrong keys", retry_after=wait, limit=self._wrong_keys.burst, scope="ip")
        self._wrong_keys.take(address)
        await self._denied(request, address)
        raise Unauthorized()

    def address_of(self, request: web.Request) -> str:
        """The caller's address; behind trusted proxies, the nearest one in X-Forwarded-For that is not such a proxy."""
        peer = request.remote or ""
        if not self._trusted_proxies or not self._trusts(peer):
            return peer
        for hop in reversed(",".join(request.headers.getall("X-Forwarded-For", ())).split(",")):
            if hop.strip() and not self._trusts(hop.strip()):
                return hop.strip()
        return peer

    def _trusts(self, address: str) -> bool:
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._trusted_proxies)


def admit_as(request: web.Request, key: ApiKey, scope: Scope, *, operator: bool) -> None:
    """Let a request in that shows its key otherwise. Raises Forbidden, NotFound."""
    if operator and not key.operates:
        raise Forbidden("this belongs to who operates the daemon")
    _check(key, request, scope, bound=True)
    request[_KEY] = key


def key_of(request: web.Request) -> ApiKey:
    """The key that was let in."""
    return request[_KEY]


def key_if_any(request: web.Request) -> ApiKey | None:
    """The key that was let in, if one was asked for."""
    return request.get(_KEY)


def visible(request: web.Request, connection_id: str | None) -> bool:
    """Whether the caller's key may see a thing of this connection."""
    bound = key_of(request).connection_id
    return bound is None or bound == connection_id


def only_connection(request: web.Request, asked: str | None) -> str | None:
    """The connection to which a list is narrowed: a bound key sees its own only. Raises Forbidden."""
    bound = key_of(request).connection_id
    if bound is not None and asked not in (None, bound):
        raise Forbidden("this key is bound to another connection")
    return bound or asked


def _token(request: web.Request) -> str:
    header = request.headers.get("Authorization")
    if not header:  # none, or one that a client library left empty
        return request.headers.get("X-Api-Key", "")
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _keep_pace(pace: Pace, caller: str, scope: str, per_minute: int | None = None) -> None:
    wait = pace.take(caller, per_minute)
    if wait:
        raise PaceExceeded(retry_after=wait, limit=per_minute or pace.burst, scope=scope)


def _check(key: ApiKey, request: web.Request, scope: Scope, *, bound: bool) -> None:
    """`bound`: a key that is bound to one connection may come in, the handler looks at whose thing it is."""
    if not key.allows(scope):
        raise Forbidden(f"this needs a key with the scope {scope}")
    named = request.match_info.get("connection")
    if key.connection_id is None or named == key.connection_id:
        return
    if named is not None:
        raise NotFound(f"there is no connection {named}")  # the same as for one that is not there
    if not bound:
        raise Forbidden("a key bound to one connection cannot do this")
