"""The daemon itself."""

from typing import Any

from zapd.model.access import Scope
from zapd.web import (
    docs,
    system,
)
from zapd.web.route import Route

READ = Scope.READ
METRICS = "/metrics"  #: the one route whose scope depends on where zapd listens

DAEMON: tuple[Route, ...] = (
    Route("GET", "/health", system.health, None, answer=system.HealthAnswer, also=(503,), any_query=True),
    Route("GET", "/ready", system.ready, None, answer=system.ReadyAnswer, also=(503,), any_query=True),
    Route("GET", "/status", system.status, READ, answer=system.StatusAnswer, operator=True),
    Route("GET", METRICS, system.metrics, READ, media="text/plain", operator=True, any_query=True),
    Route("GET", "/openapi.json", docs.openapi_json, None, answer=dict[str, Any]),
    Route("GET", "/docs", docs.page, None, media="text/html", any_query=True),
)
