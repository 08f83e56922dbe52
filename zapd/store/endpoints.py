"""Endpoints: subscribers' URLs. Signing secrets and headers are sealed."""

import json
from dataclasses import asdict
from typing import Any

import sqlalchemy as sa

from zapd.model.webhook import BodyFormat, Endpoint, Options, Secret
from zapd.store.commands import Change, Delete, Insert, Row, Update, by_key
from zapd.store.database import Database
from zapd.store.reader import Reader
from zapd.store.tables import endpoint_seqs, endpoints
from zapd.store.vault import Vault

_E = endpoints.c
_NAMES = tuple(column.name for column in _E)
_KEY = (_E.tenant, _E.id)
_STANDING = (_E.failures, _E.failing_since, _E.alerted)
_COLUMNS = tuple(column for column in _E if column not in set(_STANDING))
_ADDED = Insert(table=endpoints, columns=_COLUMNS, when_there="skip")
_FORGIVEN: dict[str, Any] = {
    "failures": sa.literal_column("0"),
    "failing_since": sa.null(),
    "alerted": sa.literal_column("0"),
}
# How it stands with its failures is not the user's to set; who enables it forgives them.
_UPDATED = Update(
    table=endpoints,
    columns=_COLUMNS,
    sets=lambda v: {
        **{column.name: v.c[column.name] for column in _COLUMNS[2:]},
        **{c.name: sa.case((sa.and_(v.c.enabled, ~_E.enabled), _FORGIVEN[c.name]), else_=c) for c in _STANDING},
    },
)
_FAILED = Update(
    table=endpoints,
    columns=(*_KEY, _E.failing_since, _E.url),
    sets=lambda v: {
        "failures": _E.failures + sa.literal_column("1"),
        "failing_since": sa.func.coalesce(_E.failing_since, v.c.failing_since),
    },
    where=lambda v: [_E.url == v.c.url],
    returning=(*_KEY, *_STANDING),
)
_WORKS = Update(table=endpoints, columns=_KEY, sets=lambda _: dict(_FORGIVEN))
_ALERTED = Update(
    table=endpoints,
    columns=(*_KEY, _E.alerted),
    sets=lambda v: {"alerted": v.c.alerted},
    where=lambda v: [_E.alerted < v.c.alerted],
)
# Only these columns: whoever changes the others at the same time must not lose them.
_DISABLED = Update(
    table=endpoints,
    columns=(*_KEY, _E.url, _E.disabled_reason),
    sets=lambda v: {"enabled": sa.false(), "disabled_reason": v.c.disabled_reason},
    where=lambda v: [_E.enabled.is_(True), _E.url == v.c.url],
)
_DELETED = Delete(table=endpoints, columns=_KEY)
_UNNUMBERED = Delete(table=endpoint_seqs, columns=(endpoint_seqs.c.tenant, endpoint_seqs.c.endpoint_id))
MOST_TWINS = 10  #: endpoints of one URL that are named
_BY_ID = by_key(endpoints, _KEY)


