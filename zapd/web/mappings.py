"""Mappings: named transformations, in versions; a new version is tried on stored events before it is in force."""

from typing import Required, cast

from aiohttp import web
from typing_extensions import TypedDict

from zapd.config.hub import MappingSpec
from zapd.model.hub import DefinitionKind
from zapd.web import bodies, hub
from zapd.web import dependencies as need
from zapd.web.answers import Json, answer
from zapd.web.auth import key_of
from zapd.web.definitions import handlers

KIND = DefinitionKind.MAPPING


class Difference(TypedDict, total=False):
    """One place that is not the same; a side that is not there has no key."""

    path: Required[str]
    before: Json
    after: Json


class BacktestLine(TypedDict, total=False):
    """A stored event that does not come out the same: `changed`, with what differs, or `failed`, with why."""

    event_id: str
    type: str
    verdict: str
    error: str
    diff: list[Difference]
    out: Json


class BacktestAnswer(TypedDict):
    """How many events come out the same, differ, fail."""

    events: int
    same: int
    changed: int
    failed: int
    data: list[BacktestLine]


async def versions(request: web.Request) -> web.Response:
    """Every version."""
    name = request.match_info["name"]
    found = await request.app[need.DEFINER].versions(key_of(request).tenant, KIND, name)
    return answer(hub.rows([{**hub.shown(row), "active": row.active} for row in found]))


async def draft(request: web.Request) -> web.Response:
    """Make a new version that is not in force yet."""
    return await hub.update(request, KIND, activate=False)


async def activate(request: web.Request) -> web.Response:
    """Put a version in force."""
    body = await bodies.parsed(request, bodies.ActivateVersion)
    tenant, name = key_of(request).tenant, request.match_info["name"]
    entry = await request.app[need.DEFINER].activate(tenant, KIND, name, body.version)
    return answer(hub.shown(entry.definition))


async def backtest(request: web.Request) -> web.Response:
    """Try a version on the last stored events: what would come out otherwise than today, with the differences."""
    body = await bodies.parsed(request, bodies.RunBacktest)
    tenant, name, definer = key_of(request).tenant, request.match_info["name"], request.app[need.DEFINER]
    old = cast(MappingSpec, definer.existing(tenant, KIND, name).spec)
    if body.version is not None:
        new = (await definer.version(tenant, KIND, name, body.version)).spec
    else:
        given = {"jmespath": body.jmespath or "", "jinja2": body.jinja2 or "", "json": old.json_}
        new = await definer.checked(tenant, KIND, given)
    found = await request.app[need.BACKTEST].run(
        tenant, cast(MappingSpec, new), old, types=body.types, source=body.source, last=body.last
    )
    return answer(found)


FIVE = handlers(
    __name__,
    KIND,
    bodies.CreateMapping,
    made="Name a transformation.",
    changed="Change it: a new version, in force at once. `POST …/versions` makes one that is not.",
)
