"""Targets: named HTTP systems. Secrets are sealed, and shown as `***`."""

from typing import Any

from aiohttp import web
from typing_extensions import TypedDict

from zapd.events.targets import CallFailed
from zapd.model.hub import DefinitionKind
from zapd.web import bodies
from zapd.web import dependencies as need
from zapd.web.answers import Time, answer, at
from zapd.web.auth import key_of
from zapd.web.definitions import handlers
from zapd.web.hub import DefinitionAnswer

KIND = DefinitionKind.TARGET


class TargetHealth(TypedDict):
    """How a target is doing, as this daemon saw it since its start. `open`: nobody calls it until it had its rest."""

    open: bool
    calls: int
    failures: int
    last_ok_at: Time | None
    last_error: str | None
    last_error_at: Time | None


class DefinitionWithHealth(DefinitionAnswer):
    """A target, and how it is doing."""

    health: TargetHealth


class CheckAnswer(TargetHealth):
    """Whether its health path answered just now."""

    ok: bool


async def check(request: web.Request) -> web.Response:
    """Call its health path now."""
    tenant, name = key_of(request).tenant, request.match_info["name"]
    request.app[need.DEFINER].existing(tenant, KIND, name)
    try:
        await request.app[need.TARGETS].check(tenant, name)
        ok = True
    except CallFailed:
        ok = False
    return answer({"ok": ok, **_health(request)})


def _health(request: web.Request) -> dict[str, Any]:
    health, is_open = request.app[need.TARGETS].health(key_of(request).tenant, request.match_info["name"])
    return {
        "open": is_open,
        "calls": health.calls,
        "failures": health.failures,
        "last_ok_at": at(health.last_ok_at),
        "last_error": health.last_error,
        "last_error_at": at(health.last_error_at),
    }


def _shown(request: web.Request) -> dict[str, Any]:
    return {"health": _health(request)}


FIVE = handlers(__name__, KIND, bodies.CreateTarget, made="Name an HTTP system.", more=_shown)
