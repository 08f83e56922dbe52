"""How long to wait: before Meta's limit for one recipient is hit, and after any of its limits was.

One recipient gets a message every 6 s, and up to 45 at once that are paid back later (wire facts §1.10); zapd keeps
to it, so that a chatty flow does not run into 131056. After a hit: 130429 slows the whole number, 1 s doubling to 60 s
with jitter; 131056 slows one recipient, 4^n s; both are forgotten at the first success (§1.5).
"""

from collections import OrderedDict
from collections.abc import Callable

from zapd.backoff import Backoff
from zapd.whatsapp.cloud_errors import PAIR_RATE, THROUGHPUT
from zapd.whatsapp.transport import RetryAt, SendError

PAIR_EVERY = 6.0  #: seconds
PAIR_BURST = 45

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


class PairLimit:
    """Gives each message to one recipient its slot. A message that must wait keeps its slot until it comes again.

    Without kept slots, all that wait for one recipient would come back at the same moment, and all but one in vain.
    In memory only: after a restart the worst is that Meta's own refusal slows the recipient.
    """

    def __init__(self, *, every: float = PAIR_EVERY, burst: int = PAIR_BURST, clock: Callable[[], float]) -> None:
        self._every = every
        self._ahead = every * (burst - 1)
        self._clock = clock
        self._paid_until: OrderedDict[str, float] = OrderedDict()
        self._slots: OrderedDict[str, float] = OrderedDict()

    def wait(self, peer: str, message_id: str) -> float:
        """Seconds until this message may leave; 0: now, and its slot is used up."""
        now = self._clock()
        slot = self._slots.get(message_id)
        if slot is None:
            paid = max(self._paid_until.pop(peer, 0.0), now)
            self._paid_until[peer] = paid + self._every
            slot = paid - self._ahead
        if slot <= now:
            self._slots.pop(message_id, None)
        else:
            self._slots[message_id] = slot
        _bound(self._paid_until)
        _bound(self._slots)
        return max(0.0, slot - now)


def _bound(kept: OrderedDict[str, float]) -> None:
    if len(kept) > MAX_PEERS:
        kept.popitem(last=False)
