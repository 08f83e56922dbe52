"""Connections: the stored records of sessions. Their config holds secrets and is sealed."""

from functools import cache
from typing import Any

import orjson
import sqlalchemy as sa

from zapd.model.pace import NO_LIMITS, Limits
from zapd.model.session import SOURCES, Connection, Desired, OnAmbiguous, SessionState, TransportName
from zapd.store.commands import Change, Insert, Row, Update, among, by_key, word
from zapd.store.database import Database
from zapd.store.reader import Reader
from zapd.store.tables import connections
from zapd.store.vault import Vault

_C = connections.c
_NAMES = tuple(column.name for column in _C)
_KEY = (_C.tenant, _C.id)
_ADDED = Insert(table=connections, columns=tuple(_C), when_there="skip")
_NAMED = by_key(connections, (_C.id,))
_BY_ID = by_key(connections, _KEY)


def _setting(*columns: sa.Column[Any]) -> Update:
    return Update(
        table=connections,
        columns=(*_KEY, *columns),
        sets=lambda v: {column.name: v.c[column.name] for column in columns},
    )


_UPDATED = _setting(_C.label, _C.config, _C.on_ambiguous, _C.rate_per_minute, _C.job_id, _C.limits)
_NEW_CONTACTS = _setting(_C.new_contacts_until)
_DESIRED = _setting(_C.desired)
_SHOWN = _setting(_C.qr, _C.qr_expires_at)
_SHOWN_TO_TYPE = _setting(_C.pairing_code, _C.pairing_code_expires_at)
_CODES = (_C.qr, _C.qr_expires_at, _C.pairing_code, _C.pairing_code_expires_at)


@cache  # one for each pair of states that the code asks for
def _moving(to: SessionState, frm: frozenset[SessionState]) -> Update:
    no_code = {column.name: sa.null() for column in _CODES}
    return Update(
        table=connections,
        columns=(*_KEY, _C.reason, _C.since),
        sets=lambda v: {
            "state": word(to),
            "reason": v.c.reason,
            "since": v.c.since,
            **({} if to is SessionState.QR_PENDING else no_code),
        },
        where=lambda _: [among(_C.state, frm)],
    )


class ConnectionStore:
    """The connections of all tenants."""

    def __init__(self, *, database: Database, reader: Reader, vault: Vault) -> None:
        self._database = database
        self._reader = reader
        self._vault = vault

    def added(self, connection: Connection) -> Change:
        """A new connection, unless its id is taken: as a guard it then has no row."""
        c = connection
        row = (
            *(c.tenant, c.id, c.transport.value, c.label, c.desired.value, c.state.value, c.reason, c.since),
            *(self._sealed(c), c.on_ambiguous.value, c.rate_per_minute, c.created_at, c.job_id),
            *(c.qr, c.qr_expires_at, c.pairing_code, c.pairing_code_expires_at),
            *(_written(c.limits), c.new_contacts_until),
        )
        return Change(_ADDED, row)

    def updated(self, connection: Connection) -> Change:
        """New values for what an operator sets: label, config, on_ambiguous, rate_per_minute, job_id, limits."""
        c = connection
        row = (c.tenant, c.id, c.label, self._sealed(c), c.on_ambiguous.value, c.rate_per_minute, c.job_id)
        return Change(_UPDATED, (*row, _written(c.limits)))

    @staticmethod
    def new_contacts_held(tenant: str, connection_id: str, until: int | None) -> Change:
        """Until then (ms) nobody is written to who never wrote."""
        return Change(_NEW_CONTACTS, (tenant, connection_id, until))

    @staticmethod
    def moved(
        tenant: str,
        connection_id: str,
        *,
        to: SessionState,
        reason: str | None,
        at: int,
        frm: frozenset[SessionState] | None = None,
    ) -> Change:
        """Compare-and-set of the state from one of `frm` (by default every legal one). Drops a code that was shown."""
        command = _moving(to, SOURCES[to] if frm is None else frm)
        return Change(command, (tenant, connection_id, reason, at))

    @staticmethod
    def desire(tenant: str, connection_id: str, desired: Desired) -> Change:
        """What the operator wants from now on."""
        return Change(_DESIRED, (tenant, connection_id, desired.value))

    @staticmethod
    def shown(tenant: str, connection_id: str, code: str, expires_at: int, *, typed: bool = False) -> Change:
        """A code to scan, or to be typed on the phone, and until when it is good (ms)."""
        return Change(_SHOWN_TO_TYPE if typed else _SHOWN, (tenant, connection_id, code, expires_at))

    async def get(self, tenant: str, connection_id: str) -> Connection | None:
        """One connection."""
        row = await self._reader.one(_BY_ID, (tenant, connection_id))
        return None if row is None else self._of(row)

    async def named(self, connection_id: str) -> list[Connection]:
        """The connections of all tenants with this id: a provider's webhook does not say whose it is."""
        return [self._of(row) for row in await self._reader.many(_NAMED, (connection_id,))]

    async def listed(self, tenant: str, after: str | None = None, limit: int = 100) -> list[Connection]:
        """A page by id."""
        query = sa.select(connections).where(_C.tenant == tenant).order_by(_C.id).limit(limit)
        return await self._fetch(query if after is None else query.where(_C.id > after))

    async def not_closed(self, tenant: str, limit: int) -> list[Connection]:
        """The first ones by id that are not closed for good."""
        query = sa.select(connections).where(_C.tenant == tenant, _C.state != SessionState.CLOSED.value)
        return await self._fetch(query.order_by(_C.id).limit(limit))

    async def wanted(self) -> list[Connection]:
        """The connections of all tenants that should be connected."""
        return await self._fetch(
            sa.select(connections).where(_C.desired == Desired.CONNECTED.value).order_by(_C.created_at)
        )

    async def counts(self) -> list[tuple[TransportName, SessionState, Desired, int]]:
        """How many connections of all tenants have this transport, this state and this desired state."""
        what = (_C.transport, _C.state, _C.desired)
        query: sa.Select[Any] = sa.select(*what, sa.func.count()).group_by(*what)
        rows = await self._database.fetch(query)
        return [(TransportName(t), SessionState(state), Desired(desired), n) for t, state, desired, n in rows]

    async def _fetch(self, query: sa.Select[Any]) -> list[Connection]:
        return [self._of(row) for row in await self._database.fetch(query)]

    def _of(self, row: Row) -> Connection:
        fields: dict[str, Any] = dict(zip(_NAMES, row, strict=True))
        fields["transport"] = TransportName(fields["transport"])
        fields["desired"] = Desired(fields["desired"])
        fields["state"] = SessionState(fields["state"])
        fields["on_ambiguous"] = OnAmbiguous(fields["on_ambiguous"])
        fields["limits"] = Limits.of_json(orjson.loads(fields["limits"])) if fields["limits"] else NO_LIMITS
        fields["config"] = self._vault.open(fields["config"], place=_place(fields["tenant"], fields["id"]))
        return Connection(**fields)

    def _sealed(self, connection: Connection) -> bytes:
        return self._vault.seal(connection.config, place=_place(connection.tenant, connection.id))


def _written(limits: Limits) -> str | None:
    return orjson.dumps(limits.as_json()).decode() if limits != NO_LIMITS else None


def _place(tenant: str, connection_id: str) -> str:
    return f"connections/{tenant}/{connection_id}"
