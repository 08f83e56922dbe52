"""Idempotency keys: the first answer that was given under each."""

from zapd.errors import Conflict
from zapd.store.commands import Change, Insert, by_key
from zapd.store.reader import Reader
from zapd.store.tables import idempotency

_I = idempotency.c
_CLAIMED = Insert(table=idempotency, columns=tuple(_I), key=3, when_there="skip")
_BY_KEY = by_key(idempotency, (_I.tenant, _I.scope, _I.key))


class IdempotencyStore:
    """The keys of all tenants."""

    def __init__(self, *, reader: Reader) -> None:
        self._reader = reader

    @staticmethod
    def claimed(tenant: str, scope: str, key: str, fingerprint: bytes, response: bytes, at: int) -> Change:
        """As a guard it has a row for the first request with this key only."""
        return Change(_CLAIMED, (tenant, scope, key, fingerprint, response, at))

    async def answer(self, tenant: str, scope: str, key: str | None, fingerprint: bytes | None) -> bytes | None:
        """What the first request with this key got; None: there was none. `fingerprint` is of this request's body.

        Raises Conflict when the first was another one.
        """
        row = None if key is None else await self._reader.one(_BY_KEY, (tenant, scope, key))
        if row is None:
            return None
        _, _, _, its, response, _ = row
        if its != fingerprint:
            raise Conflict("this Idempotency-Key came before with another body")
        return bytes(response)
