"""Between messages and the people behind them: who wrote, who was written to, who wants no more, who is new."""

from collections.abc import Sequence

import orjson

from zapd.contacts import Contacts
from zapd.messaging.accounts import Commit
from zapd.messaging.pace import Pace
from zapd.model.contact import Alias, Contact, aliases_of_peer
from zapd.model.message import Direction, Message, MessageStatus
from zapd.model.session import Connection
from zapd.store.messages import MessageStore
from zapd.whatsapp.transport import AliasChange, Inbound, Receipt

#: What providers say of somebody who wants no messages, and of a number that may not write to new people.
OPTED_OUT = frozenset({"131050"})
RESTRICTED = frozenset({"463", "131048", "131064", "shadow_ban", "rejected", "no_permission"})
RESTRICTED_FOR = 86_400.0  #: seconds


class People:
    """What the steps of a message tell, and what they ask."""

    def __init__(self, *, contacts: Contacts, pace: Pace, messages: MessageStore, commit: Commit) -> None:
        self._contacts = contacts
        self._pace = pace
        self._messages = messages
        self._commit = commit

    async def opted_out(self, tenant: str, peer: str) -> Contact | None:
        """The contact at this address, if they want no more messages."""
        return await self._contacts.opted_out(tenant, peer)

    async def refused(self, tenant: str, peer: str, by: str) -> None:
        """The provider says that they want no more messages."""
        await self._contacts.refused(tenant, peer, by)

    async def learn(self, connection: Connection, update: Inbound | AliasChange) -> Contact | None:
        """Who wrote a message, or whose ids changed, with every id that it tells.

        A word that ends their messages, or begins them again, is obeyed; not in a group, and not our own words.
        """
        if isinstance(update, AliasChange):
            ids = [*update.previous.known().items(), *update.current.known().items()]
            return await self._contacts.known(connection.tenant, [Alias(kind, value) for kind, value in ids])
        if update.from_me:
            return None
        told = [Alias(kind, value) for kind, value in update.aliases.known().items()]
        author = aliases_of_peer(update.sender or update.peer)
        contact = await self._contacts.known(connection.tenant, [*author, *told], name=update.name)
        if contact is not None and update.sender is None and update.type == "text":
            text = orjson.loads(update.payload).get("text")
            if isinstance(text, str):
                await self._contacts.said(contact.tenant, contact.id, text)
        return contact

    async def sent(self, message: Message, spelt: str | None, at: int) -> None:
        """A message left, and that is kept. `spelt` is whom the provider says that it went to.

        What is lost here while SQL is away is told again by the next message.
        """
        changes = self._pace.sent(message.tenant, message.connection_id, message.peer, at)
        if not changes and spelt in (None, message.peer):
            return  # known long since
        known = aliases_of_peer(message.peer)
        if spelt is not None and known:
            known.append(Alias("wa_id", spelt) if spelt.isdigit() else Alias("bsuid", spelt))
        await self._contacts.known(message.tenant, known)
        if changes:
            await self._commit(*changes)

    async def heard(self, connection: Connection, receipts: Sequence[Receipt]) -> None:
        """Receipts that say more than how far a message got."""
        for receipt in receipts:
            if receipt.status is not MessageStatus.FAILED:
                continue
            if receipt.code in RESTRICTED:
                await self._pace.hold_new_people(connection, RESTRICTED_FOR)
            elif receipt.code in OPTED_OUT:
                message = await self._messages.by_provider_id(
                    connection.tenant, connection.id, Direction.OUTBOUND, receipt.provider_id
                )
                if message is not None:
                    await self._contacts.refused(connection.tenant, message.peer, receipt.code or "")
