"""API keys: made, looked up, revoked. A key leaves this file in clear exactly once, when it is made."""

import base64
import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from zapd.errors import Conflict, NotFound
from zapd.ids import Ids
from zapd.model.access import ApiKey, Scope
from zapd.store.commands import Change, Row

REMEMBERED = 5.0  #: seconds a found key is believed; how long a revocation by another daemon takes to arrive
MAX_REMEMBERED = 10_000
USE_NOTED_EVERY = 60_000  #: milliseconds between two writes of a key's last use
SECRET_BYTES = 32


class KeyRows(Protocol):
    """What the keyring needs of the store."""

    def added(self, key: ApiKey) -> Change: ...
    def revoked(self, tenant: str, key_id: str, at: int) -> Change: ...
    def expiring(self, tenant: str, key_id: str, at: int) -> Change: ...
    def used(self, tenant: str, key_id: str, at: int) -> Change: ...
    async def by_hash(self, digest: bytes) -> ApiKey | None: ...
    async def get(self, tenant: str, key_id: str) -> ApiKey | None: ...
    async def listed(self, tenant: str, *, after: str | None, limit: int) -> Sequence[ApiKey]: ...


class Commit(Protocol):
    """`Writer.commit`: returns after the SQL commit."""

    async def __call__(self, guard: Change, /, *then: Change) -> Row | None: ...


class Keyring:
    """Finds the key behind a token. Only hashes are stored and remembered."""

    def __init__(
        self,
        *,
        rows: KeyRows,
        commit: Commit,
        ids: Ids,
        random_bytes: Callable[[int], bytes],
        now_ms: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        self._rows = rows
        self._commit = commit
        self._ids = ids
        self._random_bytes = random_bytes
        self._now_ms = now_ms
        self._clock = clock
        self._known: dict[bytes, tuple[ApiKey, float]] = {}  # the hash of a token → its key, believed until

    async def create(
        self,
        *,
        tenant: str,
        label: str,
        scopes: frozenset[Scope],
        connection_id: str | None = None,
        expires_at: int | None = None,
        rate_per_minute: int | None = None,
    ) -> tuple[ApiKey, str]:
        """A new key and its token, which cannot be read again. `expires_at` in milliseconds."""
        token = self._new_token()
        key = ApiKey(
            tenant=tenant,
            id=self._ids.new("key"),
            hash=digest_of(token),
            label=label,
            scopes=scopes,
            connection_id=connection_id,
            created_at=self._now_ms(),
            expires_at=expires_at,
            rate_per_minute=rate_per_minute,
        )
        await self._commit(self._rows.added(key))
        return key, token

    async def rotate(self, tenant: str, key_id: str, *, overlap: int) -> tuple[ApiKey, str]:
        """A key with the same rights; the old one ends in `overlap` ms. Raises NotFound, Conflict (it is over)."""
        old, now = await self._existing(tenant, key_id), self._now_ms()
        if not old.live(now):
            raise Conflict(f"the key {key_id} is over already")
        token = self._new_token()
        new = replace(old, id=self._ids.new("key"), hash=digest_of(token), created_at=now, last_used_at=None)
        ends = self._rows.expiring if overlap else self._rows.revoked
        await self._commit(self._rows.added(new), ends(tenant, key_id, now + overlap))
        self._known.pop(old.hash, None)
        return new, token

    def remembered(self, token: str) -> ApiKey | None:
        """The live key behind a token that was found a moment ago; None: ask `find`."""
        entry = self._known.get(digest_of(token))
        if entry is None or entry[1] < self._clock() or not entry[0].live(self._now_ms()):
            return None
        return entry[0]

    async def find(self, token: str) -> ApiKey | None:
        """The live key behind a token, from the store. None: unknown, expired or revoked."""
        digest = digest_of(token)
        key = await self._rows.by_hash(digest)
        # The index already compared; doing it again in constant time keeps that true for every database.
        if key is None or not hmac.compare_digest(key.hash, digest) or not key.live(self._now_ms()):
            return None
        await self._note_use(key)
        self._known.pop(digest, None)
        if len(self._known) >= MAX_REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[digest] = (key, self._clock() + REMEMBERED)
        return key

    async def revoke(self, tenant: str, key_id: str) -> ApiKey:
        """End a key at once here, and within seconds on other daemons. Raises NotFound."""
        key = await self._existing(tenant, key_id)
        await self._commit(self._rows.revoked(tenant, key_id, self._now_ms()))
        self._known.pop(key.hash, None)
        return key

    async def get(self, tenant: str, key_id: str) -> ApiKey | None:
        """One key."""
        return await self._rows.get(tenant, key_id)

    async def listed(self, tenant: str, *, after: str | None, limit: int) -> Sequence[ApiKey]:
        """The tenant's keys, revoked ones too, oldest first."""
        return await self._rows.listed(tenant, after=after, limit=limit)

    async def _existing(self, tenant: str, key_id: str) -> ApiKey:
        key = await self._rows.get(tenant, key_id)
        if key is None:
            raise NotFound(f"there is no key {key_id}")
        return key

    def _new_token(self) -> str:
        return "zapd_" + base64.urlsafe_b64encode(self._random_bytes(SECRET_BYTES)).rstrip(b"=").decode()

    async def _note_use(self, key: ApiKey) -> None:
        now = self._now_ms()
        if key.last_used_at is None or now - key.last_used_at >= USE_NOTED_EVERY:
            await self._commit(self._rows.used(key.tenant, key.id, now))


def digest_of(token: str) -> bytes:
    """SHA-256: enough for a token of 256 random bits, and cheap enough for every request."""
    # A header's bytes that are not UTF-8 come as surrogates, which do not encode otherwise.
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()
