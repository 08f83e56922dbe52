"""How long a pairing may take: codes are shown for some time, and when nobody used one the session gives up."""

import asyncio
from collections.abc import Callable

from zapd.model.session import SessionState
from zapd.whatsapp.advice import PASSKEY_TIMEOUT, QR_TIMEOUT

_REASONS = {SessionState.QR_PENDING: QR_TIMEOUT, SessionState.PASSKEY_REQUIRED: PASSKEY_TIMEOUT}


class PairingClock:
    """Runs while an account waits to be linked: `within` seconds."""

    def __init__(self, *, within: float) -> None:
        self._within = within
        self._reason = QR_TIMEOUT
        self._timer: asyncio.TimerHandle | None = None

    def follow(self, state: SessionState, *, give_up: Callable[[str], None]) -> None:
        """The transport is in this state now. From a code to a passkey the time goes on; `give_up` hears why it ended.

        Known only while it runs: a clock that kept it would keep a closed session until the collector comes by.
        """
        reason = _REASONS.get(state)
        if reason is None:
            self.stop()
            return
        self._reason = reason
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._within, lambda: give_up(self._reason))

    def stop(self) -> None:
        """The pairing is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
