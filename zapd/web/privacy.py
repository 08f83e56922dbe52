"""Personal data: export and erase a contact, erase a tenant, seal bodies under new keys."""

from collections.abc import Sequence

from aiohttp import web
from typing_extensions import TypedDict

from zapd.web import dependencies as need
from zapd.web import tenants
from zapd.web.answers import Json, answer
from zapd.web.auth import key_of
from zapd.whatsapp import numbers


class ExportAnswer(TypedDict):
    """Everything kept of a person's conversations."""

    peers: list[str]
    made_at: str
    messages: list[Json]


class ErasedAnswer(TypedDict):
    """What was removed: rows per table."""

    peers: list[str]
    removed: dict[str, int]


class StartedAnswer(TypedDict):
    """The job that does it."""

    job_id: str


class RotationAnswer(TypedDict):
    """`state`: never, running or done; the table it is at; the rows that were sealed anew."""

    state: str
    table: str | None
    rows: int


async def export(request: web.Request) -> web.Response:
    """Everything kept of one person: a contact's id, a phone number or a JID."""
    peers = await _peers(request)
    return answer(await request.app[need.PRIVACY].export(key_of(request).tenant, peers))


async def erase(request: web.Request) -> web.Response:
    """Delete everything kept of one person; says what was removed."""
    peers = await _peers(request)
    removed = await request.app[need.PRIVACY].erase(key_of(request).tenant, peers)
    return answer(ErasedAnswer(peers=list(peers), removed=removed))


async def erase_tenant(request: web.Request) -> web.Response:
    """Delete a tenant with all it has. Its bodies can be read by nobody from now on, in backups neither."""
    tenant = await tenants.existing(request, request.match_info["id"])
    return answer(StartedAnswer(job_id=await request.app[need.PRIVACY].erase_tenant(tenant.id)), 202)


async def rotate(request: web.Request) -> web.Response:
    """Seal all bodies under new keys, while the daemon runs."""
    return answer(StartedAnswer(job_id=await request.app[need.PRIVACY].rotate()), 202)


async def rotation(request: web.Request) -> web.Response:
    """How far the sealing under new keys is."""
    standing = await request.app[need.PRIVACY].rotation()
    return answer(RotationAnswer(state=standing["state"], table=standing["table"], rows=standing["rows"]))


async def _peers(request: web.Request) -> Sequence[str]:
    """All names under which messages of this person may stand. Raises InvalidInput."""
    return (numbers.recipient(request.match_info["id"]),)
