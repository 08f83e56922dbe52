"""Accounts that are linked by a QR code: the worker processes, and a transport for each account."""

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from zapd.model.session import Connection, OnAmbiguous
from zapd.parts.basis import Basis, now_ms
from zapd.sessions.kinds import Kind
from zapd.store.vault import Vault
from zapd.whatsapp.credentials import Credentials
from zapd.whatsapp.transport import Update
from zapd.whatsapp.web import outgoing, settings
from zapd.whatsapp.web.files import AccountFiles
from zapd.whatsapp.web.metrics import WorkerMetrics
from zapd.whatsapp.web.pool import WorkerPool
from zapd.whatsapp.web.process import COMMAND

if TYPE_CHECKING:
    from zapd.whatsapp.web.transport import WebTransport

DELETED = "deleted"  #: the reason why keys went out of use


def _parse(_connection: Connection, raw: bytes) -> Sequence[Update]:
    from zapd.whatsapp.web import inbound  # noqa: PLC0415  # as the transport below

    return inbound.parse(raw)


WEB = Kind(
    capabilities=outgoing.CAPABILITIES,
    on_ambiguous=OnAmbiguous.HOLD,
    check_config=settings.check_config,
    settings=frozenset({"phone"}),
    parse=_parse,
    address=outgoing.address,
)


class WhatsAppWeb:
    """`pool` is a service; `transport` makes one account's wire."""

    def __init__(self, basis: Basis, *, vault: Vault, credentials: Callable[[Connection], Credentials]) -> None:
        web = basis.config.web
        self._vault, self._credentials, self._ids = vault, credentials, basis.ids
        self.pool = WorkerPool(
            directory=basis.config.state.dir / "web",
            metrics=WorkerMetrics(registry=basis.registry),
            command=[*web.wrapper, *COMMAND],
            sessions_per_worker=web.sessions_per_worker,
            memory_limit=web.worker_memory,
            hang_after=web.hang_after,
            keep_for=basis.config.retention.credentials,
        )

    def transport(self, connection: Connection) -> "WebTransport":
        """The wire of a connection."""
        from zapd.whatsapp.web.transport import WebTransport  # noqa: PLC0415  # 1 MB, for the first account

        return WebTransport(
            connection=connection,
            pool=self.pool,
            files=self.files(connection),
            credentials=self._credentials(connection),
            ids=self._ids,
            now_ms=now_ms,
        )

    async def forget(self, connection: Connection) -> None:
        """A connection was deleted: its keys go out of use."""
        await self._credentials(connection).set_aside(DELETED)
        await asyncio.to_thread(self.files(connection).set_aside, DELETED, at=now_ms())

    def files(self, connection: Connection) -> AccountFiles:
        """Where its keys are."""
        return AccountFiles(
            root=self.pool.directory,
            key=connection.key,
            seal=lambda plain, place: self._vault.seal(plain, place=place),
            random_bytes=os.urandom,
        )
