"""Which endpoints are spared, so that a restart goes on sparing them."""

from dataclasses import dataclass

import sqlalchemy as sa

from zapd.store.commands import Change, Delete, Insert
from zapd.store.database import Database
from zapd.store.tables import endpoint_waits

_W = endpoint_waits.c
_PUT = Insert(table=endpoint_waits, columns=tuple(_W), when_there="replace")
_GONE = Delete(table=endpoint_waits, columns=(_W.tenant, _W.endpoint_id))


@dataclass(frozen=True, slots=True)
class EndpointWait:
    """It waits until then (ms), for so many times in a row, after so many failures in a row."""

    tenant: str
    endpoint_id: str
    until: int
    waits: int
    failures: int


class EndpointWaitStore:
    """The waits of all tenants."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    @staticmethod
    def put(wait: EndpointWait) -> Change:
        """It waits."""
        return Change(_PUT, (wait.tenant, wait.endpoint_id, wait.until, wait.waits, wait.failures))

    @staticmethod
    def gone(tenant: str, endpoint_id: str) -> Change:
        """It is spared no more."""
        return Change(_GONE, (tenant, endpoint_id))

    async def all(self) -> list[EndpointWait]:
        """Of all tenants."""
        return [EndpointWait(*row) for row in await self._database.fetch(sa.select(*_W))]
