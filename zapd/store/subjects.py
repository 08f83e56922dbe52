"""What the database holds of one person or one tenant: to hand it out, and to delete it."""

import re
from collections.abc import AsyncIterator, Sequence

import sqlalchemy as sa

from zapd.model.contact import country_length, match_key
from zapd.model.message import Message
from zapd.model.webhook import Event
from zapd.store.bodies import SLICE, TABLES, BodyStore, Mention
from zapd.store.commands import Change, Delete, Row
from zapd.store.database import Database
from zapd.store.events import EventStore
from zapd.store.messages import MessageStore
from zapd.store.tables import (
    actions,
    attempts,
    deliveries,
    event_states,
    events,
    inbound,
    media,
    media_uses,
    messages,
    metadata,
    numbers,
    outbox,
    sandbox_ledger,
    turns,
)
from zapd.store.tables import peers as known_peers
from zapd.store.writer import Writer

#: Tables whose rows go with the message that they belong to.
_OF_MESSAGES = (deliveries, events, media_uses)
#: Tables whose rows go with the event that they came of.
_OF_EVENTS = (deliveries, actions, event_states, inbound)
#: Tables that name a person in a column.
_NAMED_BY = (
    (sandbox_ledger, sandbox_ledger.c.peer),
    (known_peers, known_peers.c.peer),
    (numbers, numbers.c.number),
    (turns, turns.c.peer),
)
#: Not a person's: the daemon's own, or unfinished work, which ends by itself.
_NOT_SEARCHED = {messages.name, events.name, attempts.name, outbox.name}
SHORTEST_NATIONAL = 10  #: digits of a number that is looked for without its country too
SHORTEST_NEEDLE = 8  #: characters; a shorter name stands in bodies by chance
_KEEPS_TENANT = {"tenants", "settings", "cron_fires"}


_BETWEEN = rb"[\s().+-]{0,3}"  # what people write between the digits of a number


def _pattern_of(peers: Sequence[str]) -> re.Pattern[bytes] | None:
    """Finds them in a body: a number also as people write it, with or without its country; None: too short to find."""
    found = [_spellings(peer) for peer in peers if len(peer) >= SHORTEST_NEEDLE]
    return re.compile(b"|".join(found)) if found else None


def _spellings(peer: str) -> bytes:
    if not peer.isdigit():
        return re.escape(peer.encode())
    country = peer[: country_length(peer)]
    own = peer.removeprefix(country)
    start = _BETWEEN.join(digit.encode() for digit in country) + _BETWEEN
    optional = b"?" if len(own) >= SHORTEST_NATIONAL else b""
    return b"(?<![0-9])(?:%s)%s%s(?![0-9])" % (start, optional, _BETWEEN.join(digit.encode() for digit in own))


def _deleting(table: sa.Table) -> Delete:
    key = tuple(table.primary_key.columns)
    return Delete(table=table, columns=key, key=len(key))


_DELETES = {table.name: _deleting(table) for table in metadata.sorted_tables}
_ATTEMPTS = Delete(table=attempts, columns=(attempts.c.tenant, attempts.c.delivery_id))


