"""Contact cards."""

from typing import Annotated

from pydantic import Field, StringConstraints

from zapd.whatsapp.content.payload import Payload, said

MAX_CONTACTS = 100
MAX_ENTRIES = 20  #: phones, addresses … of one contact

Short = Annotated[str, said(200)]
Kind = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_ ]{1,20}$")]


class Name(Payload):
    """`formatted_name` is what the receiver sees."""

    formatted_name: Short
    first_name: Short | None = None
    last_name: Short | None = None
    middle_name: Short | None = None
    prefix: Short | None = None
    suffix: Short | None = None


class Phone(Payload):
    """`wa_id`: the number on WhatsApp, so that the receiver can write to it at once."""

    phone: Annotated[str, said(40)]
    type: Kind | None = None
    wa_id: Annotated[str, StringConstraints(pattern=r"^[0-9]{5,20}$")] | None = None


class Email(Payload):
    """An address of mail."""

    email: Short
    type: Kind | None = None


class Address(Payload):
    """An address of a house."""

    street: Short | None = None
    city: Short | None = None
    state: Short | None = None
    zip: Short | None = None
    country: Short | None = None
    country_code: Short | None = None
    type: Kind | None = None


class Link(Payload):
    """A web page."""

    url: Annotated[str, said(2048)]
    type: Kind | None = None


class Organization(Payload):
    """Where somebody works."""

    company: Short | None = None
    department: Short | None = None
    title: Short | None = None


class Contact(Payload):
    """One person."""

    name: Name
    phones: Annotated[list[Phone], Field(max_length=MAX_ENTRIES)] = []
    emails: Annotated[list[Email], Field(max_length=MAX_ENTRIES)] = []
    addresses: Annotated[list[Address], Field(max_length=MAX_ENTRIES)] = []
    urls: Annotated[list[Link], Field(max_length=MAX_ENTRIES)] = []
    org: Organization | None = None
    birthday: Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")] | None = None


class ContactsPayload(Payload):
    """Contact cards, shaped as Meta's."""

    contacts: Annotated[list[Contact], Field(min_length=1, max_length=MAX_CONTACTS)]
