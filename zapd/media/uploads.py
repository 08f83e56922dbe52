"""Which files a provider holds for one connection, kept in SQL."""

from collections.abc import Awaitable, Callable

from zapd.model.session import Connection
from zapd.store.commands import Row
from zapd.store.media import MediaStore


class ConnectionUploads:
    """`good_for`: seconds after which an id is not trusted any more."""

    def __init__(
        self,
        *,
        connection: Connection,
        store: MediaStore,
        commit: Callable[..., Awaitable[Row | None]],
        now_ms: Callable[[], int],
        good_for: float,
    ) -> None:
        self._tenant, self._connection_id = connection.tenant, connection.id
        self._store = store
        self._commit = commit
        self._now_ms = now_ms
        self._good_for = round(good_for * 1000)

    async def get(self, media_id: str) -> str | None:
        """The provider's id."""
        found = await self._store.upload(self._tenant, self._connection_id, media_id)
        return found[0] if found is not None and found[1] > self._now_ms() - self._good_for else None

    async def put(self, media_id: str, provider_id: str) -> None:
        """The provider holds it from now on."""
        row = self._store.uploaded(self._tenant, self._connection_id, media_id, provider_id, self._now_ms())
        await self._commit(row)
