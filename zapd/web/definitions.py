"""The five handlers that every kind of definition has: make one, list them, show, change and delete one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from zapd.model.hub import DefinitionKind
from zapd.web import bodies, hub
from zapd.web.route import Handler

More = Callable[[web.Request], Mapping[str, Any]]


@dataclass(frozen=True)
class Handlers:
    """For the list of routes, which finds a handler by its function."""

    create: Handler
    index: Handler
    show: Handler
    update: Handler
    delete: Handler


def _nothing_more(_request: web.Request) -> Mapping[str, Any]:
    return {}


def handlers(
    module: str,
    kind: DefinitionKind,
    model: type[BaseModel],
    *,
    made: str,
    changed: str = "Change some fields: a new version, in force at once.",
    more: More = _nothing_more,
) -> Handlers:
    """Those of one kind. `made` and `changed` are summaries for OpenAPI; `more`: what else is shown of one.

    `module` is whose handlers they are: OpenAPI's names of operations begin with it.
    """

    async def create(request: web.Request) -> web.Response:
        return await hub.create(request, kind, model)

    async def index(request: web.Request) -> web.Response:
        return hub.index(request, kind)

    async def show(request: web.Request) -> web.Response:
        return hub.show(request, kind, more(request))

    async def update(request: web.Request) -> web.Response:
        return await hub.update(request, kind)

    async def delete(request: web.Request) -> web.Response:
        return await hub.delete(request, kind)

    five = create, index, show, update, delete
    summaries = made, f"The {kind}s.", f"One {kind}.", changed, "Delete it, unless a rule needs it."
    for handler, summary in zip(five, summaries, strict=True):
        handler.__doc__, handler.__module__ = summary, module
    return Handlers(*five)


SOURCES = handlers(
    "zapd.web.sources",
    DefinitionKind.SOURCE,
    bodies.CreateSource,
    made="Let a system in: how its calls are verified, and what they mean.",
)
ROUTES = handlers(
    "zapd.web.event_routes", DefinitionKind.ROUTE, bodies.CreateRoute, made="Say what is done about which events."
)
