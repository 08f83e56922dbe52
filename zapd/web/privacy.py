"""Personal data: export and erase a contact, erase a tenant, seal bodies under new keys."""

from collections.abc import Sequence

from aiohttp import web
from typing_extensions import TypedDict

from zapd.model.contact import KINDS, Contact, candidates
from zapd.web import dependencies as need
from zapd.web import tenants
from zapd.web.answers import Json, answer
from zapd.web.auth import key_of
from zapd.web.contacts import shown
from zapd.whatsapp import numbers


class ExportAnswer(TypedDict):
    """Everything kept of a person. `events`: those that name them and belong to no message of theirs; `mentions`:
    other rows that do, such as the raw webhook behind an event.
    """

    peers: list[str]
    made_at: str
    messages: list[Json]
    events: list[Json]
    mentions: list[Json]
    contacts: list[Json]


class ErasedAnswer(TypedDict):
    """What was removed: rows per table. `kept`: contacts of which only an id that opted out is left, and why."""

    peers: list[str]
    removed: dict[str, int]
    kept: dict[str, str]


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
    peers, known = await _person(request)
    found = await request.app[need.PRIVACY].export(key_of(request).tenant, peers)
    return answer({**found, "contacts": [shown(contact) for contact in known]})


async def erase(request: web.Request) -> web.Response:
    """Delete everything kept of one person; says what was removed."""
    peers, known = await _person(request)
    tenant, contacts = key_of(request).tenant, request.app[need.CONTACTS]
    removed = await request.app[need.PRIVACY].erase(tenant, peers)
    kept: dict[str, str] = {}
    for contact in known:
        if contact.opted_out_at is None:
            await contacts.delete(tenant, contact.id)
            removed["contacts"] = removed.get("contacts", 0) + 1
        else:
            await contacts.rename(tenant, contact.id, None)
            kept[contact.id] = "opted out: its ids stay, so that nobody writes to them again"
    return answer(ErasedAnswer(peers=list(peers), removed=removed, kept=kept))


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


async def _person(request: web.Request) -> tuple[Sequence[str], Sequence[Contact]]:
    """All names under which things of this person may stand, and their contacts. Raises InvalidInput, NotFound."""
    named, tenant, contacts = request.match_info["id"], key_of(request).tenant, request.app[need.CONTACTS]
    if named.startswith("ctc_"):
        known: list[Contact] = [await contacts.get(tenant, named)]
        names: dict[str, None] = {}
    else:
        names = dict.fromkeys(candidates(numbers.recipient(named, field="id")))
        known = [
            contact
            for name in names
            for contact in await contacts.listed(tenant, opted_out=None, found=name, after=None, limit=10)
        ]
    for contact in known:
        for kind, values in contact.aliases.items():
            names |= dict.fromkeys(name for value in values if kind in KINDS for name in candidates(value))
    return list(names), list({contact.id: contact for contact in known}.values())
