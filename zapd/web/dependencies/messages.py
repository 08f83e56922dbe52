"""Messages, files, what came in."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web

from zapd.media.links import Links
from zapd.messaging.bulk import BulkRequest
from zapd.messaging.submit import Submit, Submitted
from zapd.model.media import Media
from zapd.model.message import Direction, Message, MessageStatus
from zapd.model.session import Connection
from zapd.store.inbox import InboxRow


class Messaging(Protocol):
    """Messages, as clients act on them."""

    async def submit(self, request: Submit) -> Submitted: ...
    async def retry(self, tenant: str, message_id: str) -> Message: ...
    async def cancel(self, tenant: str, message_id: str) -> Message: ...


class Presence(Protocol):
    """Read marks and typing."""

    async def mark_read(self, message: Message) -> None: ...
    async def typing(self, tenant: str, connection_id: str, peer: str) -> None: ...


class InboxRows(Protocol):
    """What providers sent."""

    async def get(self, tenant: str, inbox_id: str) -> InboxRow | None: ...
    async def listed(
        self, tenant: str, *, connection_id: str | None, failed: bool | None, after: str | None, limit: int
    ) -> Sequence[InboxRow]: ...


class BulkSends(Protocol):
    """Many messages at once."""

    async def submit(self, request: BulkRequest) -> tuple[list[dict[str, Any]], bool]: ...


class MessageRows(Protocol):
    """The stored messages."""

    async def get(self, tenant: str, message_id: str) -> Message | None: ...
    async def history(
        self,
        tenant: str,
        connection_id: str,
        *,
        direction: Direction | None,
        status: MessageStatus | None,
        after: str | None,
        limit: int,
    ) -> Sequence[Message]: ...


class Library(Protocol):
    """Takes files in."""

    async def upload(
        self, tenant: str, chunks: AsyncIterator[bytes], *, mime: str | None, filename: str | None
    ) -> Media: ...

    async def delete(self, item: Media) -> None: ...


class MediaRows(Protocol):
    """The stored records of files."""

    async def get(self, tenant: str, media_id: str) -> Media | None: ...


class ConversationRows(Protocol):
    """The messages, by contact."""

    async def listed(self, tenant: str, connection_id: str, limit: int) -> Sequence[Message]: ...
    async def thread(self, tenant: str, connection_id: str, peer: str, limit: int) -> Sequence[Message]: ...


class Counts(Protocol):
    """How many messages are in the states that somebody must look at."""

    async def attention_counts(self, tenant: str) -> Mapping[MessageStatus, int]: ...


MESSAGING = web.AppKey("messaging", Messaging)
PRESENCE = web.AppKey("presence", Presence)
INBOX = web.AppKey("inbox", InboxRows)
BULK = web.AppKey("bulk", BulkSends)
MESSAGES = web.AppKey("messages", MessageRows)
CONVERSATIONS = web.AppKey("conversations", ConversationRows)
COUNTS = web.AppKey("counts", Counts)
LIBRARY = web.AppKey("library", Library)
MEDIA_ROWS = web.AppKey("media_rows", MediaRows)
MEDIA_LINKS = web.AppKey("media_links", Links)
#: (hash of a content) → where it is.
MEDIA_PATH: web.AppKey[Callable[[str], Path]] = web.AppKey("media_path")
#: (connection, raw bytes, provider key) → False: they came before. Raises ValueError when not of the provider.
INTAKE: web.AppKey[Callable[[Connection, bytes, str], Awaitable[bool]]] = web.AppKey("intake")
#: (tenant, inbox id) → the jobs that read the row once more.
PROCESS: web.AppKey[Callable[[str, str], Awaitable[list[str]]]] = web.AppKey("process")
