"""Define, change and delete sources, mappings, routes, targets and syncs. Every change is a new version."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson
from pydantic import ValidationError

from zapd.config.hub import KINDS, Spec
from zapd.errors import Conflict, FieldError, InvalidInput, NotFound
from zapd.events.checking import Checker, urls_of
from zapd.events.registry import Entry, Registry
from zapd.model.hub import Definition, DefinitionKind
from zapd.store.commands import Change, Row
from zapd.store.definitions import DefinitionStore
from zapd.webhooks.guard import Blocked

MAX_NAMES = 1_000  #: of one kind, for each tenant
MAX_VERSIONS = 50  #: kept of one name


class Definer:
    """`endpoint_known(tenant, id)` tells whether there is such an endpoint, `listener_known` the same of a listener.

    `vet(tenant, url)` raises Blocked for a URL that would be refused at every call, so that its author hears at once.
    """

    def __init__(
        self,
        *,
        rows: DefinitionStore,
        registry: Registry,
        checker: Checker,
        endpoint_known: Callable[[str, str], bool],
        listener_known: Callable[[str], bool],
        vet: Callable[[str, str], Awaitable[None]],
        commit: Callable[..., Awaitable[Row | None]],
        now_ms: Callable[[], int],
    ) -> None:
        self._rows = rows
        self._registry = registry
        self._checker = checker
        self._endpoint_known = endpoint_known
        self._listener_known = listener_known
        self._vet = vet
        self._commit = commit
        self._now_ms = now_ms

    async def create(self, tenant: str, kind: DefinitionKind, name: str, given: Mapping[str, Any]) -> Entry:
        """A new name. Raises InvalidInput, or Conflict when it is taken."""
        if self._registry.get(tenant, kind, name) is not None:
            raise Conflict(f"there is a {kind} {name} already")
        if len(self._registry.all(tenant, kind)) >= MAX_NAMES:
            raise Conflict(f"there are {MAX_NAMES} {kind}s already")
        spec = await self.checked(tenant, kind, given)
        made = self._made(tenant, kind, name, 1, given)
        if await self._commit(self._rows.added(made), self._rows.version_added(made)) is None:
            raise Conflict(f"there is a {kind} {name} already")
        await self._registry.refresh()
        return Entry(made, spec)

    async def change(
        self, tenant: str, kind: DefinitionKind, name: str, changes: Mapping[str, Any], *, activate: bool = True
    ) -> Entry:
        """A new version: the one in force with these fields replaced; a field of null goes back to its default.

        Raises InvalidInput, NotFound, Conflict when the file defines it, or when somebody else changed it just now.
        """
        old = self._own(tenant, kind, name)
        given = {**orjson.loads(old.given), **changes}
        given = {key: value for key, value in given.items() if value is not None}
        if kind is DefinitionKind.MAPPING:  # the two exclude each other: giving one takes the other away
            for one, other in (("jmespath", "jinja2"), ("jinja2", "jmespath")):
                if one in changes and other not in changes:
                    given.pop(other, None)
        spec = await self.checked(tenant, kind, given)
        versions = await self._rows.versions(tenant, kind, name)
        number = max((version.version for version in versions), default=0) + 1
        made = replace(self._made(tenant, kind, name, number, given), active=number if activate else old.version)
        then = [self._rows.version_deleted(tenant, kind, name, v) for v in _superfluous(versions, old.version)]
        if activate:
            then.append(self._activated(old, number))
        if await self._commit(self._rows.version_added(made), *then) is None:
            raise Conflict(f"{kind} {name} was changed at this moment; look again")
        await self._registry.refresh()
        return Entry(made, spec)

    async def activate(self, tenant: str, kind: DefinitionKind, name: str, version: int) -> Entry:
        """Put another version in force. Raises NotFound, Conflict, InvalidInput when it no longer fits."""
        old = self._own(tenant, kind, name)
        found = await self.version(tenant, kind, name, version)
        await self.checked(tenant, kind, orjson.loads(found.definition.given))
        if await self._commit(self._activated(old, version)) is None:
            raise Conflict(f"{kind} {name} was changed at this moment; look again")
        await self._registry.refresh()
        return Entry(replace(found.definition, active=version), found.spec)

    async def delete(self, tenant: str, kind: DefinitionKind, name: str) -> None:
        """It goes, with all its versions. Raises NotFound, Conflict when the file defines it or a rule needs it."""
        self._own(tenant, kind, name)
        if users := self._users(tenant, kind, name):
            raise Conflict(f"{kind} {name} is used by {', '.join(users)}")
        await self._commit(*self._rows.deleted(tenant, kind, name))
        await self._registry.refresh()

    async def versions(self, tenant: str, kind: DefinitionKind, name: str) -> Sequence[Definition]:
        """Every version, the oldest first. Raises NotFound."""
        entry = self.existing(tenant, kind, name)
        return [entry.definition] if entry.definition.from_file else await self._rows.versions(tenant, kind, name)

    async def version(self, tenant: str, kind: DefinitionKind, name: str, version: int) -> Entry:
        """One version. Raises NotFound."""
        for row in await self.versions(tenant, kind, name):
            if row.version == version:
                return Entry(row, KINDS[kind].model_validate_json(row.given))
        raise NotFound(f"{kind} {name} has no version {version}")

    def existing(self, tenant: str, kind: DefinitionKind, name: str) -> Entry:
        """The version in force. Raises NotFound."""
        entry = self._registry.get(tenant, kind, name)
        if entry is None:
            raise NotFound(f"there is no {kind} {name}")
        return entry

    async def checked(self, tenant: str, kind: DefinitionKind, given: Mapping[str, Any]) -> Spec:
        """What was given, parsed. Raises InvalidInput naming every problem."""
        try:
            spec = KINDS[kind].model_validate(given)
        except ValidationError as error:
            problems = error.errors(include_url=False, include_context=False, include_input=False)
            raise InvalidInput(*[FieldError(_path(p["loc"]), p["msg"]) for p in problems]) from None
        found = await self._checker.problems(spec, lambda k, n: self._known(tenant, k, n))
        if found := found or await self._blocked(tenant, spec):
            raise InvalidInput(*found)
        return spec

    async def _blocked(self, tenant: str, spec: Spec) -> list[FieldError]:
        found = []
        for field, url in urls_of(spec).items():
            try:
                if url:
                    await self._vet(tenant, url)
            except Blocked as error:
                found.append(FieldError(field, str(error)))
        return found

    def _known(self, tenant: str, kind: str, name: str) -> bool:
        if kind == "endpoint":
            return self._endpoint_known(tenant, name)
        if kind == "listener":
            return self._listener_known(name)
        return self._registry.get(tenant, DefinitionKind(kind), name) is not None

    def _own(self, tenant: str, kind: DefinitionKind, name: str) -> Definition:
        definition = self.existing(tenant, kind, name).definition
        if definition.from_file:
            raise Conflict(f"{kind} {name} is defined in the configuration file; change it there")
        return definition

    def _users(self, tenant: str, kind: DefinitionKind, name: str) -> list[str]:
        """The rules that name it."""
        found = []
        for user_kind in (DefinitionKind.ROUTE, DefinitionKind.SOURCE, DefinitionKind.SYNC):
            for entry in self._registry.all(tenant, user_kind):
                parts = [entry.spec, *getattr(entry.spec, "actions", ())]
                if any(getattr(part, kind.value, None) == name for part in parts):
                    found.append(f"{user_kind} {entry.name}")
        return found

    def _activated(self, old: Definition, version: int) -> Change:
        return self._rows.activated(
            old.tenant, old.kind, old.name, version, expected=old.version, at=max(self._now_ms(), old.updated_at + 1)
        )

    def _made(self, tenant: str, kind: DefinitionKind, name: str, version: int, given: Mapping[str, Any]) -> Definition:
        now = self._now_ms()
        return Definition(
            tenant=tenant,
            kind=kind,
            name=name,
            version=version,
            given=orjson.dumps(given),
            created_at=now,
            updated_at=now,
            active=version,
        )


def _superfluous(versions: Sequence[Definition], active: int) -> list[int]:
    """The oldest versions beyond what is kept, without the one in force."""
    old = [row.version for row in versions if row.version != active]
    return old[: max(0, len(versions) + 1 - MAX_VERSIONS)]


def _path(parts: Sequence[str | int]) -> str:
    """`actions.0.deliver.target` as the client knows it: without the names that pydantic adds for a union."""
    return ".".join(map(str, parts)) or "body"
