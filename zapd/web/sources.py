"""Sources: systems that call `POST /hooks/{name}`. Secrets are sealed, and shown as `***`."""

from aiohttp import web

from zapd.model.hub import DefinitionKind
from zapd.web import hub

KIND = DefinitionKind.SOURCE


async def create(request: web.Request) -> web.Response:
    """Let a system in: how its calls are verified, and what they mean."""
    return await hub.create(request, KIND, hub.CreateSource)


async def index(request: web.Request) -> web.Response:
    """The sources."""
    return hub.index(request, KIND)


async def show(request: web.Request) -> web.Response:
    """One source."""
    return hub.show(request, KIND)


async def update(request: web.Request) -> web.Response:
    """Change some fields: a new version, in force at once."""
    return await hub.update(request, KIND)


async def delete(request: web.Request) -> web.Response:
    """Delete it, unless a rule needs it."""
    return await hub.delete(request, KIND)
