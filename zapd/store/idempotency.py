"""Idempotency keys: the first answer that was given under each."""

from dataclasses import dataclass

from zapd.store.commands import Change, Insert, by_key
from zapd.store.reader import Reader
from zapd.store.tables import idempotency

_I = idempotency.c
_CLAIMED = Insert(table=idempotency, columns=tuple(_I), key=3, when_there="skip")
_BY_KEY = by_key(idempotency, (_I.tenant, _I.scope, _I.key))


@dataclass(frozen=True, kw_only=True, slots=True)
class FirstAnswer:
    """What the first request with a key got. `fingerprint` tells whether another one is the same request."""

    fingerprint: bytes
    response: bytes
    created_at: int  #: milliseconds since 1970 UTC


class IdempotencyStore:
    """The keys of all tenants."""

    def __init__(self, *, reader: Reader) -> None:
        self._reader = reader

    @staticmethod
    def claimed(tenant: str, scope: str, key: str, fingerprint: bytes, response: bytes, at: int) -> Change:
        """As a guard it has a row for the first request with this key only."""
        return Change(_CLAIMED, (tenant, scope, key, fingerprint, response, at))

    async def get(self, tenant: str, scope: str, key: str) -> FirstAnswer | None:
        """The first answer under a key."""
        row = await self._reader.one(_BY_KEY, (tenant, scope, key))
        if row is None:
            return None
        _, _, _, fingerprint, response, created_at = row
        return FirstAnswer(fingerprint=fingerprint, response=response, created_at=created_at)
