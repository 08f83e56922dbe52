"""Contacts and their aliases, and what each connection knows of the people it writes to."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from zapd.model.contact import Alias, Contact
from zapd.store.commands import Change, Delete, Insert, Lookup, Row, Update, by_key, matching
from zapd.store.database import Database
from zapd.store.reader import Reader
from zapd.store.tables import contact_aliases, contacts, numbers, peers

_C, _A, _P, _N = contacts.c, contact_aliases.c, peers.c, numbers.c
_NAMES = tuple(column.name for column in _C)
_KEY = (_C.tenant, _C.id)
_ADDED = Insert(table=contacts, columns=tuple(_C), when_there="skip")
_NAMED = Update(
    table=contacts,
    columns=(*_KEY, _C.name, _C.updated_at),
    sets=lambda v: {"name": v.c.name, "updated_at": v.c.updated_at},
)
_OPTED = Update(
    table=contacts,
    columns=(*_KEY, _C.opted_out_at, _C.opted_out_by, _C.updated_at),
    sets=lambda v: {name: v.c[name] for name in ("opted_out_at", "opted_out_by", "updated_at")},
)
_SEEN = Update(table=contacts, columns=(*_KEY, _C.updated_at), sets=lambda v: {"updated_at": v.c.updated_at})
_GONE = Delete(table=contacts, columns=_KEY)
_BY_ID = by_key(contacts, _KEY)
_ALIAS_KEY = (_A.tenant, _A.kind, _A.value)
_LEARNT = Insert(
    table=contact_aliases, columns=(*_ALIAS_KEY, _A.contact_id, _A.created_at), key=3, when_there="replace"
)
_CLAIMED = Insert(table=contact_aliases, columns=(*_ALIAS_KEY, _A.contact_id, _A.created_at), key=3, when_there="skip")
_UNLEARNT = Delete(table=contact_aliases, columns=_ALIAS_KEY, key=3)
_BY_ALIAS = Lookup(
    columns=_ALIAS_KEY,
    read=tuple(_C),
    source=lambda v: v.join(contact_aliases, sa.and_(*matching(contact_aliases, v, _ALIAS_KEY))).join(
        contacts, sa.and_(_C.tenant == _A.tenant, _C.id == _A.contact_id)
    ),
)
_ALIASES_OF = by_key(contact_aliases, (_A.tenant, _A.contact_id))

_PEER_KEY = (_P.tenant, _P.connection_id, _P.peer)
_WRITTEN_TO = Insert(table=peers, columns=(*_PEER_KEY, _P.first_out_at), key=3, when_there="skip")
_PEER = by_key(peers, _PEER_KEY)
_NUMBER_KEY = (_N.tenant, _N.connection_id, _N.number)
_RESOLVED = Insert(table=numbers, columns=tuple(_N), key=3, when_there="replace")
_NUMBER = by_key(numbers, _NUMBER_KEY)


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """Somebody whom a connection wrote to, under one name for both spellings. Times in milliseconds."""

    tenant: str
    connection_id: str
    peer: str
    first_out_at: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Number:
    """How WhatsApp spells a number; `peer` is None when it is not there."""

    tenant: str
    connection_id: str
    number: str
    peer: str | None
    resolved_at: int


class ContactStore:
    """The contacts of all tenants."""

    def __init__(self, *, database: Database, reader: Reader) -> None:
        self._database = database
        self._reader = reader

    @staticmethod
    def added(contact: Contact) -> Change:
        """A new contact, without its aliases."""
        c = contact
        row = (c.tenant, c.id, c.name, c.opted_out_at, c.opted_out_by, c.created_at, c.updated_at)
        return Change(_ADDED, row)

    @staticmethod
    def learnt(tenant: str, alias: Alias, contact_id: str, at: int) -> Change:
        """This id belongs to this contact from now on, whosever it was."""
        return Change(_LEARNT, (tenant, alias.kind, alias.value, contact_id, at))

    @staticmethod
    def claimed(tenant: str, alias: Alias, contact_id: str, at: int) -> Change:
        """This id belongs to this contact, unless it has one: as a guard it then has no row."""
        return Change(_CLAIMED, (tenant, alias.kind, alias.value, contact_id, at))

    @staticmethod
    def named(tenant: str, contact_id: str, name: str | None, at: int) -> Change:
        """Another name."""
        return Change(_NAMED, (tenant, contact_id, name, at))

    @staticmethod
    def seen(tenant: str, contact_id: str, at: int) -> Change:
        """Somebody wrote to them or they wrote: their retention begins anew."""
        return Change(_SEEN, (tenant, contact_id, at))

    @staticmethod
    def opted(tenant: str, contact_id: str, *, out_at: int | None, by: str | None, at: int) -> Change:
        """Out (`out_at`), or in again (None)."""
        return Change(_OPTED, (tenant, contact_id, out_at, by, at))

    def deleted(self, contact: Contact) -> list[Change]:
        """The contact and its aliases go."""
        aliases = [(kind, value) for kind, values in contact.aliases.items() for value in values]
        gone = [Change(_UNLEARNT, (contact.tenant, kind, value)) for kind, value in aliases]
        return [*gone, Change(_GONE, (contact.tenant, contact.id))]

    async def get(self, tenant: str, contact_id: str) -> Contact | None:
        """One contact with its aliases, `match` keys too."""
        row = await self._reader.one(_BY_ID, (tenant, contact_id))
        return None if row is None else await self._whole(row)

    async def of_alias(self, tenant: str, alias: Alias) -> Contact | None:
        """The contact that is known so, without its aliases."""
        row = await self._reader.one(_BY_ALIAS, (tenant, alias.kind, alias.value))
        return None if row is None else Contact(**dict(zip(_NAMES, row, strict=True)))

    async def listed(
        self, tenant: str, *, opted_out: bool | None, after: str | None, limit: int, found: str | None = None
    ) -> list[Contact]:
        """A page by id. `found`: those that are known by this value."""
        query = sa.select(contacts).where(_C.tenant == tenant).order_by(_C.id).limit(limit)
        if opted_out is not None:
            query = query.where(_C.opted_out_at.is_not(None) if opted_out else _C.opted_out_at.is_(None))
        if after is not None:
            query = query.where(_C.id > after)
        if found is not None:
            known = sa.select(_A.contact_id).where(_A.tenant == tenant, _A.value == found)
            query = query.where(_C.id.in_(known))
        return [await self._whole(row) for row in await self._database.fetch(query)]

    async def _whole(self, row: Row) -> Contact:
        fields: dict[str, Any] = dict(zip(_NAMES, row, strict=True))
        found = await self._reader.many(_ALIASES_OF, (fields["tenant"], fields["id"]))
        names = [column.name for column in _A]
        rows = sorted(
            (dict(zip(names, alias, strict=True)) for alias in found), key=lambda r: (r["created_at"], r["value"])
        )
        kinds = dict.fromkeys(r["kind"] for r in rows)
        aliases = {kind: tuple(r["value"] for r in rows if r["kind"] == kind) for kind in kinds}
        return Contact(**fields, aliases=aliases)


class PeerStore:
    """Whom each connection wrote to first and when, and how WhatsApp spells numbers."""

    def __init__(self, *, database: Database, reader: Reader) -> None:
        self._database = database
        self._reader = reader

    @staticmethod
    def written_to(tenant: str, connection_id: str, peer: str, at: int) -> Change:
        """The connection wrote to them; only the first time counts."""
        return Change(_WRITTEN_TO, (tenant, connection_id, peer, at))

    async def get(self, tenant: str, connection_id: str, peer: str) -> Peer | None:
        """What the connection knows of them."""
        row = await self._reader.one(_PEER, (tenant, connection_id, peer))
        return None if row is None else Peer(**dict(zip([c.name for c in _P], row, strict=True)))

    async def first_writes(self, tenant: str, connection_id: str, since: int) -> list[int]:
        """When new people were written to since then, in order."""
        query: sa.Select[Any] = (
            sa.select(_P.first_out_at)
            .where(_P.tenant == tenant, _P.connection_id == connection_id, _P.first_out_at > since)
            .order_by(_P.first_out_at)
        )
        return [int(row[0]) for row in await self._database.fetch(query)]

    @staticmethod
    def resolved(number: Number) -> Change:
        """How WhatsApp spells it, as it was found now."""
        n = number
        return Change(_RESOLVED, (n.tenant, n.connection_id, n.number, n.peer, n.resolved_at))

    async def number(self, tenant: str, connection_id: str, number: str) -> Number | None:
        """What was found last."""
        row = await self._reader.one(_NUMBER, (tenant, connection_id, number))
        return None if row is None else Number(**dict(zip([c.name for c in _N], row, strict=True)))
