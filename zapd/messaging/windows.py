"""The time in which one may write freely to a contact: it begins anew with each message of the contact.

Outside of it the provider takes templates only, and says so after the fact. zapd says it when the message comes in.
The provider's word stays the truth: a contact whose messages zapd never saw may have an open window, so within the
first window of a connection's life nothing is refused.
"""

from collections.abc import Callable

from zapd.announce import iso
from zapd.errors import FieldError, InvalidInput
from zapd.messaging.accounts import Accounts
from zapd.model.session import Connection
from zapd.store.windows import WindowStore
from zapd.whatsapp.numbers import window_key


class Windows:
    """Knows whether a contact may be written to freely."""

    def __init__(self, *, accounts: Accounts, store: WindowStore, now_ms: Callable[[], int]) -> None:
        self._accounts = accounts
        self._store = store
        self._now_ms = now_ms

    async def check(self, connection: Connection, peer: str, type_: str) -> None:
        """Raises InvalidInput that names the window, when only a template may be sent."""
        seconds = self._accounts.window(connection)
        if seconds is None or type_ == "template":
            return
        now, lasts = self._now_ms(), round(seconds * 1000)
        found = await self._store.get(connection.tenant, connection.id, window_key(peer))
        if found is None and now - connection.created_at < lasts:
            return
        hours = f"{seconds / 3600:g} h"
        if found is None:
            rule = f"the contact has not written within {hours}: only a template may open the conversation"
            raise InvalidInput(FieldError("type", rule))
        if now >= found.at + lasts:
            closed = f"the {hours} window closed at {iso(found.at + lasts)} (the contact wrote last at {iso(found.at)})"
            raise InvalidInput(FieldError("type", f"{closed}: only a template may be sent"))
