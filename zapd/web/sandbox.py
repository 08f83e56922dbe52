"""The simulated WhatsApp network: what arrived in it, a contact who writes, trouble on demand."""

import orjson
from aiohttp import web
from pydantic import Field
from typing_extensions import TypedDict

from zapd.announce import iso
from zapd.errors import Conflict
from zapd.model.session import Connection, TransportName
from zapd.store.ledger import LedgerEntry
from zapd.web import bodies
from zapd.web import dependencies as need
from zapd.web.answers import Json, Time, answer
from zapd.web.connections import existing
from zapd.web.pages import IdPage, after_id, by_id, page, parsed_query
from zapd.whatsapp.numbers import recipient


class LedgerQuery(IdPage):
    """Which entries; the oldest first."""

    after: str | None = after_id("SBX")
    limit: int = Field(default=50, ge=1, le=10_000)


class LedgerAnswer(TypedDict):
    """One message that reached the network. It is written before the network answers the send."""

    id: str
    message_id: str
    to: str
    type: str
    payload: Json
    at: Time


class WrittenAnswer(TypedDict):
    """The network's id of the message."""

    id: str


class ScriptAnswer(TypedDict):
    """How many lines the script has."""

    faults: int


async def ledger(request: web.Request) -> web.Response:
    """What arrived."""
    connection = await _sandboxed(request)
    query = parsed_query(request, LedgerQuery)
    found = await request.app[need.SANDBOX].ledger(
        connection.tenant, connection.id, after=query.after, limit=query.limit + 1
    )
    return answer(page(found, query.limit, _shown, by_id("SBX")))


async def inbound(request: web.Request) -> web.Response:
    """A contact writes to the account; `id` is the network's id of the message."""
    connection = await _sandboxed(request)
    body = await bodies.parsed(request, bodies.SandboxInbound)
    account = request.app[need.SANDBOX].account(connection.tenant, connection.id)
    bodies.as_json(body.payload)
    written = await account.inbound(peer=recipient(body.from_, field="from"), type_=body.type, payload=body.payload)
    return answer(WrittenAnswer(id=written), 202)


async def faults(request: web.Request) -> web.Response:
    """Replace the scripted trouble of this connection (an empty list ends it), and who answers what."""
    connection = await _sandboxed(request)
    body = await bodies.parsed(request, bodies.SandboxFaults)
    account = request.app[need.SANDBOX].account(connection.tenant, connection.id)
    if body.contacts is not None:
        account.people(body.contacts)
    await account.script(body.faults)
    return answer(ScriptAnswer(faults=len(body.faults)), 202)


async def _sandboxed(request: web.Request) -> Connection:
    connection = await existing(request)
    if connection.transport is not TransportName.SANDBOX:
        raise Conflict(f"connection {connection.id} is not in the sandbox")
    return connection


def _shown(entry: LedgerEntry) -> LedgerAnswer:
    return {
        "id": entry.id,
        "message_id": entry.message_id,
        "to": entry.peer,
        "type": entry.type,
        "payload": orjson.Fragment(entry.payload),
        "at": iso(entry.at),
    }
