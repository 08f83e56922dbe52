"""What is defined, in memory: sources, mappings, routes, targets and syncs of all tenants, parsed once.

After a change here, call `refresh`; a change made by another daemon is seen within seconds (`refresher.py`). What the
configuration file defines belongs to the default tenant and cannot be changed over the API.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar, cast

import structlog
from pydantic import ValidationError

from zapd.config.hub import KINDS, Defined, MappingSpec, RouteSpec, SourceSpec, Spec, SyncSpec, TargetSpec
from zapd.model.access import DEFAULT_TENANT
from zapd.model.hub import Definition, DefinitionKind
from zapd.refresher import Refresher
from zapd.store.definitions import DefinitionStore

log = structlog.get_logger("zapd.events")

S = TypeVar("S", bound=Spec)
Key = tuple[str, DefinitionKind, str]  #: tenant, kind, name


@dataclass(frozen=True, slots=True)
class Entry:
    """A version in force, parsed."""

    definition: Definition
    spec: Spec

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def label(self) -> str:
        """Its name and version, as a trace shows them."""
        return f"{self.definition.name}@{self.definition.version}"


class Registry:
    """The definitions in force. A Service: it refreshes them."""

    name = "definitions"

    def __init__(self, *, rows: DefinitionStore, from_file: Mapping[tuple[str, str], Defined]) -> None:
        self._rows = rows
        self._file = _all_of_file(from_file)
        self._stored: list[Entry] = []
        self._entries: dict[Key, Entry] = {}
        self._routes: dict[str, list[Entry]] = {}
        self._sources: dict[str, list[Entry]] = {}
        self._stamp: object = None
        self._refresher = Refresher(what="definitions", refresh=self.refresh)
        self._take(self._file)

    async def run(self) -> None:
        """Look for changes every few seconds until `stop`."""
        await self._refresher.run()

    async def stop(self) -> None:
        """End `run`."""
        self._refresher.stop()

    async def refresh(self) -> None:
        """Read the definitions again, if any changed. Raises Unavailable."""
        stamp = await self._rows.stamp()
        if stamp != self._stamp:
            stored = [_parsed(row) for row in await self._rows.in_force()]
            self._stored = [entry for entry in stored if entry is not None]
            self._take([*self._stored, *self._file])
            self._stamp = stamp

    def configure(self, from_file: Mapping[tuple[str, str], Defined]) -> None:
        """Another configuration file, whose definitions were checked."""
        self._file = _all_of_file(from_file)
        self._take([*self._stored, *self._file])

    def get(self, tenant: str, kind: DefinitionKind, name: str) -> Entry | None:
        """The version in force."""
        return self._entries.get((tenant, kind, name))

    def all(self, tenant: str, kind: DefinitionKind) -> list[Entry]:
        """Those of one kind, by name."""
        found = [entry for key, entry in self._entries.items() if key[:2] == (tenant, kind)]
        return sorted(found, key=lambda entry: entry.name)

    def routes(self, tenant: str) -> list[Entry]:
        """The tenant's enabled routes in their order."""
        return self._routes.get(tenant, [])

    def sources(self, name: str) -> list[Entry]:
        """The sources with this name, of all tenants: a call carries no key, its secret tells whose it is."""
        return self._sources.get(name, [])

    def mapping(self, tenant: str, name: str) -> MappingSpec | None:
        """A mapping in force."""
        entry = self.get(tenant, DefinitionKind.MAPPING, name)
        return None if entry is None else cast(MappingSpec, entry.spec)

    def target(self, tenant: str, name: str) -> TargetSpec | None:
        """A target in force."""
        entry = self.get(tenant, DefinitionKind.TARGET, name)
        return None if entry is None else cast(TargetSpec, entry.spec)

    def sync(self, tenant: str, name: str) -> SyncSpec | None:
        """A sync in force."""
        entry = self.get(tenant, DefinitionKind.SYNC, name)
        return None if entry is None else cast(SyncSpec, entry.spec)

    def _take(self, entries: Iterable[Entry]) -> None:
        found = {(e.definition.tenant, e.definition.kind, e.name): e for e in entries}  # the file's come last and win
        routes: dict[str, list[Entry]] = {}
        sources: dict[str, list[Entry]] = {}
        for (tenant, kind, name), entry in found.items():
            if kind is DefinitionKind.ROUTE and route_of(entry).enabled:
                routes.setdefault(tenant, []).append(entry)
            if kind is DefinitionKind.SOURCE:
                sources.setdefault(name, []).append(entry)
        for of_tenant in routes.values():
            of_tenant.sort(key=lambda entry: (route_of(entry).order, entry.name))
        self._entries, self._routes, self._sources = found, routes, sources


def route_of(entry: Entry) -> RouteSpec:
    """The entry's spec, as a route."""
    return cast(RouteSpec, entry.spec)


def source_of(entry: Entry) -> SourceSpec:
    """The entry's spec, as a source."""
    return cast(SourceSpec, entry.spec)


def _all_of_file(from_file: Mapping[tuple[str, str], Defined]) -> list[Entry]:
    return [_of_file(kind, name, defined) for (kind, name), defined in from_file.items()]


def _of_file(kind: str, name: str, defined: Defined) -> Entry:
    definition = Definition(
        tenant=DEFAULT_TENANT,
        kind=DefinitionKind(kind),
        name=name,
        version=1,
        given=defined.given,
        created_at=0,
        updated_at=0,
        active=1,
        from_file=True,
    )
    return Entry(definition, defined.spec)


def _parsed(row: Definition) -> Entry | None:
    try:
        return Entry(row, KINDS[row.kind].model_validate_json(row.given))
    except ValidationError as error:  # a release that takes less than an earlier one: the others go on
        log.error("definition.unreadable", kind=row.kind, name=row.name, problems=error.error_count())
        return None
