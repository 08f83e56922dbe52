"""The inbox: what providers sent, as it came, and reading it once more."""

import base64

from aiohttp import web
from pydantic import Field
from typing_extensions import TypedDict

from zapd.announce import iso
from zapd.errors import NotFound
from zapd.store.inbox import InboxRow
from zapd.web import dependencies as need
from zapd.web.answers import Time, answer, at
from zapd.web.auth import key_of, only_connection, visible
from zapd.web.pages import IdPage, after_id, by_id, page, parsed_query


class InboxQuery(IdPage):
    """Which rows; the newest first. `failed`: those that could not be read, or only the others."""

    after: str | None = after_id("inb")
    connection_id: str | None = None
    failed: bool | None = Field(default=None)


class InboxAnswer(TypedDict):
    """One body that a provider sent. `error`: why it could not be read."""

    id: str
    connection_id: str
    size: int
    received_at: Time
    processed_at: Time | None
    error: str | None


class RawAnswer(InboxAnswer):
    """With its bytes: as text where they are UTF-8, else in base64."""

    raw: str
    encoding: str


class ProcessedAnswer(TypedDict):
    """The jobs that read it."""

    id: str
    job_ids: list[str]


async def index(request: web.Request) -> web.Response:
    """What providers sent."""
    query = parsed_query(request, InboxQuery)
    found = await request.app[need.INBOX].listed(
        key_of(request).tenant,
        connection_id=only_connection(request, query.connection_id),
        failed=query.failed,
        after=query.after,
        limit=query.limit + 1,
    )
    return answer(page(found, query.limit, _shown, by_id("inb")))


async def show(request: web.Request) -> web.Response:
    """One body, as it came."""
    row = await _visible(request)
    try:
        raw, encoding = row.raw.decode(), "utf-8"
    except UnicodeDecodeError:
        raw, encoding = base64.b64encode(row.raw).decode(), "base64"
    return answer(RawAnswer(**_shown(row), raw=raw, encoding=encoding))


async def process(request: web.Request) -> web.Response:
    """Read it once more. What was applied before stays as it is."""
    row = await _visible(request)
    job_ids = await request.app[need.PROCESS](row.tenant, row.id)
    return answer(ProcessedAnswer(id=row.id, job_ids=job_ids), 202)


async def _visible(request: web.Request) -> InboxRow:
    inbox_id = request.match_info["id"]
    row = await request.app[need.INBOX].get(key_of(request).tenant, inbox_id)
    if row is None or not visible(request, row.connection_id):
        raise NotFound(f"there is no inbox row {inbox_id}")
    return row


def _shown(row: InboxRow) -> InboxAnswer:
    return {
        "id": row.id,
        "connection_id": row.connection_id,
        "size": len(row.raw),
        "received_at": iso(row.received_at),
        "processed_at": at(row.processed_at),
        "error": row.error,
    }
