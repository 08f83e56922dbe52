"""Which addresses a webhook may go to. A tenant chooses the URL, so it must not reach what only zapd can reach.

The networks stand here one by one: `ipaddress.is_global` is True for several spellings of 127.0.0.1 inside IPv6 and
for cloud metadata, and differs between patch releases of Python. An error names the rule and not the address,
because the address is what a prober is after.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address

from zapd.errors import ZapdError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_LOOPBACK = "loopback"

_REFUSED_V4 = {
    "0.0.0.0/8": "this host",
    "10.0.0.0/8": "a private network",
    "100.64.0.0/10": "carrier-grade NAT",  # and 100.100.100.200, Alibaba's metadata
    "127.0.0.0/8": _LOOPBACK,
    "168.63.129.16/32": "a cloud platform's own address",  # Azure
    "169.254.0.0/16": "link-local",  # and 169.254.169.254, the metadata of most clouds
    "172.16.0.0/12": "a private network",
    "192.0.0.0/24": "a protocol assignment",  # and 192.0.0.192, Oracle's metadata
    "192.0.2.0/24": "documentation",
    "192.31.196.0/24": "a protocol assignment",
    "192.52.193.0/24": "a protocol assignment",
    "192.88.99.0/24": "a 6to4 relay",
    "192.168.0.0/16": "a private network",
    "192.175.48.0/24": "a protocol assignment",
    "198.18.0.0/15": "benchmarking",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
}
# Only 2000::/3 is in use as global unicast, so everything outside of it goes without a list: unique local, link-local,
# site-local, multicast, and the SIIT, compatible and local NAT64 spellings of IPv4.
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_REFUSED_V6 = {
    "2001::/23": "a protocol assignment",  # and Teredo
    "2001:db8::/32": "documentation",
    "2002::/16": "6to4",
    "2620:4f:8000::/48": "a protocol assignment",
    "3fff::/20": "documentation",
}
_V4_RULES = [(ipaddress.IPv4Network(network), rule) for network, rule in _REFUSED_V4.items()]
_V6_RULES = [(ipaddress.IPv6Network(network), rule) for network, rule in _REFUSED_V6.items()]
_LOOPBACKS = (ipaddress.IPv4Network("127.0.0.0/8"), ipaddress.IPv6Network("::1/128"))
# IPv6 addresses whose last 32 bits are the IPv4 address that packets end at.
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_ISATAP = (0x00005EFE, 0x02005EFE)  # bits 64 to 95 of an address under any prefix


class Blocked(ZapdError):
    """Webhooks must not go to this address."""


class Guard:
    """Judges addresses.

    `allow_networks` opens private targets for everybody, `tenant_networks` for the tenant that it names;
    `allow_loopback` opens this host.
    """

    def __init__(
        self,
        *,
        allow_networks: Sequence[Network] = (),
        tenant_networks: Mapping[str, Sequence[Network]] | None = None,
        allow_loopback: bool = False,
    ) -> None:
        self._allowed = tuple(allow_networks)
        self._allowed_to = {tenant: tuple(networks) for tenant, networks in (tenant_networks or {}).items()}
        self._allow_loopback = allow_loopback

    def check(self, addresses: Sequence[str], *, tenant: str = "") -> None:
        """Raises Blocked when any of a name's addresses is refused: one bad answer spoils the name.

        Without a tenant only what is open to everybody is.
        """
        for address in addresses:
            rule = self._refusal(address, tenant)
            if rule is not None:
                raise Blocked(f"the host's address is refused: {rule}")

    def opened(self, addresses: Sequence[str], *, tenant: str = "") -> bool:
        """Whether every address is one that is refused by default and that the operator opened."""
        return all(_rule(ipaddress.ip_address(address)) is not None for address in addresses) and not any(
            self._refusal(address, tenant) for address in addresses
        )

    def _refusal(self, text: str, tenant: str) -> str | None:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return "not an IP address"
        inner = _inner_v4(address)
        allowed = (*self._allowed, *self._allowed_to.get(tenant, ()))
        if any(_inside(address, network) or _inside(inner, network) for network in allowed):
            return None
        # Only loopback that is spelled as itself: nobody writes it inside an IPv6 address in good faith.
        return None if self._allow_loopback and _plain_loopback(address) else _rule(address)


def _plain_loopback(address: IPv4Address | IPv6Address) -> bool:
    return any(address in network for network in _LOOPBACKS if network.version == address.version)


def _inside(address: IPv4Address | IPv6Address | None, network: Network) -> bool:
    return address is not None and address.version == network.version and address in network


def _inner_v4(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    if isinstance(address, IPv4Address):
        return None
    number = int(address)
    if address in _MAPPED or address in _NAT64 or (number >> 32) & 0xFFFFFFFF in _ISATAP:
        return IPv4Address(number & 0xFFFFFFFF)
    return None


def _rule(address: IPv4Address | IPv6Address) -> str | None:
    """Why this address is refused by default; None: it is a public one."""
    if isinstance(address, IPv4Address):
        return next((rule for network, rule in _V4_RULES if address in network), None)
    inner = _inner_v4(address)
    if inner is not None and (rule := _rule(inner)) is not None:
        return rule
    if inner is not None and (address in _MAPPED or address in _NAT64):
        return None
    if address == IPv6Address("::1"):
        return _LOOPBACK
    if address.scope_id is not None or address not in _GLOBAL_V6:
        return "not a global address"
    return next((rule for network, rule in _V6_RULES if address in network), None)
