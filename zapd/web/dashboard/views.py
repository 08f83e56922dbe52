"""What each page shows: its regions, and the data they are made of.

A region is a template in `templates/regions/`. Everything comes from the same functions as the API's answers, so the
dashboard and the API cannot tell different stories.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web

from zapd.errors import Forbidden, Unavailable
from zapd.model.media import Media, MediaState
from zapd.model.message import Message, MessageStatus
from zapd.web import connections, queues
from zapd.web import dependencies as need
from zapd.web.auth import key_of
from zapd.whatsapp.content.media import FILES

SHOWN_CONNECTIONS = 200
SHOWN_CONVERSATIONS = 50
SHOWN_MESSAGES = 100
MOST = 5_000  #: of any of them, for a reader who asks for more

#: States that do not end by themselves.
TROUBLE = frozenset({"failed", "banned", "logged_out", "client_outdated", "paused", "passkey_required"})

Data = Callable[[web.Request], Awaitable[Mapping[str, Any]]]


@dataclass(frozen=True)
class View:
    """A page: its template, the regions that stay live, and where their data comes from."""

    template: str
    regions: tuple[str, ...]
    data: Data


async def overview(request: web.Request) -> Mapping[str, Any]:
    """Sessions and queues at a glance, and what needs a person."""
    shown, more = await _connections(request)
    key = key_of(request)
    whole = key.connection_id is None
    strip = await _queues(request) if whole else []
    counts = await request.app[need.COUNTS].attention_counts(key.tenant) if whole else {}
    services = request.app[need.SYSTEM].services() if key.operates else {}
    return {
        "connections": shown,
        "more": more,
        "queues": strip,
        "trouble": [c for c in shown if c["state"] in TROUBLE and c["desired"] != "closed"],
        "held": counts.get(MessageStatus.HELD, 0),
        "given_up": counts.get(MessageStatus.DLQ, 0),
        "dead": sum(q["dead"] for q in strip or ()),
        "failed_parts": sorted(name for name, service in services.items() if service["failed"]),
    }


async def all_connections(request: web.Request) -> Mapping[str, Any]:
    """The connections."""
    shown, more = await _connections(request)
    return {"connections": shown, "more": more}


async def one_connection(request: web.Request) -> Mapping[str, Any]:
    """A connection, its code to scan, its conversations."""
    connection = await connections.existing(request)
    limit = _limit(request, SHOWN_CONVERSATIONS)
    found = await request.app[need.CONVERSATIONS].listed(connection.tenant, connection.id, limit + 1)
    return {
        "connection": await connections.shown(request, connection),
        "conversations": found[:limit],
        "more": _more(limit, found),
    }


async def conversation(request: web.Request) -> Mapping[str, Any]:
    """The messages from and to one contact."""
    connection = await connections.existing(request)
    peer = request.match_info["peer"]
    limit = _limit(request, SHOWN_MESSAGES)
    found = await request.app[need.CONVERSATIONS].thread(connection.tenant, connection.id, peer, limit + 1)
    messages = found[-limit:]
    return {
        "connection": await connections.shown(request, connection),
        "peer": peer,
        "messages": messages,
        "files": await _files(request, messages),
        "more": _more(limit, found),
    }


async def all_queues(request: web.Request) -> Mapping[str, Any]:
    """Every queue's numbers. Raises Forbidden for a key that is bound to a connection."""
    if key_of(request).connection_id is not None:
        raise Forbidden("this key is bound to a connection")
    return {"queues": await _queues(request)}


OVERVIEW = View("overview.html", ("attention", "connections", "queues"), overview)
CONNECTIONS = View("connections.html", ("connections",), all_connections)
CONNECTION = View("connection.html", ("pairing", "code", "connection", "conversations"), one_connection)
CONVERSATION = View("conversation.html", ("thread",), conversation)
QUEUES = View("queues.html", ("queues",), all_queues)


async def _connections(request: web.Request) -> tuple[list[connections.ConnectionAnswer], int | None]:
    key, rows = key_of(request), request.app[need.CONNECTIONS]
    if key.connection_id is not None:
        mine = await rows.get(key.tenant, key.connection_id)
        return [await connections.shown(request, mine)] if mine else [], None
    limit = _limit(request, SHOWN_CONNECTIONS)
    found = await rows.not_closed(key.tenant, limit + 1)
    return [await connections.shown(request, connection) for connection in found[:limit]], _more(limit, found)


async def _queues(request: web.Request) -> list[queues.QueueAnswer] | None:
    """None: Redis is away."""
    try:
        dead = await request.app[need.DEAD].by_queue()
        return [await queues.shown(request, name, dead) for name in request.app[need.QUEUES]]
    except Unavailable:
        return None


async def file_of(request: web.Request, message: Message) -> Media | None:
    """The file that a message carries, when it is here."""
    payload = orjson.loads(message.payload)
    media_id = payload.get("media_id") if isinstance(payload, dict) else None
    item = await request.app[need.MEDIA_ROWS].get(message.tenant, media_id) if isinstance(media_id, str) else None
    return item if item is not None and item.state is MediaState.READY else None


async def _files(request: web.Request, messages: Sequence[Message]) -> Set[str]:
    """Which of them carry a file that is here."""
    with_files = [message for message in messages if message.type in FILES]
    found = await asyncio.gather(*[file_of(request, message) for message in with_files])
    return {message.id for message, item in zip(with_files, found, strict=True) if item is not None}


def _limit(request: web.Request, usual: int) -> int:
    """How many are shown: more for a reader who asked for more."""
    asked = request.query.get("shown", "")
    return min(MOST, max(usual, int(asked))) if asked.isascii() and asked.isdigit() and len(asked) < 6 else usual


def _more(limit: int, found: Sequence[object]) -> int | None:
    """How many to ask for next. None: all are shown."""
    return min(MOST, limit * 4) if len(found) > limit and limit < MOST else None
