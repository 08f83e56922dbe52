"""What an account needs to log in again after it was paired, as a transport sees it. The store seals it."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from zapd.errors import ConfigError
from zapd.ids import Ids
from zapd.store.credentials import CredentialStore, Login

CORRUPT = "corrupt_credentials"  #: the reason of a session that failed for it


class CorruptCredentials(Exception):
    """What was kept cannot be used. It was set aside: the account must be paired again."""


class Credentials(Protocol):
    """The login of one connection. Each method returns after its commit."""

    async def load(self) -> bytes | None:
        """What was saved last; None: not paired. Raises CorruptCredentials, after setting it aside."""

    async def save(self, secret: bytes) -> None:
        """Keep this from now on."""

    async def set_aside(self, reason: str) -> None:
        """Keep it out of use, with the reason: the next `load` gives None."""


class SqlCredentials:
    """The login of one connection, in the database."""

    def __init__(
        self,
        *,
        tenant: str,
        connection_id: str,
        rows: CredentialStore,
        commit: Callable[..., Awaitable[Any]],
        ids: Ids,
        now_ms: Callable[[], int],
    ) -> None:
        self._tenant = tenant
        self._connection_id = connection_id
        self._rows = rows
        self._commit = commit
        self._ids = ids
        self._now_ms = now_ms

    async def load(self) -> bytes | None:
        """See `Credentials`."""
        login = await self._current()
        if login is None:
            return None
        try:
            return self._rows.opened(login)
        except ConfigError as error:
            await self._archive(login, f"{CORRUPT}: {error}")
            raise CorruptCredentials(str(error)) from error

    async def save(self, secret: bytes) -> None:
        """See `Credentials`."""
        login = await self._current()
        login_id = login.id if login is not None else self._ids.new("log")
        await self._commit(self._rows.saved(self._tenant, self._connection_id, login_id, secret, self._now_ms()))

    async def set_aside(self, reason: str) -> None:
        """See `Credentials`."""
        login = await self._current()
        if login is not None:
            await self._archive(login, reason)

    async def _current(self) -> Login | None:
        return await self._rows.current(self._tenant, self._connection_id)

    async def _archive(self, login: Login, reason: str) -> None:
        await self._commit(self._rows.archived(login, reason, self._now_ms()))
