"""The trail of access: who was turned away, and who changed what. Rows of the event log, category `access`.

What is read is not noted, and no bodies: the trail says who did what to which thing, when and from where.
"""

from collections.abc import Callable
from typing import Any

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter

from zapd.announce import Announcer
from zapd.errors import Unavailable
from zapd.model.access import DEFAULT_TENANT, ApiKey, Scope
from zapd.model.webhook import Category, Severity
from zapd.web.auth import key_if_any
from zapd.web.keyring import Commit
from zapd.web.limits import Pace
from zapd.web.route import Route

log = structlog.get_logger("zapd.access")

AUDITED = frozenset({Scope.CONTROL, Scope.SETTINGS, Scope.ADMIN})


class Audit:
    """Writes the trail. `pace` bounds the rows of strangers: whoever tries keys must not fill the disk."""

    def __init__(
        self,
        *,
        announcer: Announcer,
        commit: Commit,
        now_ms: Callable[[], int],
        pace: Pace,
        registry: CollectorRegistry,
    ) -> None:
        self._announcer = announcer
        self._commit = commit
        self._now_ms = now_ms
        self._pace = pace
        self._turned_away = Counter("zapd_access_denied_total", "Requests without a live API key.", registry=registry)

    async def denied(self, request: web.Request, address: str) -> None:
        """A request came without a live key."""
        self._turned_away.inc()
        if self._pace.take("all"):
            return
        data = {"method": request.method, "route": _route_of(request), "address": address}
        await self._note("access.denied", DEFAULT_TENANT, Severity.WARNING, data)

    async def called(self, request: web.Request, route: Route, status: int, address: str) -> None:
        """A request was answered. Noted when it may have changed something, or was forbidden."""
        key = key_if_any(request)
        if key is None or not _matters(route, status):
            return
        data = {
            **_who(key),
            "method": route.method,
            "route": route.path,
            "things": dict(request.match_info),
            "status": status,
            "address": address,
        }
        severity = Severity.WARNING if status in (401, 403) else Severity.INFO
        await self._note("access.call", key.tenant, severity, data)

    async def logged_in(self, key: ApiKey, address: str) -> None:
        """A key opened the dashboard."""
        await self._note("access.login", key.tenant, Severity.INFO, {**_who(key), "address": address})

    async def _note(self, event: str, tenant: str, severity: Severity, data: dict[str, Any]) -> None:
        announced = self._announcer.announce(
            event, tenant=tenant, at=self._now_ms(), data=data, category=Category.ACCESS, severity=severity
        )
        try:
            await self._commit(*announced.changes)
        except Unavailable:
            log.warning("audit.lost", event_type=event)


def _matters(route: Route, status: int) -> bool:
    return status == 403 or (route.method != "GET" and route.scope in AUDITED)


def _who(key: ApiKey) -> dict[str, Any]:
    return {"key_id": key.id, "key_label": key.label}


def _route_of(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else ""
