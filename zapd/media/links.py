"""Signed links to files: whoever has one may read that one file until it expires."""

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from zapd.errors import Forbidden
from zapd.model.access import DEFAULT_TENANT

_PURPOSE = b"zapd media links"


@dataclass(frozen=True)
class Link:
    """`expires_at` in milliseconds."""

    url: str
    expires_at: int


class Links:
    """Signs with the first key and accepts any: the keys that also seal secrets, through a hash of their own."""

    def __init__(self, *, keys: Sequence[bytes], base_url: str, lifetime: float, now_ms: Callable[[], int]) -> None:
        self._keys = [hmac.digest(key, _PURPOSE, "sha256") for key in keys]
        self._base_url = base_url
        self._lifetime = lifetime
        self._now_ms = now_ms

    def make(self, tenant: str, media_id: str) -> Link:
        """A link that works from now on for the lifetime."""
        expires = self._now_ms() // 1000 + round(self._lifetime)
        query = {"exp": str(expires), "sig": _sign(self._keys[0], tenant, media_id, expires)}
        if tenant != DEFAULT_TENANT:
            query["t"] = tenant
        return Link(url=f"{self._base_url}/media/{media_id}?{urlencode(query)}", expires_at=expires * 1000)

    def check(self, media_id: str, query: Mapping[str, str]) -> str:
        """The tenant whose file the link opens. Raises Forbidden."""
        tenant, expires = query.get("t", DEFAULT_TENANT), query.get("exp", "")
        if not (expires.isascii() and expires.isdigit() and len(expires) < 12):
            raise Forbidden("the link is not signed")
        given = query.get("sig", "").encode(errors="replace")
        signed = [_sign(key, tenant, media_id, int(expires)).encode() for key in self._keys]
        if not any(hmac.compare_digest(given, right) for right in signed):
            raise Forbidden("the link is not signed, or was changed")
        if int(expires) * 1000 <= self._now_ms():
            raise Forbidden("the link has expired; ask for a new one")
        return tenant


def _sign(key: bytes, tenant: str, media_id: str, expires: int) -> str:
    text = f"{tenant}\n{media_id}\n{expires}".encode(errors="replace")
    return hmac.new(key, text, hashlib.sha256).hexdigest()
