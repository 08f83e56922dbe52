"""How zapd proves to a target who it is: a key, a token, a signature, or OAuth 2 client credentials."""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol
from urllib.parse import urlencode

import orjson

from zapd.config.hub import ApiKeyAuth, BasicAuth, BearerAuth, HmacAuth, NoAuth, OAuth2Auth
from zapd.events.verify import hmac_text

EARLY = 30.0  #: seconds before its end at which a token is renewed
USUAL = 300.0  #: seconds that a token without `expires_in` is used

Auth = NoAuth | ApiKeyAuth | BearerAuth | BasicAuth | OAuth2Auth | HmacAuth


class Answered(Protocol):
    """What the request of a token brings back."""

    @property
    def status(self) -> int: ...
    @property
    def body(self) -> bytes: ...


Request = Callable[[str, str, Mapping[str, str], bytes | None], Awaitable[Answered]]


class SignIn:
    """For one target. A token is fetched once for all who wait for it."""

    def __init__(self, auth: Auth, *, clock: Callable[[], float]) -> None:
        self._auth = auth
        self._clock = clock
        self._token = ""
        self._until = 0.0
        self._fetching = asyncio.Lock()

    async def headers(self, body: bytes, request: Request) -> dict[str, str]:
        """What a call with this body must carry. Raises ValueError when no token is to be had."""
        match self._auth:
            case ApiKeyAuth(header=header, key=key):
                return {header: key}
            case BearerAuth(token=token):
                return {"Authorization": f"Bearer {token}"}
            case BasicAuth(username=username, password=password):
                return {"Authorization": f"Basic {_base64(f'{username}:{password}')}"}
            case HmacAuth() as h:
                made = hmac_text(h.secret.encode(), body, algorithm=h.algorithm, encoding=h.encoding)
                return {h.header: h.prefix + made}
            case OAuth2Auth() as oauth:
                return {"Authorization": f"Bearer {await self._oauth(oauth, request)}"}
        return {}

    def forget(self) -> bool:
        """The target refused the token. True: another one can be fetched."""
        had = bool(self._token)
        self._token = ""
        return had

    async def _oauth(self, auth: OAuth2Auth, request: Request) -> str:
        async with self._fetching:
            if not self._token or self._clock() >= self._until:
                await self._fetch(auth, request)
            return self._token

    async def _fetch(self, auth: OAuth2Auth, request: Request) -> None:
        form = {"grant_type": "client_credentials", "scope": auth.scope, "audience": auth.audience}
        body = urlencode({name: value for name, value in form.items() if value}).encode()
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
            "Authorization": f"Basic {_base64(f'{auth.client_id}:{auth.client_secret}')}",
        }
        answer = await request("POST", auth.token_url, headers, body)
        try:
            found: Any = orjson.loads(answer.body) if answer.status == 200 else {}
            token, lasts = found["access_token"], float(found.get("expires_in", USUAL))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
            raise ValueError(f"the token server answered {answer.status} without a token") from None
        self._token, self._until = str(token), self._clock() + max(0.0, lasts - EARLY)


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
