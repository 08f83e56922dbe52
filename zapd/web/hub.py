"""What the handlers of the event hub share: how a definition is read and shown."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict
from typing_extensions import TypedDict

from zapd.config.hub import masked
from zapd.errors import FieldError, InvalidInput
from zapd.ids import place_of
from zapd.model.hub import Definition, DefinitionKind
from zapd.web import bodies
from zapd.web import dependencies as need
from zapd.web.answers import Time, answer, at
from zapd.web.auth import key_of
from zapd.web.pages import IdPage, after_id, page, parsed_query
from zapd.web.problems import MalformedBody


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


class VersionAnswer(DefinitionAnswer):
    """One version; `active` is the one in force."""

    active: int


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
    entry = await request.app[need.DEFINER].create(key_of(request).tenant, kind, name, body)
    return answer(shown(entry.definition), 201)


def index(request: web.Request, kind: DefinitionKind) -> web.Response:
    """Those of one kind, by name."""
    query = parsed_query(request, DefinitionsQuery)
    found = [entry.definition for entry in request.app[need.REGISTRY].all(key_of(request).tenant, kind)]
    later = [definition for definition in found if query.after is None or definition.name > query.after]
    return answer(page(later[: query.limit + 1], query.limit, shown, lambda one: place_of(one.name, "rte")))


def show(request: web.Request, kind: DefinitionKind, more: Mapping[str, Any] | None = None) -> web.Response:
    """One."""
    entry = request.app[need.DEFINER].existing(key_of(request).tenant, kind, request.match_info["name"])
    return answer({**shown(entry.definition), **(more or {})})


async def update(request: web.Request, kind: DefinitionKind, *, activate: bool = True) -> web.Response:
    """Change one: a new version."""
    changes = await given(request)
    tenant, name = key_of(request).tenant, request.match_info["name"]
    entry = await request.app[need.DEFINER].change(tenant, kind, name, changes, activate=activate)
    return answer({**shown(entry.definition), "active": entry.definition.active})


async def delete(request: web.Request, kind: DefinitionKind) -> web.Response:
    """It goes."""
    await request.app[need.DEFINER].delete(key_of(request).tenant, kind, request.match_info["name"])
    return web.Response(status=204)


def rows(found: Sequence[Any]) -> dict[str, Any]:
    """A list that is whole."""
    return {"data": list(found), "next": None}
