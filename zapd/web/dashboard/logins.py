"""Logins: a key is pasted once, the browser then carries a cookie. Only the cookie's hash is stored."""

import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import Protocol

from zapd.model.access import ApiKey
from zapd.store.commands import Change
from zapd.store.logins import Login
from zapd.web.keyring import Commit, Keyring

LIFE = 7 * 86_400_000  #: milliseconds after which the key must be pasted again
SEEN_EVERY = 300_000  #: milliseconds between two writes of a login's last use


class LoginRows(Protocol):
    """What logins need of the store."""

    def added(self, login: Login) -> Change: ...
    def seen(self, tenant: str, digest: bytes, at: int) -> Change: ...
    def ended(self, tenant: str, digest: bytes) -> Change: ...
    async def by_hash(self, digest: bytes) -> Login | None: ...


class Logins:
    """Opens, finds and ends logins. `idle`: milliseconds without use after which one is over."""

    def __init__(
        self,
        *,
        rows: LoginRows,
        keyring: Keyring,
        commit: Commit,
        random_bytes: Callable[[int], bytes],
        now_ms: Callable[[], int],
        idle: int,
    ) -> None:
        self._rows = rows
        self._keyring = keyring
        self._commit = commit
        self._random_bytes = random_bytes
        self._now_ms = now_ms
        self._idle = idle

    async def open(self, key: ApiKey) -> str:
        """A cookie for this key."""
        cookie = base64.urlsafe_b64encode(self._random_bytes(32)).rstrip(b"=").decode()
        now = self._now_ms()
        login = Login(tenant=key.tenant, hash=_digest(cookie), key_id=key.id, created_at=now, seen_at=now)
        await self._commit(self._rows.added(login))
        return cookie

    async def find(self, cookie: str) -> ApiKey | None:
        """The live key behind a cookie. None: log in again."""
        login = await self._rows.by_hash(_digest(cookie))
        now = self._now_ms()
        if login is None or now - login.seen_at > self._idle or now - login.created_at > LIFE:
            return None
        key = await self._keyring.get(login.tenant, login.key_id)
        if key is None or not key.live(now):
            return None
        if now - login.seen_at > SEEN_EVERY:
            await self._commit(self._rows.seen(login.tenant, login.hash, now))
        return key

    async def end(self, tenant: str, cookie: str) -> None:
        """The cookie opens nothing any more."""
        await self._commit(self._rows.ended(tenant, _digest(cookie)))


def form_token(cookie: str) -> str:
    """What a form of this login must carry: another site can neither read nor guess it."""
    return hmac.new(cookie.encode(), b"form", hashlib.sha256).hexdigest()


def _digest(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode(errors="surrogateescape")).digest()
