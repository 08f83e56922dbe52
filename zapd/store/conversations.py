"""Messages as conversations: the newest of each contact, and one contact's thread.

Without an index of their own, which every send would pay for: they look through the newest messages of a connection.
"""

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from zapd.model.message import Message
from zapd.store.commands import Row
from zapd.store.database import Database
from zapd.store.tables import messages

LOOKED_THROUGH = 5_000  #: of the connection's newest messages

_M = messages.c


class ConversationStore:
    """`read` turns a row of the table into a message."""

    def __init__(self, *, database: Database, read: Callable[[Row], Message]) -> None:
        self._database = database
        self._read = read

    async def listed(self, tenant: str, connection_id: str, limit: int) -> list[Message]:
        """The newest message of each contact, the newest first."""
        recent = _recent(tenant, connection_id)
        newest = sa.select(sa.func.max(recent.c.id)).group_by(recent.c.peer)
        query = sa.select(messages).where(_M.tenant == tenant, _M.id.in_(newest))
        return await self._fetch(query.order_by(_M.created_at.desc(), _M.id.desc()).limit(limit))

    async def thread(self, tenant: str, connection_id: str, peer: str, limit: int) -> list[Message]:
        """The newest messages from and to one contact, the oldest of them first."""
        recent = _recent(tenant, connection_id)
        ids = sa.select(recent.c.id).where(recent.c.peer == peer)
        query = sa.select(messages).where(_M.tenant == tenant, _M.id.in_(ids))
        found = await self._fetch(query.order_by(_M.created_at.desc(), _M.id.desc()).limit(limit))
        return found[::-1]

    async def _fetch(self, query: sa.Select[Any]) -> list[Message]:
        return [self._read(row) for row in await self._database.fetch(query)]


def _recent(tenant: str, connection_id: str) -> sa.Subquery:
    query = sa.select(_M.id, _M.peer).where(_M.tenant == tenant, _M.connection_id == connection_id)
    return query.order_by(_M.id.desc()).limit(LOOKED_THROUGH).subquery("recent")
