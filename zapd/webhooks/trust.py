"""Whose certificates are believed: those that the system trusts."""

import ssl
from functools import cache


@cache  # 2.5 MB and 30 ms: read at the first use, and once for all clients
def trusted() -> ssl.SSLContext:
    """For connections to hosts that must show a certificate."""
    return ssl.create_default_context()
