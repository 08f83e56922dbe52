"""Contacts: one person under one id, whatever the transports call them, and who wants no more messages.

Whoever writes or is written to is found by any id that is known of them, so that a hidden number (`…@lid`), a phone
and a business-scoped id are one contact. Two contacts that turn out to be one person are merged; the older id stays.
"""

import time
import unicodedata
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from zapd.announce import Announcement, Announcer
from zapd.errors import Conflict, FieldError, InvalidInput, NotFound
from zapd.ids import Ids
from zapd.model.contact import KINDS, MATCH, Alias, Contact, aliases_of_peer, match_key, with_match
from zapd.store.commands import Change, Row
from zapd.store.contacts import ContactStore

REMEMBER = 5.0  #: seconds; another daemon may hear a STOP
SEEN_EVERY = 86_400_000  #: ms; how often it is noted that somebody still writes or is written to
MAX_WORD = 64  #: characters; a longer text is none of the words
MAX_REMEMBERED = 20_000
TRIES = 5  #: two who write at once may make one contact; the second then finds it

K = TypeVar("K")
V = TypeVar("V")

Commit = Callable[..., Awaitable[Row | None]]


@dataclass(frozen=True, kw_only=True)
class Words:
    """What a contact writes to get no more messages, and to get them again."""

    out: Collection[str] = ("STOP", "SAIR", "PARAR")
    back: Collection[str] = ("START", "VOLTAR")


