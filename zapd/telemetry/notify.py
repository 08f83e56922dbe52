"""Notes to systemd (sd_notify), in plain Python: one datagram on `$NOTIFY_SOCKET`.

https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

import os
import socket
from collections.abc import MutableMapping

import structlog

log = structlog.get_logger("zapd.telemetry")


class Notifier:
    """Sends notes such as `READY=1`. Without an address every note is dropped, so callers need not ask.

    `watchdog_every` is how often to send `WATCHDOG=1`, in seconds (a third of what systemd allows); None: nobody waits.
    """

    def __init__(self, *, address: str | None, watchdog_every: float | None = None) -> None:
        # A leading @ stands for the zero byte of an abstract name.
        self._address = f"\0{address[1:]}" if address and address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if address else None
        if self._socket is not None:
            self._socket.setblocking(False)
        self.watchdog_every = watchdog_every

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str]) -> "Notifier":
        """Reads the variables that systemd set, and removes them: a child must not speak in our name."""
        address = environ.pop("NOTIFY_SOCKET", None)
        microseconds = environ.pop("WATCHDOG_USEC", None)
        for_us = environ.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        every = int(microseconds) / 3e6 if microseconds and for_us else None
        return cls(address=address, watchdog_every=every)

    def send(self, *notes: str) -> bool:
        """Send the notes in one datagram. False: dropped. Never blocks, never raises."""
        if self._socket is None or self._address is None:
            return False
        try:
            self._socket.sendto("\n".join(notes).encode(), self._address)
        except OSError as error:
            log.warning("notify.failed", error=str(error))
            return False
        return True

    def close(self) -> None:
        """Give the socket back. Safe to call twice."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
