"""What went wrong with a POST, and whose fault it is. Tables, no input or output."""

import errno
import socket
import ssl
from dataclasses import dataclass

from zapd.model.webhook import Owner
from zapd.webhooks.guard import Blocked
from zapd.webhooks.http_answer import BadAnswer

#: Answers that a proxy or CDN gives when it cannot reach the receiver behind it.
_FROM_PROXIES = frozenset({407, 502, 504, 520, 521, 522, 523, 524, 525, 526, 527, 530})
#: Errors of this machine: no route, no ports, no file descriptors left.
_OURS = frozenset(
    {errno.ENETUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed. `kind` is one of those at `Attempt.failure`."""

    kind: str
    owner: Owner
    error: str


def of_status(status: int) -> Failure | None:
    """Only 2xx means that the event was taken. A redirect is not followed: it could lead anywhere."""
    if 200 <= status < 300:
        return None
    if status < 400:
        return Failure("redirect", Owner.THEIRS, f"answered {status}: redirects are not followed, update the URL")
    owner = Owner.PROXY if status in _FROM_PROXIES else Owner.THEIRS
    return Failure("client_error" if status < 500 else "server_error", owner, f"answered {status}")


def of_exception(error: Exception) -> Failure:
    """The failure behind an exception of the client: Blocked, BadAnswer, TimeoutError or another OSError."""
    if isinstance(error, Blocked):
        return Failure("blocked", Owner.OURS, str(error))
    if isinstance(error, BadAnswer):
        return Failure("server_error", Owner.THEIRS, f"the answer is not HTTP: {error}")
    if isinstance(error, TimeoutError):
        return Failure("timeout", Owner.THEIRS, "no complete answer in time")
    if isinstance(error, ssl.SSLError):
        text = getattr(error, "verify_message", None) or getattr(error, "reason", None) or "TLS failed"
        return Failure("tls", Owner.THEIRS, text)
    if isinstance(error, socket.gaierror):
        owner = Owner.OURS if error.errno == socket.EAI_AGAIN else Owner.THEIRS
        return Failure("dns", owner, error.strerror or "the name has no address")
    number = error.errno if isinstance(error, OSError) else None
    text = error.strerror if isinstance(error, OSError) and error.strerror else "the connection broke"
    return Failure("connect", Owner.OURS if number in _OURS else Owner.THEIRS, text)
