"""Outbound webhooks."""

from collections.abc import Mapping

from zapd.config.sections.section import Few, Positive, Section, Whole
from zapd.config.values import Networks


class WebhooksConfig(Section):
    """Outbound webhooks. How often and when to try again is the queue's: [queues."webhook:delivery"]."""

    allow_networks: Networks = ()
    """Private networks that receivers may be in; every other private address is refused."""
    tenant_networks: Mapping[str, Networks] = {}
    """The same for single tenants, beside those of all: { acme = ["10.1.0.0/16"] }."""
    timeout: Positive = 30.0
    """Time for one POST in all: name lookup, connect, send and answer."""
    endpoint_concurrency: Few = 4
    """POSTs to one endpoint at once; a slow receiver holds up itself only. An endpoint may name its own number."""
    failure_budget: Whole = 100
    """Failed attempts in a row after which an endpoint is disabled, told at 50, 70 and 90 % of it; 0 is never."""
