"""Between messages and the people behind them: who wrote, who was written to, who wants no more, who is new."""

from collections.abc import Awaitable, Callable, Sequence

import orjson

from zapd.contacts import Contacts
from zapd.messaging.accounts import Accounts, Commit
from zapd.messaging.pace import Pace
from zapd.messaging.templates import Templates
from zapd.model.contact import Alias, Contact, aliases_of_peer
from zapd.model.message import Direction, Message, MessageStatus
from zapd.model.session import Connection
from zapd.store.messages import MessageStore
from zapd.whatsapp.transport import (
    AliasChange,
    Inbound,
    PauseNewContacts,
    PauseSession,
    Preference,
    Receipt,
    StateChange,
    TemplateRefused,
)

OPTED_OUT = frozenset({"131050"})  #: what providers say of somebody who wants no messages
PREFERENCES = "user_preferences"  #: by whom somebody is opted out who said so to the provider
OLD = 3_600_000  #: ms; a receipt that was this long under way says nothing of how the account is now


class People:
    """What the steps of a message tell, and what they ask. `trouble` hears what ends a connection."""

    def __init__(
        self,
        *,
        contacts: Contacts,
        pace: Pace,
        accounts: Accounts,
        messages: MessageStore,
        commit: Commit,
        templates: Templates,
        trouble: Callable[[Connection, StateChange], Awaitable[None]],
        now_ms: Callable[[], int],
    ) -> None:
        self._contacts = contacts
        self._pace = pace
        self._accounts = accounts
        self._messages = messages
        self._commit = commit
        self._templates = templates
        self._trouble = trouble
        self._now_ms = now_ms

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

    async def prefers(self, connection: Connection, told: Preference) -> None:
        """A person told the provider that they want no more of us, or more again.

        The second takes back only what the provider said: who wrote STOP to us writes to us to begin again.
        """
        names = [Alias(kind, value) for kind, value in told.who.known().items()]
        contact = await self._contacts.known(connection.tenant, names)
        if contact is None:
            return
        if not told.wants:
            await self._contacts.opt_out(contact.tenant, contact.id, by=PREFERENCES)
        elif (await self._contacts.get(contact.tenant, contact.id)).opted_out_by in {*OPTED_OUT, PREFERENCES}:
            await self._contacts.opt_in(contact.tenant, contact.id, by=PREFERENCES)

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
        """Receipts that say more than how far a message got: providers refuse much only after they took it."""
        for receipt in receipts:
            if receipt.status is not MessageStatus.FAILED or receipt.code is None:
                continue
            if receipt.code in OPTED_OUT:
                await self._wants_no_more(connection, receipt, receipt.code)
            elif self._now_ms() - receipt.at < OLD:
                await self._of_the_account(connection, receipt, receipt.code)

    async def _wants_no_more(self, connection: Connection, receipt: Receipt, code: str) -> None:
        message = await self._message(connection, receipt)
        if message is not None:
            await self._contacts.refused(connection.tenant, message.peer, code)

    async def _of_the_account(self, connection: Connection, receipt: Receipt, code: str) -> None:
        match self._accounts.failure(connection, code, receipt.detail or ""):
            case PauseNewContacts(wait=wait):
                await self._pace.hold_new_people(connection, wait)
            case PauseSession(state=state, code=reason):
                await self._trouble(connection, StateChange(state=state, reason=reason))
            case TemplateRefused() as error:
                message = await self._message(connection, receipt)
                if message is not None:
                    await self._templates.refused(connection, message, error)

    async def _message(self, connection: Connection, receipt: Receipt) -> Message | None:
        where = (connection.tenant, connection.id, Direction.OUTBOUND)
        return await self._messages.by_provider_id(*where, receipt.provider_id)
