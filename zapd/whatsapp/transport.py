"""What zapd asks of a transport, what a transport tells upwards, and the ways a send can fail.

A call that is not a send fails in the same ways. A transport says what it can do in `capabilities`: message types
(`text`, `image` …), `interactive.<kind>` for each interactive kind, and the features below. What is not among them is
refused when it is asked for, so a transport never sees it.

One long file, because it is one contract: who writes a transport reads all of it, and nothing else.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, runtime_checkable

from zapd.model.message import Message, MessageStatus
from zapd.model.session import SessionState
from zapd.records import record

#: Features that stand among the capabilities beside the message types.
REPLY, MENTION, READ, TYPING, PAIR, LOOKUP = "reply", "mention", "read", "typing", "pair", "lookup"
FEATURES = frozenset({REPLY, MENTION, READ, TYPING, PAIR, LOOKUP})


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


class Unsupported(Permanent):
    """This transport cannot do it."""

    def __init__(self, what: str) -> None:
        super().__init__("unsupported", what)


class TemplateRefused(Permanent):
    """The provider sends no message with this template now. `pause`: for how many seconds; None: until it says so."""

    def __init__(self, code: str, detail: str = "", *, template_state: str, pause: float | None = None) -> None:
        super().__init__(code, detail)
        self.template_state = template_state
        self.pause = pause


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
    """The call was written and no answer came: it may have left, as `provider_id` where that is known."""

    def __init__(self, code: str, detail: str = "", *, provider_id: str | None = None) -> None:
        super().__init__(code, detail)
        self.provider_id = provider_id


class NotConnected(SendError):
    """The session is not connected; nothing was written to the wire."""

    def __init__(self, state: str) -> None:
        super().__init__("not_connected", state)


@record
class Aliases:
    """Every id by which one person is known. Any may be missing, the phone too."""

    phone: str | None = None  #: digits of an E.164 number
    wa_id: str | None = None  #: WhatsApp's own spelling of the number
    bsuid: str | None = None  #: Meta's business-scoped user id
    lid: str | None = None  #: `…@lid`
    jid: str | None = None  #: `…@s.whatsapp.net`
    username: str | None = None

    def known(self) -> dict[str, str]:
        """Those that are known, by kind."""
        named = {name: getattr(self, name) for name in _ALIASES}
        return {name: value for name, value in named.items() if value}


_ALIASES = tuple(item.name for item in fields(Aliases))
NOBODY = Aliases()


@record
class RemoteMedia:
    """A file that the provider holds. `reference` (JSON) is what the transport needs to `download` it."""

    reference: bytes
    mime: str | None = None
    size: int | None = None
    sha256: str | None = None  #: hexadecimal, of the plain content
    filename: str | None = None


@record
class Receipt:
    """A status that the provider reports. `at` in milliseconds."""

    provider_id: str
    status: MessageStatus  #: sent, delivered, read, played or failed
    at: int
    message_id: str | None = None  #: ours, when the provider echoes it
    code: str | None = None
    detail: str | None = None
    participant: str | None = None  #: in a group: whose receipt it is


@record
class Inbound:
    """A message in a chat of the account. `payload` is JSON of the kind's own shape (`content/`).

    Where the shape has a `url` or `media_id`, the payload has neither: the file is in `media`. A reaction, edit or
    revoke has in `about` the provider id of the message that it changes.
    """

    provider_id: str  #: unique in the connection: where ids are unique in a chat only, the chat is part of it
    peer: str  #: the chat, where a reply goes: the number or id it came from, or the group
    type: str  #: `text` … or `unknown`, which keeps the raw JSON
    payload: bytes
    at: int
    name: str | None = None
    sender: str | None = None  #: in a group: who wrote it
    aliases: Aliases = NOBODY  #: of who wrote it
    from_me: bool = False  #: written with this account on another device, not through zapd
    forwarded: bool = False
    reply_to: str | None = None  #: the provider id of the quoted message
    about: str | None = None
    media: RemoteMedia | None = None


@record
class AliasChange:
    """Ids that belong to one person: learnt, or changed from `previous`."""

    provider_id: str  #: the same when the provider tells it again
    current: Aliases
    at: int
    previous: Aliases = NOBODY


@record
class Notice:
    """Something about the account that is neither message nor receipt: a template's state, a quality rating, a call.

    It becomes an event `account.<kind>`; `data` is JSON.
    """

    provider_id: str  #: the same when the provider tells it again
    kind: str
    data: bytes
    at: int
    warning: bool = False


@record
class Preference:
    """A person told the provider whether this account may send them what they did not ask for."""

    provider_id: str  #: the same when the provider tells it again
    who: Aliases
    wants: bool
    at: int


@record
class TemplateChange:
    """How a template is from now on. `pause`: the seconds after which it is so no more; None: until it is told."""

    provider_id: str  #: the same when the provider tells it again
    name: str
    language: str
    state: str  #: the provider's word, in small letters
    at: int
    reason: str | None = None
    pause: float | None = None


Update = Receipt | Inbound | AliasChange | Notice | Preference | TemplateChange


@record
class Peek:
    """What kinds of updates raw bytes hold: enough to say which jobs must read them."""

    receipts: bool
    others: bool
    chat: str | None = None  #: the chat of all messages, when it is one


def peek_of(updates: Sequence[Update]) -> Peek:
    """The same from updates that were parsed."""
    chats = {update.peer for update in updates if isinstance(update, Inbound)}
    return Peek(
        receipts=any(isinstance(update, Receipt) for update in updates),
        others=any(not isinstance(update, Receipt) for update in updates),
        chat=chats.pop() if len(chats) == 1 else None,
    )


@record
class StateChange:
    """The transport's connection went to another state."""

    state: SessionState
    reason: str | None = None


