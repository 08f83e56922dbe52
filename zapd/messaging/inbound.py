"""What a provider's update becomes: a message of a contact or of our own phone, an event of the account."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import orjson

from zapd.announce import Announcer, iso
from zapd.contacts import shown
from zapd.ids import Ids
from zapd.jobs.job import Job
from zapd.media.downloads import Downloads
from zapd.messaging.accounts import PRIORITY, Commit
from zapd.messaging.metrics import MessageMetrics
from zapd.model.contact import Contact
from zapd.model.message import Direction, Message, MessageStatus
from zapd.model.session import Connection
from zapd.model.webhook import Severity
from zapd.store.commands import Change
from zapd.store.messages import MessageStore
from zapd.store.windows import WindowStore
from zapd.whatsapp.numbers import window_key
from zapd.whatsapp.transport import AliasChange, Inbound, Notice, Preference, TemplateChange

Told = Inbound | AliasChange | Notice | Preference | TemplateChange  #: what comes beside receipts

#: Types that say something about the chat and are not written by anybody.
_NOT_WRITTEN = frozenset({"system"})


class Inbounds:
    """Keeps what came in. A second time, it is known by its provider id and nothing happens.

    `on_aliases` hears of the ids that belong to one person, before the message that told them is kept, and gives the
    contact.
    """

    def __init__(
        self,
        *,
        messages: MessageStore,
        windows: WindowStore,
        downloads: Downloads,
        announcer: Announcer,
        commit: Commit,
        on_aliases: Callable[[Connection, Inbound | AliasChange], Awaitable[Contact | None]],
        on_preference: Callable[[Connection, Preference], Awaitable[None]],
        on_template: Callable[[Connection, TemplateChange], Awaitable[None]],
        ids: Ids,
        now_ms: Callable[[], int],
        metrics: MessageMetrics,
    ) -> None:
        self._messages = messages
        self._windows = windows
        self._downloads = downloads
        self._announcer = announcer
        self._commit = commit
        self._on_aliases = on_aliases
        self._on_preference = on_preference
        self._on_template = on_template
        self._ids = ids
        self._now_ms = now_ms
        self._metrics = metrics

    async def keep(self, connection: Connection, update: Told) -> None:
        """Keep one update."""
        if isinstance(update, Notice):
            await self._notice(connection, update)
            return
        if isinstance(update, Preference):
            await self._on_preference(connection, update)
            return
        if isinstance(update, TemplateChange):
            await self._on_template(connection, update)
            return
        contact = await self._on_aliases(connection, update)
        if isinstance(update, Inbound):
            await self._message(connection, update, contact)

    async def _message(self, connection: Connection, inbound: Inbound, contact: Contact | None) -> None:
        message = self._made(connection, inbound)
        data, changes, jobs = await self._data(message, inbound), self._wrote(message, inbound), list[Job]()
        if contact is not None:
            data["contact"] = shown(contact)
        if inbound.media is not None:
            item, added, job = self._downloads.expected(message, inbound.media)
            message, data = self._with_file(message, data, item.id, self._downloads.shown(item))
            changes += added
            jobs.append(job)
        event = self._announcer.announce(
            "message.sent" if inbound.from_me else "message.received",
            tenant=message.tenant,
            at=message.created_at,
            data={"message_id": message.id, **data},
            connection_id=connection.id,
            message_id=message.id,
        )
        kept = self._messages.added_new(message)
        if await self._commit(kept, *changes, *event.changes, jobs=[*jobs, *event.jobs]) is not None:
            self._metrics.received(message)

    def _made(self, connection: Connection, inbound: Inbound) -> Message:
        at = inbound.at or self._now_ms()  # a time of 0 would be long past its retention
        return Message(
            tenant=connection.tenant,
            id=self._ids.new("msg"),
            connection_id=connection.id,
            direction=Direction.OUTBOUND if inbound.from_me else Direction.INBOUND,
            status=MessageStatus.SENT if inbound.from_me else MessageStatus.RECEIVED,
            peer=inbound.peer,
            type=inbound.type,
            payload=inbound.payload,
            priority=PRIORITY,
            created_at=at,
            sent_at=at if inbound.from_me else None,
            provider_id=inbound.provider_id,
            reply_to=inbound.reply_to,
            sender=inbound.sender,
        )

    async def _data(self, message: Message, inbound: Inbound) -> dict[str, Any]:
        """What the event says. A message that is quoted or changed is named by our id too, where it is known."""
        data: dict[str, Any] = {"to" if inbound.from_me else "from": inbound.peer}
        data |= {"name": inbound.name, "type": inbound.type, "payload": orjson.Fragment(inbound.payload)}
        data |= {"provider_id": inbound.provider_id, "aliases": inbound.aliases.known()}
        if inbound.from_me:
            data["origin"] = "phone"
        if inbound.sender is not None:
            data["sender"] = inbound.sender
        if inbound.forwarded:
            data["forwarded"] = True
        for name, provider_id in (("reply_to", inbound.reply_to), ("about", inbound.about)):
            if provider_id is not None:
                data[name] = {"provider_id": provider_id, "message_id": await self._ours(message, provider_id)}
        return data

    async def _ours(self, message: Message, provider_id: str) -> str | None:
        for direction in (Direction.OUTBOUND, Direction.INBOUND):
            found = await self._messages.by_provider_id(message.tenant, message.connection_id, direction, provider_id)
            if found is not None:
                return found.id
        return None

    def _with_file(
        self, message: Message, data: dict[str, Any], media_id: str, shown: dict[str, Any]
    ) -> tuple[Message, dict[str, Any]]:
        payload = orjson.dumps({**orjson.loads(message.payload), "media_id": media_id})
        media = shown | {"url_expires_at": iso(shown["url_expires_at"])}
        return replace(message, payload=payload), {**data, "payload": orjson.Fragment(payload), "media": media}

    def _wrote(self, message: Message, inbound: Inbound) -> list[Change]:
        """The contact may be written to freely again, under each of its names."""
        if inbound.from_me or inbound.sender is not None or inbound.type in _NOT_WRITTEN:
            return []
        names = {window_key(name) for name in (inbound.peer, inbound.aliases.wa_id, inbound.aliases.bsuid) if name}
        where, at = (message.tenant, message.connection_id), min(message.created_at, self._now_ms())
        return [self._windows.wrote(*where, name, at, message.id) for name in sorted(names)]

    async def _notice(self, connection: Connection, notice: Notice) -> None:
        event = self._announcer.announce(
            f"account.{notice.kind}",
            tenant=connection.tenant,
            at=min(notice.at or self._now_ms(), self._now_ms()),
            data=orjson.loads(notice.data),
            connection_id=connection.id,
            severity=Severity.WARNING if notice.warning else Severity.INFO,
        )
        first, *more = event.changes
        await self._commit(first, *more, jobs=event.jobs)
