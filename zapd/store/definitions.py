"""What operators define: sources, mappings, routes, targets, syncs. All versions are kept; what was given is sealed."""

from typing import Any

import sqlalchemy as sa

from zapd.model.hub import Definition, DefinitionKind
from zapd.store.commands import Change, Delete, Insert, Row, Update
from zapd.store.database import Database
from zapd.store.tables import definition_versions, definitions
from zapd.store.vault import Vault

_D, _V = definitions.c, definition_versions.c
_KEY = (_D.tenant, _D.kind, _D.name)
_VERSION_KEY = (_V.tenant, _V.kind, _V.name)
_ADDED = Insert(table=definitions, columns=tuple(_D), key=3, when_there="skip")
_VERSION_ADDED = Insert(table=definition_versions, columns=tuple(_V), key=4, when_there="skip")
_EXPECTED = sa.column("expected", sa.Integer())
_ACTIVATED = Update(
    table=definitions,
    columns=(*_KEY, _D.active, _D.updated_at, _EXPECTED),
    sets=lambda v: {"active": v.c.active, "updated_at": v.c.updated_at},
    where=lambda v: [_D.active == v.c.expected],
    key=3,
)
_DELETED = Delete(table=definitions, columns=_KEY, key=3)
_VERSIONS_DELETED = Delete(table=definition_versions, columns=_VERSION_KEY, key=3)
_VERSION_DELETED = Delete(table=definition_versions, columns=(*_VERSION_KEY, _V.version), key=4)
_JOINED = definitions.join(definition_versions, sa.and_(_V.tenant == _D.tenant, _V.kind == _D.kind, _V.name == _D.name))
_READ = (_D.tenant, _D.kind, _D.name, _V.version, _V.given, _V.created_at, _D.updated_at, _D.active)


class DefinitionStore:
    """The definitions of all tenants."""

    def __init__(self, *, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    def added(self, d: Definition) -> Change:
        """A new name, with this version in force: as a guard it has no row when the name is taken."""
        return Change(_ADDED, (d.tenant, d.kind.value, d.name, d.version, d.created_at, d.updated_at))

    def version_added(self, d: Definition) -> Change:
        """One more version: as a guard it has no row when that number is taken."""
        sealed = self._vault.seal(d.given, place=_place(d.tenant, d.kind, d.name))
        return Change(_VERSION_ADDED, (d.tenant, d.kind.value, d.name, d.version, sealed, d.created_at))

    @staticmethod
    def activated(tenant: str, kind: DefinitionKind, name: str, version: int, *, expected: int, at: int) -> Change:
        """This version is in force: as a guard it has no row when another than `expected` was."""
        return Change(_ACTIVATED, (tenant, kind.value, name, version, at, expected))

    @staticmethod
    def deleted(tenant: str, kind: DefinitionKind, name: str) -> list[Change]:
        """It goes, with all its versions. The first is the guard."""
        key = (tenant, kind.value, name)
        return [Change(_DELETED, key), Change(_VERSIONS_DELETED, key)]

    @staticmethod
    def version_deleted(tenant: str, kind: DefinitionKind, name: str, version: int) -> Change:
        """One old version goes."""
        return Change(_VERSION_DELETED, (tenant, kind.value, name, version))

    async def stamp(self) -> tuple[Any, ...]:
        """Another value whenever something was defined, changed or deleted."""
        query = sa.select(sa.func.count(), sa.func.max(_D.updated_at), sa.func.sum(_D.active)).select_from(definitions)
        return tuple((await self._database.fetch(query))[0])

    async def in_force(self) -> list[Definition]:
        """The versions in force, of all tenants."""
        return await self._fetch(sa.select(*_READ).select_from(_JOINED).where(_V.version == _D.active))

    async def versions(self, tenant: str, kind: DefinitionKind, name: str) -> list[Definition]:
        """Every version of one name, the oldest first."""
        query = sa.select(*_READ).select_from(_JOINED)
        query = query.where(_D.tenant == tenant, _D.kind == kind.value, _D.name == name)
        return await self._fetch(query.order_by(_V.version))

    async def _fetch(self, query: sa.Select[Any]) -> list[Definition]:
        return [self._of(row) for row in await self._database.fetch(query)]

    def _of(self, row: Row) -> Definition:
        tenant, kind, name, version, sealed, created_at, updated_at, active = row
        return Definition(
            tenant=tenant,
            kind=DefinitionKind(kind),
            name=name,
            version=version,
            given=self._vault.open(sealed, place=_place(tenant, DefinitionKind(kind), name)),
            created_at=created_at,
            updated_at=updated_at,
            active=active,
        )


def _place(tenant: str, kind: DefinitionKind, name: str) -> str:
    return f"definitions/{tenant}/{kind.value}/{name}"
