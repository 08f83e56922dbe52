import errno
import socket
import ssl

import pytest

from zapd.model.webhook import Owner
from zapd.webhooks.failure import of_exception, of_status
from zapd.webhooks.guard import Blocked
from zapd.webhooks.http_answer import BadAnswer


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_every_2xx_means_taken(status: int) -> None:
    assert of_status(status) is None


@pytest.mark.parametrize(
    ("status", "kind", "owner"),
    [
        (301, "redirect", Owner.THEIRS),
        (304, "redirect", Owner.THEIRS),
        (400, "client_error", Owner.THEIRS),
        (407, "client_error", Owner.PROXY),
        (410, "client_error", Owner.THEIRS),
        (500, "server_error", Owner.THEIRS),
        (502, "server_error", Owner.PROXY),
        (503, "server_error", Owner.THEIRS),
        (522, "server_error", Owner.PROXY),
        (999, "server_error", Owner.THEIRS),
    ],
)
def test_every_other_status_is_a_failure_with_an_owner(status: int, kind: str, owner: Owner) -> None:
    failure = of_status(status)
    assert failure is not None
    assert (failure.kind, failure.owner) == (kind, owner)


@pytest.mark.parametrize(
    ("error", "kind", "owner"),
    [
        (Blocked("loopback"), "blocked", Owner.OURS),
        (BadAnswer("x"), "server_error", Owner.THEIRS),
        (TimeoutError(), "timeout", Owner.THEIRS),
        (ssl.SSLCertVerificationError(1, "bad"), "tls", Owner.THEIRS),
        (ssl.SSLError(1, "bad"), "tls", Owner.THEIRS),
        (socket.gaierror(socket.EAI_NONAME, "unknown"), "dns", Owner.THEIRS),
        (socket.gaierror(socket.EAI_AGAIN, "name server away"), "dns", Owner.OURS),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "connect", Owner.THEIRS),
        (OSError(errno.EMFILE, "too many open files"), "connect", Owner.OURS),
        (ConnectionError("broke"), "connect", Owner.THEIRS),
    ],
)
def test_every_exception_has_a_kind_and_an_owner(error: Exception, kind: str, owner: Owner) -> None:
    failure = of_exception(error)
    assert (failure.kind, failure.owner) == (kind, owner)
    assert failure.error
