"""What each page shows: its regions, and the data they are made of.

A region is a template in `templates/regions/`. Everything comes from the same functions as the API's answers, so the
dashboard and the API cannot tell different stories.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from zapd.errors import Unavailable
from zapd.model.message import MessageStatus
from zapd.web import connections, queues
from zapd.web import dependencies as need
from zapd.web.auth import key_of

SHOWN_CONNECTIONS = 200
SHOWN_CONVERSATIONS = 50
SHOWN_MESSAGES = 100

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
    shown = await _connections(request)
    strip = await _queues(request)
    counts = await request.app[need.COUNTS].attention_counts(key_of(request).tenant)
    services = request.app[need.SYSTEM].services()
    return {
        "connections": shown,
        "queues": strip,
        "trouble": [c for c in shown if c["state"] in TROUBLE and c["desired"] != "closed"],
        "held": counts.get(MessageStatus.HELD, 0),
        "given_up": counts.get(MessageStatus.DLQ, 0),
        "dead": sum(q["dead"] for q in strip or ()),
        "failed_parts": sorted(name for name, service in services.items() if service["failed"]),
    }


async def all_connections(request: web.Request) -> Mapping[str, Any]:
    """The connections."""
    return {"connections": await _connections(request)}


async def one_connection(request: web.Request) -> Mapping[str, Any]:
    """A connection, its code to scan, its conversations."""
    connection = await connections.existing(request)
    rows = request.app[need.CONVERSATIONS]
    return {
        "connection": await connections.shown(request, connection),
        "conversations": await rows.listed(connection.tenant, connection.id, SHOWN_CONVERSATIONS),
    }


async def conversation(request: web.Request) -> Mapping[str, Any]:
    """The messages from and to one contact."""
    connection = await connections.existing(request)
    peer = request.match_info["peer"]
    rows = request.app[need.CONVERSATIONS]
    return {
        "connection": await connections.shown(request, connection),
        "peer": peer,
        "messages": await rows.thread(connection.tenant, connection.id, peer, SHOWN_MESSAGES),
    }


async def all_queues(request: web.Request) -> Mapping[str, Any]:
    """Every queue's numbers."""
    return {"queues": await _queues(request)}


OVERVIEW = View("overview.html", ("attention", "connections", "queues"), overview)
CONNECTIONS = View("connections.html", ("connections",), all_connections)
CONNECTION = View("connection.html", ("pairing", "code", "connection", "conversations"), one_connection)
CONVERSATION = View("conversation.html", ("thread",), conversation)
QUEUES = View("queues.html", ("queues",), all_queues)


async def _connections(request: web.Request) -> list[connections.ConnectionAnswer]:
    key, rows = key_of(request), request.app[need.CONNECTIONS]
    if key.connection_id is not None:
        mine = await rows.get(key.tenant, key.connection_id)
        return [await connections.shown(request, mine)] if mine else []
    found = await rows.listed(key.tenant, after=None, limit=SHOWN_CONNECTIONS)
    return [await connections.shown(request, connection) for connection in found if connection.state != "closed"]


async def _queues(request: web.Request) -> list[queues.QueueAnswer] | None:
    """None: Redis is away."""
    try:
        dead = await request.app[need.DEAD].by_queue()
        return [await queues.shown(request, name, dead) for name in request.app[need.QUEUES]]
    except Unavailable:
        return None
