"""Start of a worker: `python -m zapd.whatsapp.web.worker SOCKET CAPACITY [--pairing]`.

SOCKET is the number of an inherited socket to the daemon. The working directory is the one of the accounts.
"""

import asyncio
import ctypes
import logging
import os
import resource
import signal
import socket
import sys

from zapd.whatsapp.web.frames import encode

PR_SET_PDEATHSIG = 1
EX_UNAVAILABLE = 69


def main() -> None:
    """Run until the daemon hangs up."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    _be_a_good_child()
    guard = _NoNetwork()
    try:
        from zapd.whatsapp.web.worker.host import serve  # noqa: PLC0415  # brings the library, under the guard
    except Exception as error:  # not installed, built for another machine, a system library missing: say which
        channel.sendall(encode({"ev": "unable", "error": f"{type(error).__name__}: {error}"}))
        sys.exit(EX_UNAVAILABLE)
    guard.lift()
    asyncio.run(serve(channel, capacity=int(sys.argv[2]), pairing="--pairing" in sys.argv))


def _be_a_good_child() -> None:
    os.umask(0o077)  # the files of an account are nobody else's
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump would hold the accounts' keys
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # the library leaves files open, see `host.py`
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C on the terminal is the daemon's to answer
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # hung or not: no worker outlives its daemon
    # Before neonize does it, at info. The level is the handler's: some loggers are set to debug to be watched.
    words = logging.StreamHandler(sys.stderr)
    words.setLevel(logging.WARNING)
    logging.basicConfig(handlers=[words])


class _NoNetwork:
    """While the library is imported it may not fetch another build of itself from the network, which it would."""

    def __init__(self) -> None:
        self._up = True
        sys.addaudithook(self._look)

    def lift(self) -> None:
        """From here on the network is free."""
        self._up = False

    def _look(self, event: str, _arguments: object) -> None:
        if self._up and event in ("socket.connect", "socket.getaddrinfo"):
            raise OSError("neonize's own build does not fit this package, and fetching another one is not allowed")


main()
