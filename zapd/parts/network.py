"""The way out: vetted addresses, the client for webhooks, and one HTTP session for the providers."""

import aiohttp

from zapd.parts.basis import Basis
from zapd.webhooks.client import Client
from zapd.webhooks.guard import Guard
from zapd.webhooks.resolver import Resolver
from zapd.webhooks.trust import trusted


class Network:
    """Everything that calls other hosts over HTTP."""

    def __init__(self, basis: Basis) -> None:
        config = basis.config
        self.guard = Guard(
            allow_networks=config.webhooks.allow_networks,
            tenant_networks=config.webhooks.tenant_networks,
            allow_loopback=config.http.loopback_only,
        )
        self.resolver = Resolver(guard=self.guard)
        self.client = Client(resolver=self.resolver, timeout=config.webhooks.timeout)
        self._http: aiohttp.ClientSession | None = None

    @property
    def http(self) -> aiohttp.ClientSession:
        """For providers that the configuration names; what a user names goes through `client`."""
        if self._http is None:  # made at the first use: it needs the running loop, and the certificates
            self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted()))
        return self._http

    async def close(self) -> None:
        """Close every connection."""
        self.client.close()
        self.resolver.close()
        if self._http is not None:
            await self._http.close()
