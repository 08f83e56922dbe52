"""The listener: zapd answers there, or could; and who can reach it."""

import json
import socket
from http.client import HTTPConnection, HTTPException
from typing import Any

from zapd.cli.checkup.finding import Finding, note, ok, wrong
from zapd.cli.options import url_of
from zapd.config import Config

PATIENCE = 5.0  #: seconds for an answer


def examined(config: Config) -> list[Finding]:
    """The findings about it."""
    host, port = config.http.address
    where = f"{host}:{port}"
    answered = _asked(url_of(host, port).removeprefix("http://"))
    if answered is None:
        return [_free(host, port, where), *_open(config)]
    services = answered.get("services") if isinstance(answered, dict) else None
    if not isinstance(services, dict):
        return [wrong("listener", f"another program listens on {where}", "Stop it, or choose another [http] listen.")]
    failed = sorted(name for name, service in services.items() if service.get("failed"))
    if failed:
        text = f"zapd runs on {where}, but a part has failed: {', '.join(failed)}"
        return [wrong("listener", text, "See its log (journalctl -u zapd), then restart it."), *_open(config)]
    return [ok("listener", f"zapd runs on {where}, every part up"), *_open(config)]


def _open(config: Config) -> list[Finding]:
    if config.http.loopback_only:
        return [note("network", "only this machine can connect", "For others: a proxy with TLS in front (README).")]
    return [note("network", "other machines can connect, without TLS", "Put a proxy with TLS in front (README).")]


def _asked(host: str) -> Any:
    """What answers /health; None: nothing listens."""
    connection = HTTPConnection(host, timeout=PATIENCE)
    try:
        connection.request("GET", "/health")
        return json.loads(connection.getresponse().read())
    except ConnectionRefusedError:
        return None
    except (OSError, HTTPException, ValueError):
        return False
    finally:
        connection.close()


def _free(host: str, port: int, where: str) -> Finding:
    """Whether we could listen there; nothing listens, and nothing will after this."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(found[0], socket.SOCK_STREAM) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(found[4])
    except OSError as error:
        return wrong("listener", f"zapd cannot listen on {where}: {error.strerror}", "Choose another [http] listen.")
    return note("listener", f"zapd does not run; {where} is free", "Start it: `zapd run`, or systemctl start zapd.")
