"""A webhook URL taken apart for a request: which host to look up, where to connect, what to write."""

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache

from yarl import URL

from zapd.webhooks.guard import Blocked

_PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a POST goes."""

    tls: bool
    host: str  #: a name in ASCII, or an IP address without brackets
    port: int
    authority: str  #: the `Host` header
    path: str  #: with the query, percent-encoded

    @property
    def destination(self) -> tuple[bool, str, int]:
        """What requests over one connection have in common."""
        return self.tls, self.host, self.port


@lru_cache(maxsize=1024)
def target_of(url: str) -> Target:
    """Take a URL apart. Raises Blocked, naming the rule, for everything but a plain http or https URL.

    An IP address must be spelled as itself: `2130706433`, `0x7f.1`, `0177.0.0.1` and `127.1` all mean 127.0.0.1 to
    the system's resolver, and nobody writes them in good faith.
    """
    try:
        parts = URL(url)
        host, port = (parts.raw_host or "").lower(), parts.port
    except ValueError:
        raise Blocked("it is not a URL") from None
    if parts.scheme not in _PORTS or not host or port is None:
        raise Blocked("the URL must begin with https:// or http:// and name a host")
    if parts.raw_user is not None or parts.raw_password is not None:
        raise Blocked("the URL must not hold a user name or password; use a header")
    if not _is_address(host) and (_looks_numeric(host) or not _NAME.fullmatch(host)):
        raise Blocked("the host must be a name or an IP address in its usual spelling")
    literal = f"[{host}]" if ":" in host else host
    return Target(
        tls=parts.scheme == "https",
        host=host,
        port=port,
        authority=literal if port == _PORTS[parts.scheme] else f"{literal}:{port}",
        path=parts.raw_path_qs or "/",
    )


def _looks_numeric(host: str) -> bool:
    """Whether the last label is a number: the rule of the WHATWG URL standard for what means an IPv4 address."""
    last = host.rstrip(".").rpartition(".")[2]
    return last.isdigit() or last.startswith("0x")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