class EndpointStore:
    """The endpoints of all tenants."""

    def __init__(self, *, database: Database, reader: Reader, vault: Vault) -> None:
        self._database = database
        self._reader = reader
        self._vault = vault

    def added(self, endpoint: Endpoint) -> Change:
        """A new endpoint, unless its id is taken: as a guard it then has no row."""
        return Change(_ADDED, self._row(endpoint))

    def updated(self, endpoint: Endpoint) -> Change:
        """All values of an endpoint that exists."""
        return Change(_UPDATED, self._row(endpoint))

    @staticmethod
    def disabled(endpoint: Endpoint, reason: str) -> Change:
        """It is off: as a guard it has no row when it was off already, or has another URL by now."""
        return Change(_DISABLED, (endpoint.tenant, endpoint.id, endpoint.url, reason))

    @staticmethod
    def deleted(tenant: str, endpoint_id: str) -> Change:
        """It goes."""
        return Change(_DELETED, (tenant, endpoint_id))

    @staticmethod
    def unnumbered(tenant: str, endpoint_id: str) -> Change:
        """Its count of deliveries goes, together with it."""
        return Change(_UNNUMBERED, (tenant, endpoint_id))

    @staticmethod
    def failed(endpoint: Endpoint, at: int) -> Change:
        """One attempt more in a row failed; it has no row when the endpoint is gone, or has another URL by now.

        As a guard its row is the key, failures, failing_since, alerted.
        """
        return Change(_FAILED, (endpoint.tenant, endpoint.id, at, endpoint.url))

    @staticmethod
    def works(tenant: str, endpoint_id: str) -> Change:
        """An attempt was taken: it owes nothing any more."""
        return Change(_WORKS, (tenant, endpoint_id))

    @staticmethod
    def told(tenant: str, endpoint_id: str, percent: int) -> Change:
        """So much of its failure budget was told: as a guard it has no row when that was told before."""
        return Change(_ALERTED, (tenant, endpoint_id, percent))

    async def get(self, tenant: str, endpoint_id: str) -> Endpoint | None:
        """One endpoint."""
        row = await self._reader.one(_BY_ID, (tenant, endpoint_id))
        return None if row is None else self._of(row)

    async def listed(self, tenant: str, after: str | None = None, limit: int = 100) -> list[Endpoint]:
        """A page by id."""
        query = sa.select(endpoints).where(_E.tenant == tenant).order_by(_E.id).limit(limit)
        return await self._fetch(query if after is None else query.where(_E.id > after))

    async def with_url(self, tenant: str, url: str) -> list[str]:
        """Ids of the tenant's enabled endpoints that have this URL."""
        query: sa.Select[Any] = sa.select(_E.id).where(_E.tenant == tenant, _E.url == url, _E.enabled.is_(True))
        return [endpoint_id for (endpoint_id,) in await self._database.fetch(query.order_by(_E.id).limit(MOST_TWINS))]

    async def all_enabled(self) -> list[Endpoint]:
        """The enabled endpoints of all tenants."""
        return await self._fetch(sa.select(endpoints).where(_E.enabled.is_(True)))

    async def disabled_count(self) -> int:
        """How many endpoints of all tenants are off."""
        query: sa.Select[Any] = sa.select(sa.func.count()).select_from(endpoints).where(_E.enabled.is_(False))
        return int((await self._database.fetch(query))[0][0])

    async def _fetch(self, query: sa.Select[Any]) -> list[Endpoint]:
        return [self._of(row) for row in await self._database.fetch(query)]

    def _row(self, e: Endpoint) -> Row:
        headers = json.dumps(e.headers).encode()
        secrets = json.dumps([[s.value, s.expires_at, s.proven_at] for s in e.secrets]).encode()
        return (
            *(e.tenant, e.id, e.url, json.dumps(e.types), e.connection_id, e.format.value),
            self._vault.seal(headers, place=_place("headers", e.tenant, e.id)),
            self._vault.seal(secrets, place=_place("secrets", e.tenant, e.id)),
            *(e.enabled, e.disabled_reason, e.created_at),
            None if e.options == Options() else json.dumps(asdict(e.options)),
        )

    def _of(self, row: Row) -> Endpoint:
        fields: dict[str, Any] = dict(zip(_NAMES, row, strict=True))
        tenant, endpoint_id = fields["tenant"], fields["id"]
        headers = json.loads(self._vault.open(fields["headers"], place=_place("headers", tenant, endpoint_id)))
        secrets = json.loads(self._vault.open(fields["secrets"], place=_place("secrets", tenant, endpoint_id)))
        fields["headers"] = tuple((name, value) for name, value in headers)
        fields["secrets"] = tuple(_secret(*parts) for parts in secrets)
        fields["types"] = tuple(json.loads(fields["types"]))
        fields["format"] = BodyFormat(fields["format"])
        fields["enabled"] = bool(fields["enabled"])  # SQLite keeps it as a number
        fields["options"] = _options(fields["options"])
        return Endpoint(**fields)


async def destinations(database: Database) -> list[tuple[str, str, str]]:
    """Tenant, id and URL of every enabled endpoint; opens no secret."""
    query: sa.Select[Any] = sa.select(_E.tenant, _E.id, _E.url).where(_E.enabled.is_(True)).order_by(_E.id)
    return [(tenant, endpoint_id, url) for tenant, endpoint_id, url in await database.fetch(query)]


def _secret(value: str, expires_at: int | None, proven_at: int | None = None) -> Secret:
    return Secret(value=value, expires_at=expires_at, proven_at=proven_at)


def _options(stored: str | None) -> Options:
    if stored is None:
        return Options()
    given = json.loads(stored)
    return Options(**{**given, "channels": tuple(given["channels"])})


def _place(what: str, tenant: str, endpoint_id: str) -> str:
    return f"endpoints.{what}/{tenant}/{endpoint_id}"