class Contacts:
    """The people of all tenants."""

    def __init__(
        self,
        *,
        rows: ContactStore,
        announcer: Announcer,
        commit: Commit,
        ids: Ids,
        now_ms: Callable[[], int],
        words: Words = Words(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rows = rows
        self._announcer = announcer
        self._commit = commit
        self._ids = ids
        self._now_ms = now_ms
        self._out = {_plain(word) for word in words.out}
        self._back = {_plain(word) for word in words.back}
        self._clock = clock
        self._known: OrderedDict[tuple[str, frozenset[Alias], int], Contact] = OrderedDict()
        self._opted: OrderedDict[tuple[str, Alias], tuple[float, Contact | None]] = OrderedDict()

    # --- what messaging asks ---

    async def known(self, tenant: str, aliases: Iterable[Alias], *, name: str | None = None) -> Contact | None:
        """The contact behind these ids, a new one if there is none; None: they name nobody."""
        wanted = with_match(list(dict.fromkeys(aliases)))
        if not wanted:
            return None
        key = (tenant, frozenset(wanted), self._now_ms() // SEEN_EVERY)
        found = self._known.get(key)
        if found is None:
            found = await self._settled(tenant, wanted, name)
            _remember(self._known, key, found)
        return found

    async def opted_out(self, tenant: str, peer: str) -> Contact | None:
        """The contact at this address, if they want no more messages; a short-lived memory may answer."""
        alias = _key_of(peer)
        if alias is None:
            return None
        key, now = (tenant, alias), self._clock()
        kept = self._opted.get(key)
        if kept is None or kept[0] < now:
            contact = await self._rows.of_alias(tenant, alias)
            out = contact if contact is not None and contact.opted_out_at is not None else None
            kept = (now + REMEMBER, out)
            _remember(self._opted, key, kept)
        return kept[1]

    async def said(self, tenant: str, contact_id: str, text: str) -> None:
        """What a contact wrote: a word that ends their messages, or begins them again, is obeyed."""
        word = _plain(text)
        if word in self._out:
            await self.opt_out(tenant, contact_id, by=word.upper())
        elif word in self._back:
            await self.opt_in(tenant, contact_id, by=word.upper())

    async def refused(self, tenant: str, peer: str, by: str) -> None:
        """The provider says that they want no more messages."""
        contact = await self.known(tenant, aliases_of_peer(peer))
        if contact is not None:
            await self.opt_out(tenant, contact.id, by=by)

    # --- what a person asks ---

    async def get(self, tenant: str, contact_id: str) -> Contact:
        """One contact. Raises NotFound."""
        contact = await self._rows.get(tenant, contact_id)
        if contact is None:
            raise NotFound(f"there is no contact {contact_id}")
        return contact

    async def listed(
        self, tenant: str, *, opted_out: bool | None, found: str | None, after: str | None, limit: int
    ) -> Sequence[Contact]:
        """A page by id; `found` is any id of a person, a number in either spelling too."""
        key = match_key(found) if found is not None else None
        return await self._rows.listed(tenant, opted_out=opted_out, found=key or found, after=after, limit=limit)

    async def create(self, tenant: str, aliases: Sequence[Alias], *, name: str | None) -> Contact:
        """A contact before any message. Raises Conflict when one of the ids has one."""
        for alias in with_match(list(aliases)):
            found = await self._rows.of_alias(tenant, alias)
            if found is not None:
                raise Conflict(f"{alias.value} is contact {found.id} already")
        contact = await self.known(tenant, aliases, name=name)
        if contact is None:
            raise InvalidInput(FieldError("phone", "a contact needs at least one id"))
        return contact

    async def rename(self, tenant: str, contact_id: str, name: str | None) -> Contact:
        """Another name. Raises NotFound."""
        await self.get(tenant, contact_id)
        await self._commit(self._rows.named(tenant, contact_id, name, self._now_ms()))
        self._forget()
        return await self.get(tenant, contact_id)

    async def opt_out(self, tenant: str, contact_id: str, *, by: str) -> Contact:
        """No more messages to them. Nothing happens if it is so already. Raises NotFound."""
        contact = await self.get(tenant, contact_id)
        return contact if contact.opted_out_at is not None else await self._opt(contact, self._now_ms(), by)

    async def opt_in(self, tenant: str, contact_id: str, *, by: str) -> Contact:
        """They get messages again. Raises NotFound."""
        contact = await self.get(tenant, contact_id)
        return contact if contact.opted_out_at is None else await self._opt(contact, None, by)

    async def delete(self, tenant: str, contact_id: str) -> None:
        """The contact and what is known of them go; their messages stay until their retention. Raises NotFound."""
        contact = await self.get(tenant, contact_id)
        gone = self._rows.deleted(contact)
        await self._commit(gone[-1], *gone[:-1])
        self._forget()

    async def merge(self, tenant: str, contact_id: str, other_id: str) -> Contact:
        """Two are one person: the ids of the other become this one's. Raises NotFound, InvalidInput."""
        if contact_id == other_id:
            raise InvalidInput(FieldError("contact_id", "is this contact itself"))
        first, second = await self.get(tenant, contact_id), await self.get(tenant, other_id)
        await self._merge(first, [second])
        return await self.get(tenant, contact_id)

    # --- how ---

    async def _opt(self, contact: Contact, out_at: int | None, by: str) -> Contact:
        now = self._now_ms()
        event = self._event("contact.opted_out" if out_at else "contact.opted_in", contact, by, now)
        changed = self._rows.opted(contact.tenant, contact.id, out_at=out_at, by=by if out_at else None, at=now)
        await self._commit(changed, *event.changes, jobs=event.jobs)
        self._forget()
        return await self.get(contact.tenant, contact.id)

    def _event(self, type_: str, contact: Contact, by: str, at: int) -> Announcement:
        data = {"contact": shown(contact), "by": by}
        return self._announcer.announce(type_, tenant=contact.tenant, at=at, data=data)

    async def _settled(self, tenant: str, aliases: Sequence[Alias], name: str | None) -> Contact:
        for _ in range(TRIES):
            found = await self._found(tenant, aliases)
            if not found:
                made = await self._made(tenant, aliases, name)
                if made is not None:
                    return made
                continue  # somebody was faster
            first = found[0]
            if len(found) > 1:
                await self._merge(first, found[1:])
            now = self._now_ms()
            learnt = [self._rows.learnt(tenant, alias, first.id, now) for alias in aliases]
            learnt.append(self._rows.seen(tenant, first.id, now))
            if name is not None and first.name is None:
                learnt.append(self._rows.named(tenant, first.id, name, now))
            await self._commit(learnt[0], *learnt[1:])
            return await self.get(tenant, first.id)
        raise Conflict("this contact changes too fast")

    async def _found(self, tenant: str, aliases: Sequence[Alias]) -> list[Contact]:
        found = [await self._rows.of_alias(tenant, alias) for alias in aliases]
        return sorted({c.id: c for c in found if c is not None}.values(), key=lambda c: c.id)

    async def _made(self, tenant: str, aliases: Sequence[Alias], name: str | None) -> Contact | None:
        now = self._now_ms()
        contact = Contact(
            tenant=tenant,
            id=self._ids.new("ctc"),
            name=name,
            opted_out_at=None,
            opted_out_by=None,
            created_at=now,
            updated_at=now,
            aliases={kind: tuple(a.value for a in aliases if a.kind == kind) for kind in {a.kind for a in aliases}},
        )
        # The last one is the match key where there is a number: both spellings at once make one contact.
        guard = self._rows.claimed(tenant, aliases[-1], contact.id, now)
        learnt = [self._rows.learnt(tenant, alias, contact.id, now) for alias in aliases[:-1]]
        made = await self._commit(guard, self._rows.added(contact), *learnt)
        return contact if made is not None else None

    async def _merge(self, first: Contact, others: Sequence[Contact]) -> None:
        now, changes = self._now_ms(), list[Change]()
        out = first if first.opted_out_at is not None else None
        for other in others:
            whole = await self._rows.get(other.tenant, other.id) or other
            out = out or (whole if whole.opted_out_at is not None else None)
            for kind, values in whole.aliases.items():
                changes += [self._rows.learnt(first.tenant, Alias(kind, value), first.id, now) for value in values]
            changes.append(self._rows.deleted(replace(whole, aliases={}))[-1])
        if out is not None and out is not first:  # whoever asked for no messages gets none under the new id
            changes.append(
                self._rows.opted(first.tenant, first.id, out_at=out.opted_out_at, by=out.opted_out_by, at=now)
            )
        event = self._announcer.announce(
            "contact.merged",
            tenant=first.tenant,
            at=now,
            data={"contact_id": first.id, "merged": [other.id for other in others]},
        )
        await self._commit(changes[0], *changes[1:], *event.changes, jobs=event.jobs)
        self._forget()

    def _forget(self) -> None:
        self._known.clear()
        self._opted.clear()


def shown(contact: Contact) -> dict[str, object]:
    """A contact in an event: every id that is known, also those that are not."""
    ids = {kind: next(iter(contact.aliases.get(kind, ())), None) for kind in KINDS}
    return {"id": contact.id, "name": contact.name, **ids}


def _key_of(peer: str) -> Alias | None:
    """The one id by which an address is looked up."""
    key = match_key(peer)
    if key is not None:
        return Alias(MATCH, key)
    return next(iter(aliases_of_peer(peer)), None)


def _plain(text: str) -> str:
    """Only its letters count: not how large they are, nor accents, nor signs and emoji around them."""
    if len(text) > MAX_WORD:
        return ""
    letters = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c)).casefold()
    first = next((n for n, c in enumerate(letters) if c.isalnum()), len(letters))
    last = next((n for n, c in enumerate(reversed(letters)) if c.isalnum()), 0)
    return letters[first : len(letters) - last]


def _remember(memory: "OrderedDict[K, V]", key: K, value: V) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > MAX_REMEMBERED:
        memory.popitem(last=False)