@record
class QrCode:
    """A new code to scan, or to type on the phone. `expires_at` in milliseconds."""

    text: str
    expires_at: int
    typed: bool = False  #: a pairing code


#: State changes and codes go up at once; updates go up as the raw bytes they came in.
OnState = Callable[[StateChange | QrCode], Awaitable[None]]
OnRaw = Callable[[bytes], Awaitable[None]]


@record
class Target:
    """An earlier message that a reply, reaction, edit, revoke or forward is about, or that is to be marked as read."""

    provider_id: str
    peer: str  #: the chat it is in
    from_me: bool
    type: str
    payload: bytes
    at: int
    sender: str | None = None  #: in a group: who wrote it


@record
class MediaFile:
    """A file in zapd's keeping. Its content never changes: the name of the file is its hash."""

    id: str
    path: Path
    mime: str
    size: int
    sha256: str  #: hexadecimal
    filename: str | None = None


@record
class Enclosed:
    """What a message refers to: the message that it quotes or changes, and its files by the `media_id` in its payload.

    A payload with `url` was fetched when it was accepted, so that a transport always finds a `media_id`.
    """

    target: Target | None = None
    media: Mapping[str, MediaFile] = field(default_factory=lambda: MappingProxyType({}))


NOTHING = Enclosed()


@record
class SendResult:
    """The provider took the message. `accepted_at` in milliseconds."""

    provider_id: str
    accepted_at: int
    peer: str | None = None  #: the number or id the provider really used, when it says so


@record
class Trace:
    """What is known of a send whose answer was lost. No `provider_id`: it certainly never left."""

    provider_id: str | None


@record
class Resolved:
    """What the provider says of a number. `peer` is where to send to."""

    peer: str
    aliases: Aliases = NOBODY


@record
class Health:
    """The answer to a probe. `last_frame_at` (ms) is when the wire last gave a sign of life by itself."""

    alive: bool
    last_frame_at: int | None = None
    detail: str | None = None


class Transport(Protocol):
    """One account's wire. Built for one connection; `start` may be called again after `stop`.

    Every call but `start`, `stop` and `parse` raises a `SendError`: NotConnected when nothing was written.
    """

    capabilities: frozenset[str]  #: see the top of this file

    async def start(self, *, on_state: OnState, on_raw: OnRaw) -> None:
        """Connect (and pair if needed). Returns at once; what happens is told by `on_state`."""

    async def stop(self) -> None:
        """Disconnect. Safe to call twice and before `start`."""

    async def pair(self, *, phone: str | None = None) -> None:
        """Begin the pairing anew: a code to scan, or with `phone` (digits) one to type there. Told by `on_state`."""

    async def logout(self) -> None:
        """Unlink the account at the provider, where there is a link. `stop` follows."""

    async def send(self, message: Message, enclosed: Enclosed = NOTHING) -> SendResult:
        """Send one message, of any type among the capabilities."""

    async def mark_read(self, target: Target) -> None:
        """Tell the sender of an inbound message that it was read."""

    async def typing(self, peer: str, *, last: Target | None) -> None:
        """Show for some seconds that somebody types. `last` is the newest inbound message of the chat."""

    def download(self, media: RemoteMedia) -> AsyncIterator[bytes]:
        """The content of a file that the provider holds, in pieces."""

    async def resolve_number(self, candidates: Sequence[str]) -> Resolved | None:
        """The first of these numbers (digits) that is on WhatsApp; None: none is."""

    async def health(self) -> Health:
        """Ask the wire for a sign of life. The caller sets the deadline."""

    def parse(self, raw: bytes) -> Sequence[Update]:
        """The updates in raw bytes that this transport gave to `on_raw` or that its webhook received. Pure.

        Raises ValueError when the bytes are not of this provider.
        """


@runtime_checkable
class Tracing(Protocol):
    """A transport that can find out what became of a send whose answer was lost."""

    async def trace(self, message: Message) -> Trace:
        """What is known of a message's last send. Raises NotConnected or UnknownOutcome when nobody can tell."""
