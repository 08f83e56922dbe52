"""Every route in one list.

What comes in a later release (flows, alerts) has no route yet. The order matters for speed only: aiohttp
tries the routes under one first path segment from top to bottom, so the hot one stands first.
"""

from zapd.web.dashboard.routes import PAGES
from zapd.web.route import Route
from zapd.web.routes.connections import CONNECTIONS
from zapd.web.routes.daemon import DAEMON, METRICS
from zapd.web.routes.hub import HUB
from zapd.web.routes.messages import MESSAGES
from zapd.web.routes.people import PEOPLE
from zapd.web.routes.queues import QUEUES
from zapd.web.routes.webhooks import WEBHOOKS

__all__ = ["ALL", "METRICS", "ROUTES"]

ROUTES: tuple[Route, ...] = (
    *MESSAGES,
    *CONNECTIONS,
    *WEBHOOKS,
    *QUEUES,
    *PEOPLE,
    *DAEMON,
    *HUB,
)

#: With the pages for people, which are no part of the API.
ALL: tuple[Route, ...] = (*ROUTES, *PAGES)
