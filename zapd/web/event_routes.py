"""Routes: which events do what."""

from aiohttp import web

from zapd.model.hub import DefinitionKind
from zapd.web import hub

KIND = DefinitionKind.ROUTE


async def create(request: web.Request) -> web.Response:
    """Say what is done about which events."""
    return await hub.create(request, KIND, hub.CreateRoute)


async def index(request: web.Request) -> web.Response:
    """The routes."""
    return hub.index(request, KIND)


async def show(request: web.Request) -> web.Response:
    """One route."""
    return hub.show(request, KIND)


async def update(request: web.Request) -> web.Response:
    """Change some fields: a new version, in force at once."""
    return await hub.update(request, KIND)


async def delete(request: web.Request) -> web.Response:
    """Delete it, unless a rule needs it."""
    return await hub.delete(request, KIND)
