"""Read marks and typing: told to the provider at once, not queued. A mark that comes an hour late helps nobody."""

from collections.abc import Awaitable

from zapd.errors import Conflict, NotFound, Unavailable
from zapd.messaging.accounts import Accounts
from zapd.messaging.enclosed import target_of
from zapd.model.message import Direction, Message
from zapd.model.session import Connection
from zapd.store.messages import MessageStore
from zapd.store.windows import WindowStore
from zapd.whatsapp.numbers import window_key
from zapd.whatsapp.transport import NotConnected, Permanent, SendError


class Presence:
    """What contacts see of us beside messages."""

    def __init__(self, *, accounts: Accounts, messages: MessageStore, windows: WindowStore) -> None:
        self._accounts = accounts
        self._messages = messages
        self._windows = windows

    async def mark_read(self, message: Message) -> None:
        """Tell the sender of an inbound message that it was read. Raises Conflict, InvalidInput or Unavailable."""
        if message.direction is not Direction.INBOUND or message.provider_id is None:
            raise Conflict("only a message that came in can be marked as read")
        connection = await self._existing(message.tenant, message.connection_id)
        await _told(self._accounts.mark_read(connection, target_of(message)))

    async def typing(self, tenant: str, connection_id: str, peer: str) -> None:
        """Show for some seconds that somebody types. Raises Conflict, InvalidInput, NotFound or Unavailable."""
        connection = await self._existing(tenant, connection_id)
        window = await self._windows.get(tenant, connection_id, window_key(peer))
        last = await self._messages.get(tenant, window.message_id) if window is not None else None
        target = target_of(last) if last is not None and last.provider_id is not None else None
        await _told(self._accounts.typing(connection, peer, last=target))

    async def _existing(self, tenant: str, connection_id: str) -> Connection:
        connection = await self._accounts.find(tenant, connection_id)
        if connection is None:
            raise NotFound(f"there is no connection {connection_id}")
        return connection


async def _told(call: Awaitable[None]) -> None:
    try:
        await call
    except NotConnected as error:
        raise Conflict(f"the connection is not connected: {error.detail}") from None
    except Permanent as error:
        raise Conflict(str(error)) from None
    except SendError as error:
        raise Unavailable(str(error)) from None
