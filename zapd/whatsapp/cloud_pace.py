"""How long to wait after one of Meta's limits was hit (wire facts §1.5).

130429 slows the whole number, 1 s doubling to 60 s with jitter; 131056 slows one recipient, 4^n s; both are forgotten
at the first success. That a recipient is not hit in the first place (a message every 6 s, 45 at once) is the business
of the pace to one person, whose default for this transport is Meta's (`parts/accounts.py`).
"""

from collections import OrderedDict
from collections.abc import Callable

from zapd.backoff import Backoff
from zapd.whatsapp.cloud_errors import PAIR_RATE, THROUGHPUT
from zapd.whatsapp.transport import RetryAt, SendError

MAX_PEERS = 10_000  #: recipients remembered; the one that was hit longest ago goes first

_THROUGHPUT_WAIT = Backoff(base=1.0, factor=2.0, cap=60.0, jitter=0.5)
_PAIR_WAIT = Backoff(base=1.0, factor=4.0, cap=3600.0, jitter=0.1)


class Pace:
    """The hits of one number."""

    def __init__(self, *, random: Callable[[], float]) -> None:
        self._random = random
        self._hits = 0
        self._peers: OrderedDict[str, int] = OrderedDict()

    def succeeded(self, peer: str) -> None:
        """A send to this recipient went through."""
        self._hits = 0
        self._peers.pop(peer, None)

    def slowed(self, error: SendError, peer: str) -> SendError:
        """The same error, with the wait that this hit asks for."""
        if not isinstance(error, RetryAt) or error.wait is None:
            return error
        if error.code == str(THROUGHPUT):
            self._hits += 1
            error.wait = max(error.wait, _THROUGHPUT_WAIT.delay(self._hits, random=self._random))
        elif error.code == str(PAIR_RATE):
            self._peers[peer] = hits = self._peers.pop(peer, 0) + 1
            if len(self._peers) > MAX_PEERS:
                self._peers.popitem(last=False)
            error.wait = max(error.wait, _PAIR_WAIT.delay(hits, random=self._random))
        return error
