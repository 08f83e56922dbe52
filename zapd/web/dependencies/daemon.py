"""The daemon, who may do what, and what all handlers use."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

from zapd.ids import Ids
from zapd.model.access import Tenant
from zapd.store.commands import Change
from zapd.web.audit import Audit
from zapd.web.auth import Access
from zapd.web.dashboard.logins import Logins
from zapd.web.dashboard.turns import Turns
from zapd.web.keyring import Commit, Keyring
from zapd.web.route import Route


class System(Protocol):
    """The daemon."""

    def services(self) -> Mapping[str, Mapping[str, Any]]:
        """Per part: `up`, `restarts`, `failed` (why, or None)."""

    def not_ready(self) -> str | None:
        """Why the daemon takes no part at the moment; None: it does."""

    async def status(self) -> Mapping[str, Any]:
        """The whole state, as JSON."""


class TenantRows(Protocol):
    """The tenants."""

    def ensured(self, tenant: str, name: str, at: int) -> Change: ...
    async def get(self, tenant: str) -> Tenant | None: ...
    async def listed(self, *, after: str | None, limit: int) -> Sequence[Tenant]: ...


@dataclass
class Viewers:
    """How many event streams are open."""

    count: int = 0


KEYRING = web.AppKey("keyring", Keyring)
ACCESS = web.AppKey("access", Access)
AUDIT = web.AppKey("audit", Audit)
TENANTS = web.AppKey("tenants", TenantRows)
LOGINS = web.AppKey("logins", Logins)
TURNS = web.AppKey("turns", Turns)
PAGE_VIEWERS = web.AppKey("page_viewers", Viewers)
SYSTEM = web.AppKey("system", System)
IDS = web.AppKey("ids", Ids)
DRAINING = web.AppKey("draining", asyncio.Event)  #: set when the daemon drains: streams end
VIEWERS = web.AppKey("viewers", Viewers)
ROUTES: web.AppKey[tuple[Route, ...]] = web.AppKey("routes")
NOW_MS: web.AppKey[Callable[[], int]] = web.AppKey("now_ms")
#: `Writer.commit`
COMMIT: web.AppKey[Commit] = web.AppKey("commit")
#: (Accept header) → body and content type of the metrics.
METRICS: web.AppKey[Callable[[str], Awaitable[tuple[bytes, str]]]] = web.AppKey("metrics")
