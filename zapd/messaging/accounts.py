"""What messaging needs of the sessions, and the few names that all of its steps share."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from zapd.model.message import Message
from zapd.model.session import Connection
from zapd.store.commands import Row
from zapd.whatsapp.transport import Enclosed, Peek, SendError, SendResult, Target, Trace, Update

SEND, RECEIVE, STATUS = "message:send", "message:receive", "message:status"  #: queues
PRIORITY = 5  #: of a message; the queues of what comes in have their own
PRIORITY_RECEIVE, PRIORITY_STATUS = 7, 4
RETRY_PRIORITY = 6  #: a person waits for it

#: `Outbox.commit`: the guard, the changes that happen only with it, and their jobs.
Commit = Callable[..., Awaitable[Row | None]]


class Accounts(Protocol):
    """What messaging needs of the sessions."""

    async def find(self, tenant: str, connection_id: str) -> Connection | None:
        """The stored connection; a short-lived memory may answer."""

    def capabilities(self, connection: Connection) -> frozenset[str]:
        """The message types that it can send, and what else it can do."""

    def check_address(self, connection: Connection, peer: str) -> None:
        """Raises InvalidInput for a recipient that its transport cannot reach."""

    def window(self, connection: Connection) -> float | None:
        """For how many seconds after a contact's message one may write freely; None: always."""

    async def mark_read(self, connection: Connection, target: Target) -> None:
        """Tell the sender of an inbound message that it was read. Raises InvalidInput, or a SendError."""

    async def typing(self, connection: Connection, peer: str, *, last: Target | None) -> None:
        """Show for some seconds that somebody types. Raises InvalidInput, or a SendError."""

    def connected(self, tenant: str, connection_id: str) -> bool:
        """Whether a send can be tried now, on this daemon."""

    async def send(self, message: Message, enclosed: Enclosed) -> SendResult:
        """Hand the message and what it refers to to its transport. Raises a SendError."""

    async def trace(self, message: Message) -> Trace | None:
        """What became of a send whose answer never came; None: nobody can tell."""

    def peek(self, connection: Connection, raw: bytes) -> Peek:
        """What kinds of updates a provider's raw bytes hold. Raises ValueError."""

    def failure(self, connection: Connection, code: str, said: str) -> SendError | None:
        """What a receipt that says `failed` would have been as the answer to the send; None: nobody knows."""

    def parse(self, connection: Connection, raw: bytes) -> Sequence[Update]:
        """The updates in a provider's raw bytes. Raises ValueError."""