class SubjectStore:
    """Finds and deletes what belongs to a person (`peers`: how they are named as a recipient) or to a tenant."""

    def __init__(
        self, *, database: Database, writer: Writer, messages: MessageStore, events: EventStore, bodies: BodyStore
    ) -> None:
        self._database = database
        self._writer = writer
        self._messages = messages
        self._events = events
        self._bodies = bodies

    async def messages_of(self, tenant: str, peers: Sequence[str]) -> AsyncIterator[list[Message]]:
        """Every message from and to them, slice by slice in the order of ids."""
        last = ""
        while True:
            query = sa.select(messages).where(messages.c.tenant == tenant, messages.c.peer.in_(peers))
            query = query.where(messages.c.id > last).order_by(messages.c.id).limit(SLICE)
            found = [self._messages.of(row) for row in await self._database.fetch(query)]
            yield found
            if len(found) < SLICE:
                return
            last = found[-1].id

    async def events_of(self, tenant: str, message_id: str) -> list[Event]:
        """What happened to one message."""
        return list(await self._events.of_message(tenant, message_id))

    async def erase_messages(self, tenant: str, ids: Sequence[str]) -> dict[str, int]:
        """Delete messages with their events, deliveries and attempts. Returns rows per table."""
        removed: dict[str, int] = {}
        used = await self._keys(media_uses, tenant, media_uses.c.message_id.in_(ids))
        for table in _OF_MESSAGES:
            found = await self._keys(table, tenant, table.c.message_id.in_(ids))
            if table is deliveries:
                removed[attempts.name] = await self._count_attempts(tenant, [str(key[1]) for key in found])
            removed[table.name] = await self._delete(table, found)
        removed[media.name] = await self._erase_media(tenant, {str(key[2]) for key in used})
        removed[messages.name] = await self._delete(messages, [(tenant, id_) for id_ in ids])
        return removed

    async def _erase_media(self, tenant: str, media_ids: set[str]) -> int:
        """Delete the files' rows that no message uses any more; the janitor then deletes the files."""
        still = await self._keys(media_uses, tenant, media_uses.c.media_id.in_(media_ids))
        unused = media_ids - {str(key[2]) for key in still}
        return await self._delete(media, [(tenant, media_id) for media_id in unused])

    async def mentions_of(self, tenant: str, peers: Sequence[str]) -> AsyncIterator[tuple[str, list[Mention]]]:
        """The rows whose bodies name them, by table, in every table but that of the messages."""
        named = _pattern_of(peers)
        if named is None:
            return
        for table in (events, *[t for name, t in TABLES.items() if name not in _NOT_SEARCHED]):
            async for found in self._bodies.mentioning(table.name, tenant, named):
                yield table.name, found

    async def event_at(self, seq: int) -> Event | None:
        """The event of a row of the log."""
        found = await self._database.fetch(sa.select(events.c.tenant, events.c.id).where(events.c.seq == seq))
        return await self._events.get(*found[0]) if found else None

    async def erase_mentions(self, tenant: str, peers: Sequence[str]) -> dict[str, int]:
        """Delete the rows whose bodies name them, in every other table with bodies. Returns rows per table.

        With an event goes what came of it: an answer that is kept may repeat what the event said.
        """
        removed = {name: 0 for name in (events.name, *TABLES) if name not in _NOT_SEARCHED - {events.name}}
        async for name, found in self.mentions_of(tenant, peers):
            if name == events.name:
                for of_event, rows in (await self._erase_what_came_of(tenant, [key[0] for key, _ in found])).items():
                    removed[of_event] = removed.get(of_event, 0) + rows
            removed[name] += await self._delete(metadata.tables[name], [key for key, _ in found])
        names = [*peers, *[key for peer in peers if (key := match_key(peer)) is not None]]
        for table, column in _NAMED_BY:
            named_so = await self._keys(table, tenant, column.in_(names))
            removed[table.name] = removed.get(table.name, 0) + await self._delete(table, named_so)
        return removed

    async def _erase_what_came_of(self, tenant: str, seqs: Sequence[int]) -> dict[str, int]:
        query = sa.select(events.c.id).where(events.c.tenant == tenant, events.c.seq.in_(seqs))
        ids = [event_id for (event_id,) in await self._database.fetch(query)]
        removed: dict[str, int] = {}
        for table in _OF_EVENTS:
            found = await self._keys(table, tenant, table.c.event_id.in_(ids)) if ids else []
            if table is deliveries:
                removed[attempts.name] = await self._count_attempts(tenant, [str(key[1]) for key in found])
            removed[table.name] = await self._delete(table, found)
        return removed

    async def erase_tenant_slice(self, tenant: str) -> int:
        """Delete a slice of all that belongs to a tenant; 0: nothing is left but its name."""
        for table in reversed(metadata.sorted_tables):
            if table.name not in _KEEPS_TENANT and (found := await self._keys(table, tenant)):
                return await self._delete(table, found)
        return 0

    async def _keys(self, table: sa.Table, tenant: str, *conditions: sa.ColumnElement[bool]) -> list[Row]:
        query = sa.select(*table.primary_key.columns).where(table.c.tenant == tenant, *conditions)
        return await self._database.fetch(query.limit(SLICE) if not conditions else query)

    async def _count_attempts(self, tenant: str, delivery_ids: Sequence[str]) -> int:
        query = sa.select(sa.func.count()).select_from(attempts)
        query = query.where(attempts.c.tenant == tenant, attempts.c.delivery_id.in_(delivery_ids))
        return int((await self._database.fetch(query))[0][0])

    async def _delete(self, table: sa.Table, keys: Sequence[Row]) -> int:
        changes = [Change(_DELETES[table.name], tuple(key)) for key in keys]
        if table is deliveries:
            changes += [Change(_ATTEMPTS, tuple(key)) for key in keys]
        await self._writer.commit_all(changes)
        return len(keys)
