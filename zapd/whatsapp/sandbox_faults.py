"""Scripted trouble for one account of the simulated network."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from zapd.whatsapp.transport import PauseNewContacts, Permanent, RetryAt, SendError


class FaultKind(StrEnum):
    """What goes wrong."""

    ANSWER_LOST = "answer_lost"  #: the message arrives, its answer does not
    SLOW = "slow"  #: the message arrives, its answer takes `ms` longer
    RATE_LIMITED = "rate_limited"  #: 429 for the whole account
    PAIR_RATE = "pair_rate"  #: 131056: too many to this one recipient
    TIMELOCK = "timelock"  #: 463: nothing to people who never wrote
    TRANSIENT = "transient"
    PERMANENT = "permanent"
    DUPLICATE_RECEIPTS = "duplicate_receipts"
    OUT_OF_ORDER_RECEIPTS = "out_of_order_receipts"
    EARLY_RECEIPTS = "early_receipts"  #: receipts and reply come before the answer
    DISCONNECT = "disconnect"  #: at once; the network stays away for `seconds`
    LOGOUT = "logout"  #: at once; it must be paired again
    CLOSE = "close"  #: at once; the network closes the connection with `code`
    ZOMBIE = "zombie"  #: at once; connected, but deaf and mute until it is started anew


def _as_text(code: Any) -> Any:
    """`401` is as good as `"401"`."""
    return str(code) if type(code) is int else code


Code = Annotated[
    Literal["401", "402", "403", "405", "406", "408", "411", "428", "440", "503", "515"], BeforeValidator(_as_text)
]


class Fault(BaseModel):
    """One line of the script: this trouble, for the next `times` sends."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    kind: FaultKind
    times: int = Field(default=1, ge=1, le=100_000)
    retry_after: float = Field(default=1.0, ge=0, le=86_400, description="seconds that a refusal asks to wait")
    seconds: float = Field(default=1.0, ge=0, le=86_400, description="how long a disconnect lasts")
    code: Code = "428"
    ms: int = Field(default=1000, ge=0, le=600_000, description="how much longer a slow answer takes")


#: What happens at once, and not to the next send.
AT_ONCE = frozenset({FaultKind.DISCONNECT, FaultKind.LOGOUT, FaultKind.CLOSE, FaultKind.ZOMBIE})

REFUSALS: Mapping[FaultKind, Callable[[Fault], SendError]] = {
    FaultKind.RATE_LIMITED: lambda f: RetryAt("429", "rate limited", wait=f.retry_after, whole_session=True),
    FaultKind.PAIR_RATE: lambda f: RetryAt("131056", "too many to this recipient", wait=f.retry_after),
    FaultKind.TIMELOCK: lambda f: PauseNewContacts("463", "reach-out timelock", wait=f.retry_after),
    FaultKind.TRANSIENT: lambda _: RetryAt("500", "the network had a moment"),
    FaultKind.PERMANENT: lambda _: Permanent("131026", "undeliverable"),
}


class Script:
    """The faults that wait. Each send takes the first one that has times left."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Fault, int]] = deque()

    def replace(self, faults: Iterable[Fault]) -> None:
        """Forget the old script and follow this one."""
        self._waiting = deque((fault, fault.times) for fault in faults)

    def next_send(self) -> Fault | None:
        """The trouble of this send."""
        if not self._waiting:
            return None
        fault, left = self._waiting.popleft()
        if left > 1:
            self._waiting.appendleft((fault, left - 1))
        return fault
