"""Syncs: lists in targets that become events, page by page."""

from aiohttp import web
from typing_extensions import TypedDict

from zapd.errors import NotFound
from zapd.model.hub import DefinitionKind
from zapd.web import bodies
from zapd.web import dependencies as need
from zapd.web.answers import Time, answer, at
from zapd.web.auth import key_of
from zapd.web.definitions import handlers

KIND = DefinitionKind.SYNC


class SyncStarted(TypedDict):
    """The run that began."""

    run: str


class SyncRun(TypedDict):
    """Where the last run is. `new`: items that were not told before."""

    run: str
    state: str
    page: int
    items: int
    new: int
    error: str | None
    started_at: Time | None
    updated_at: Time | None


async def start(request: web.Request) -> web.Response:
    """Begin at the first page."""
    run = await request.app[need.SYNCER].start(key_of(request).tenant, request.match_info["name"])
    return answer({"run": run}, 202)


async def status(request: web.Request) -> web.Response:
    """The last run."""
    tenant, name = key_of(request).tenant, request.match_info["name"]
    request.app[need.DEFINER].existing(tenant, KIND, name)
    found = await request.app[need.SYNCER].status(tenant, name)
    if found is None:
        raise NotFound(f"sync {name} was not run yet")
    shown = {key: found[key] for key in ("run", "state", "page", "items", "new", "error")}
    return answer({**shown, "started_at": at(found["started_at"]), "updated_at": at(found["updated_at"])})


FIVE = handlers(__name__, KIND, bodies.CreateSync, made="Name a list in a target.")
