"""What the session asks of a transport, what a transport tells upwards, and the five ways a send can fail."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from zapd.model.message import Message, MessageStatus
from zapd.model.session import SessionState


class SendError(Exception):
    """A send did not end well; the subclass says what to do."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code  #: the provider's code or our short name
        self.detail = detail


class RetryAt(SendError):
    """Try again later: a failure of this message that burns an attempt, unless `wait` names the provider's pace.

    `wait` (seconds) comes from the provider's rate limit and burns no attempt. `whole_session` parks every message of
    the session for that time; otherwise only this message waits.
    """

    def __init__(self, code: str, detail: str = "", *, wait: float | None = None, whole_session: bool = False) -> None:
        super().__init__(code, detail)
        self.wait = wait
        self.whole_session = whole_session


class Permanent(SendError):
    """This message can never be sent."""


class PauseSession(SendError):
    """The account has trouble: nothing more leaves until a person acts. The message stays queued."""

    def __init__(self, code: str, detail: str = "", *, state: SessionState = SessionState.PAUSED) -> None:
        super().__init__(code, detail)
        self.state = state  #: paused, logged_out, banned or client_outdated


class PauseNewContacts(SendError):
    """Only messages to people who never wrote must wait. The message stays queued for `wait` seconds."""

    def __init__(self, code: str, detail: str = "", *, wait: float = 86_400.0) -> None:
        super().__init__(code, detail)
        self.wait = wait


class UnknownOutcome(SendError):
    """The call was written and no answer came: it may have left."""


class NotConnected(SendError):
    """The session is not connected; nothing was written to the wire."""

    def __init__(self, state: str) -> None:
        super().__init__("not_connected", state)


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """A status that the provider reports. `at` in milliseconds."""

    provider_id: str
    status: MessageStatus  #: sent, delivered, read, played or failed
    at: int
    message_id: str | None = None  #: ours, when the provider echoes it
    code: str | None = None
    detail: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Inbound:
    """A message that somebody wrote to the account. `payload` is JSON of the kind's own shape."""

    provider_id: str
    peer: str
    type: str  #: `text` … or `unknown`, which keeps the raw JSON
    payload: bytes
    at: int
    name: str | None = None
    reply_to: str | None = None  #: the provider id of the quoted message


Update = Receipt | Inbound


@dataclass(frozen=True, kw_only=True, slots=True)
class StateChange:
    """The transport's connection went to another state."""

    state: SessionState
    reason: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class QrCode:
    """A new code to scan. `expires_at` in milliseconds."""

    text: str
    expires_at: int


#: State changes and codes go up at once; updates go up as the raw bytes they came in.
OnState = Callable[[StateChange | QrCode], Awaitable[None]]
OnRaw = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class SendResult:
    """The provider took the message. `accepted_at` in milliseconds."""

    provider_id: str
    accepted_at: int
    peer: str | None = None  #: the number or id the provider really used, when it says so


class Transport(Protocol):
    """One account's wire. Built for one connection; `start` may be called again after `stop`."""

    capabilities: frozenset[str]  #: the message types it can send

    async def start(self, *, on_state: OnState, on_raw: OnRaw) -> None:
        """Connect (and pair if needed). Returns at once; what happens is told by `on_state`."""

    async def stop(self) -> None:
        """Disconnect. Safe to call twice and before `start`."""

    async def send(self, message: Message) -> SendResult:
        """Send one message. Raises a `SendError`."""

    def parse(self, raw: bytes) -> Sequence[Update]:
        """The updates in raw bytes that this transport gave to `on_raw` or that its webhook received. Pure.

        Raises ValueError when the bytes are not of this provider.
        """
