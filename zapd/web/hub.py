"""What the handlers of the event hub share: their dependencies, and how a definition is read and shown."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from zapd.config.hub import MappingSpec, RouteSpec, SourceSpec, SyncSpec, TargetSpec, masked
from zapd.errors import FieldError, InvalidInput
from zapd.events.acting import Actor
from zapd.events.backtest import Backtest
from zapd.events.defining import Definer
from zapd.events.desk import Desk
from zapd.events.ingest import Ingest
from zapd.events.intake import Intake
from zapd.events.quarantine import Quarantine
from zapd.events.registry import Registry
from zapd.events.replaying import Replayer
from zapd.events.syncing import Syncer
from zapd.events.targets import Targets
from zapd.ids import place_of
from zapd.model.hub import Definition, DefinitionKind, Inbound
from zapd.web import bodies
from zapd.web import dependencies as need
from zapd.web.answers import Time, answer, at
from zapd.web.auth import key_of
from zapd.web.pages import IdPage, after_id, page, parsed_query
from zapd.web.problems import MalformedBody

EVENT_INTAKE = web.AppKey("event_intake", Intake)
INGEST = web.AppKey("ingest", Ingest)
QUARANTINE = web.AppKey("quarantine", Quarantine)
DEFINER = web.AppKey("definer", Definer)
REGISTRY = web.AppKey("registry", Registry)
DESK = web.AppKey("desk", Desk)
ACTOR = web.AppKey("actor", Actor)
REPLAYER = web.AppKey("replayer", Replayer)
BACKTEST = web.AppKey("backtest", Backtest)
TARGETS = web.AppKey("targets", Targets)
SYNCER = web.AppKey("syncer", Syncer)
#: (tenant, event id) → the body as it came, for an inbound event.
EVENT_RAW: web.AppKey[Callable[[str, str], Awaitable[Inbound | None]]] = web.AppKey("event_raw")
#: Seconds in which an inbound webhook's body must have come.
HOOK_DEADLINE = web.AppKey("hook_deadline", float)

Name = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")


class CreateSource(SourceSpec):
    """A system that calls `POST /hooks/{name}`."""

    name: str = Name


class CreateMapping(MappingSpec):
    """A transformation that routes, actions and sources name."""

    name: str = Name


class CreateRoute(RouteSpec):
    """Which events do what. Without a name it gets one."""

    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")


class CreateTarget(TargetSpec):
    """A named HTTP system."""

    name: str = Name


class CreateSync(SyncSpec):
    """A list in a target that becomes events."""

    name: str = Name


class ChangeDefinition(BaseModel):
    """The fields to change; null takes a field back to its default. What is not named stays."""

    model_config = ConfigDict(extra="allow", frozen=True)


class DefinitionsQuery(IdPage):
    """Which of one kind, by name."""

    after: str | None = after_id("rte")


class DefinitionAnswer(TypedDict):
    """What is defined under a name, with the fields that were given; secrets are `***`."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]  # pydantic reads it

    name: str
    version: int
    from_file: bool
    created_at: Time | None
    updated_at: Time | None


def shown(definition: Definition) -> dict[str, Any]:
    """A definition as clients see it."""
    return {
        **masked(orjson.loads(definition.given)),
        "name": definition.name,
        "version": definition.version,
        "from_file": definition.from_file,
        "created_at": at(definition.created_at),
        "updated_at": at(definition.updated_at),
    }


async def given(request: web.Request) -> dict[str, Any]:
    """The body as it was given, an object. Raises InvalidInput."""
    raw = await bodies.whole(request)
    try:
        found = orjson.loads(raw or b"{}")
    except orjson.JSONDecodeError as error:
        raise MalformedBody(message=str(error)) from None
    if not isinstance(found, dict):
        raise InvalidInput(FieldError("body", "should be an object"))
    return found


async def create(request: web.Request, kind: DefinitionKind, model: type[BaseModel]) -> web.Response:
    """Make one."""
    await bodies.parsed(request, model)
    body = await given(request)
    name = body.pop("name", None) or request.app[need.IDS].new("rte")
    entry = await request.app[DEFINER].create(key_of(request).tenant, kind, name, body)
    return answer(shown(entry.definition), 201)


def index(request: web.Request, kind: DefinitionKind) -> web.Response:
    """Those of one kind, by name."""
    query = parsed_query(request, DefinitionsQuery)
    found = [entry.definition for entry in request.app[REGISTRY].all(key_of(request).tenant, kind)]
    later = [definition for definition in found if query.after is None or definition.name > query.after]
    return answer(page(later[: query.limit + 1], query.limit, shown, lambda one: place_of(one.name, "rte")))


def show(request: web.Request, kind: DefinitionKind, more: Mapping[str, Any] | None = None) -> web.Response:
    """One."""
    entry = request.app[DEFINER].existing(key_of(request).tenant, kind, request.match_info["name"])
    return answer({**shown(entry.definition), **(more or {})})


async def update(request: web.Request, kind: DefinitionKind, *, activate: bool = True) -> web.Response:
    """Change one: a new version."""
    changes = await given(request)
    tenant, name = key_of(request).tenant, request.match_info["name"]
    entry = await request.app[DEFINER].change(tenant, kind, name, changes, activate=activate)
    return answer({**shown(entry.definition), "active": entry.definition.active})


async def delete(request: web.Request, kind: DefinitionKind) -> web.Response:
    """It goes."""
    await request.app[DEFINER].delete(key_of(request).tenant, kind, request.match_info["name"])
    return web.Response(status=204)


def rows(found: Sequence[Any]) -> dict[str, Any]:
    """A list that is whole."""
    return {"data": list(found), "next": None}
