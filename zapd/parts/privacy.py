"""Personal data: export, erase, new keys."""

from collections.abc import Mapping

from zapd.parts.accounts import Accounts
from zapd.parts.basis import Basis, now_ms
from zapd.parts.engine import Engine
from zapd.parts.queues import Work
from zapd.parts.storage import Storage
from zapd.privacy import ERASE_TENANT, ROTATE
from zapd.privacy import Privacy as PrivacyRules
from zapd.store.bodies import BodyStore
from zapd.store.subjects import SubjectStore

PAGE = 100


class Privacy:
    """What the law asks for, and the stores it works on."""

    def __init__(self, basis: Basis, storage: Storage, engine: Engine, accounts: Accounts) -> None:
        self._storage, self._accounts = storage, accounts
        self._keep = round(basis.config.privacy.bodies * 1000)
        kept = basis.config.retention.model_dump() | {"attempts": basis.config.retention.deliveries}
        # Their rows go first: to look for bodies there would read whole tables for nothing.
        self._no_bodies = [table for table, seconds in kept.items() if seconds <= basis.config.privacy.bodies]
        self.bodies = BodyStore(database=storage.database, writer=storage.writer, sealing=storage.sealing)
        self.rules = PrivacyRules(
            bodies=self.bodies,
            subjects=SubjectStore(
                database=storage.database,
                writer=storage.writer,
                messages=storage.messages,
                events=storage.events,
                bodies=self.bodies,
            ),
            sealing=storage.sealing,
            settings=storage.settings,
            commit=storage.writer.commit,
            enqueue=engine.outbox.add,
            close_connections=self._close_connections,
            now_ms=now_ms,
        )

    async def sweep(self) -> int:
        """Empty a slice of bodies that are past their time."""
        return await self.bodies.emptied(now_ms() - self._keep, but=self._no_bodies)

    def work(self) -> Mapping[str, Work]:
        """The work of its kinds of jobs."""
        return dict.fromkeys((ROTATE, ERASE_TENANT), Work(self.rules.work))

    async def _close_connections(self, tenant: str) -> None:
        after: str | None = None
        while found := await self._storage.connections.listed(tenant, after=after, limit=PAGE):
            for connection in found:
                if connection.state != "closed":
                    await self._accounts.sessions.close(tenant, connection.id)
            after = found[-1].id
