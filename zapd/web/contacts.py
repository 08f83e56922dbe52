"""Contacts: the people whom the connections know, by every id; who wants no more messages; two that are one."""

from aiohttp import web
from pydantic import Field
from typing_extensions import TypedDict

from zapd.announce import iso
from zapd.model.contact import KINDS, Alias, Contact
from zapd.web import bodies
from zapd.web import dependencies as need
from zapd.web.answers import Time, answer, at
from zapd.web.auth import key_of
from zapd.web.pages import IdPage, after_id, by_id, page, parsed_query
from zapd.whatsapp.numbers import phone_number

BY_API = "api"  #: who opted a contact out, when a client did


class ContactsQuery(IdPage):
    """Which contacts. `known_as`: a phone number in any spelling, a JID, lid or business-scoped id."""

    after: str | None = after_id("ctc")
    opted_out: bool | None = None
    known_as: str | None = Field(default=None, min_length=1, max_length=128)


class ContactAnswer(TypedDict):
    """One person. `aliases`: every id by which a transport knows them, by kind; the phone may be missing."""

    id: str
    name: str | None
    phone: str | None
    aliases: dict[str, list[str]]
    opted_out: bool
    opted_out_at: Time | None
    opted_out_by: str | None
    created_at: Time
    updated_at: Time


async def index(request: web.Request) -> web.Response:
    """The contacts."""
    query = parsed_query(request, ContactsQuery)
    known_as = query.known_as.strip().removeprefix("+") if query.known_as else None
    found = await request.app[need.CONTACTS].listed(
        key_of(request).tenant,
        opted_out=query.opted_out,
        found=known_as,
        after=query.after,
        limit=query.limit + 1,
    )
    return answer(page(found, query.limit, shown, by_id("ctc")))


async def create(request: web.Request) -> web.Response:
    """Make a contact before any message, such as one who must get none."""
    body = await bodies.parsed(request, bodies.CreateContact)
    given = {"phone": phone_number(body.phone, field="phone") if body.phone else None}
    given |= {kind: getattr(body, kind) for kind in ("lid", "bsuid", "jid")}
    aliases = [Alias(kind, value) for kind, value in given.items() if value]
    contacts, tenant = request.app[need.CONTACTS], key_of(request).tenant
    contact = await contacts.create(tenant, aliases, name=body.name)
    if body.opted_out:
        contact = await contacts.opt_out(tenant, contact.id, by=BY_API)
    return answer(shown(contact), 201)


async def show(request: web.Request) -> web.Response:
    """One contact."""
    return answer(shown(await request.app[need.CONTACTS].get(key_of(request).tenant, request.match_info["id"])))


async def update(request: web.Request) -> web.Response:
    """Change the name, or whether they want messages."""
    body = await bodies.parsed(request, bodies.UpdateContact)
    contacts, tenant, contact_id = request.app[need.CONTACTS], key_of(request).tenant, request.match_info["id"]
    contact = await contacts.get(tenant, contact_id)
    if "name" in body.model_fields_set:
        contact = await contacts.rename(tenant, contact_id, body.name)
    if body.opted_out is not None:
        change = contacts.opt_out if body.opted_out else contacts.opt_in
        contact = await change(tenant, contact_id, by=BY_API)
    return answer(shown(contact))


async def delete(request: web.Request) -> web.Response:
    """Forget a contact. Its messages stay until their retention."""
    await request.app[need.CONTACTS].delete(key_of(request).tenant, request.match_info["id"])
    return web.Response(status=204)


async def merge(request: web.Request) -> web.Response:
    """The other contact is the same person: its ids become this one's, and it goes."""
    body = await bodies.parsed(request, bodies.MergeContacts)
    tenant = key_of(request).tenant
    merged = await request.app[need.CONTACTS].merge(tenant, request.match_info["id"], body.contact_id)
    return answer(shown(merged))


def shown(contact: Contact) -> ContactAnswer:
    """As the API shows it."""
    aliases = {kind: list(contact.aliases[kind]) for kind in KINDS if kind in contact.aliases}
    return {
        "id": contact.id,
        "name": contact.name,
        "phone": next(iter([*aliases.get("phone", []), *aliases.get("wa_id", [])]), None),
        "aliases": aliases,
        "opted_out": contact.opted_out_at is not None,
        "opted_out_at": at(contact.opted_out_at),
        "opted_out_by": contact.opted_out_by,
        "created_at": iso(contact.created_at),
        "updated_at": iso(contact.updated_at),
    }
