"""The time in which one may write freely to a contact: it begins anew with each message of the contact.

Outside of it the provider takes templates only, and says so after the fact. zapd says it when a message is asked for,
and once more before a message leaves that had to wait. A contact who never wrote to this connection has no window: also
on a connection that is new here, whose operator may switch the rule off while contacts wrote to the number before.
"""

from collections.abc import Callable

from zapd.announce import iso
from zapd.errors import FieldError, InvalidInput
from zapd.messaging.accounts import Accounts
from zapd.model.session import Connection
from zapd.store.windows import WindowStore
from zapd.whatsapp.numbers import window_key

ALWAYS = frozenset({"template"})  #: types that may be sent outside of the window
CLOSED = "window_closed"  #: the code of a message that waited until its window had closed


class Windows:
    """Knows whether a contact may be written to freely."""

    def __init__(self, *, accounts: Accounts, store: WindowStore, now_ms: Callable[[], int]) -> None:
        self._accounts = accounts
        self._store = store
        self._now_ms = now_ms

    async def check(self, connection: Connection, peer: str, type_: str) -> None:
        """Raises InvalidInput that names the window, when only a template may be sent."""
        rule = None if type_ in ALWAYS else await self.closed(connection, peer)
        if rule is not None:
            raise InvalidInput(FieldError("type", rule))

    async def closed(self, connection: Connection, peer: str) -> str | None:
        """Why only a template may be sent; None: anything may."""
        seconds = self._accounts.window(connection)
        if seconds is None:
            return None
        now, lasts, hours = self._now_ms(), round(seconds * 1000), f"{seconds / 3600:g} h"
        found = await self._store.get(connection.tenant, connection.id, window_key(peer))
        if found is not None and now >= found.at + lasts:
            closed = f"the {hours} window closed at {iso(found.at + lasts)} (the contact wrote last at {iso(found.at)})"
            return f"{closed}: only a template may be sent"
        if found is None:
            return f"the contact has not written within {hours}: only a template may open the conversation"
        return None
