"""People."""

from typing import Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from zapd.web.bodies.body import Body, Id


class CreateContact(Body):
    """A person, by at least one id."""

    name: str | None = Field(default=None, min_length=1, max_length=200)
    phone: str | None = Field(default=None, min_length=1, max_length=64)
    lid: str | None = Field(default=None, pattern=r"^[0-9]{5,40}@lid$")
    bsuid: str | None = Field(default=None, pattern=r"^[A-Z]{2}(\.ENT)?\.[A-Za-z0-9]{1,128}$")
    jid: str | None = Field(default=None, pattern=r"^[0-9]{5,20}@s\.whatsapp\.net$")
    opted_out: bool = False

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if not any((self.phone, self.lid, self.bsuid, self.jid)):
            raise PydanticCustomError("rule", "a contact needs a phone, lid, bsuid or jid")
        return self


class UpdateContact(Body):
    """What to change; a field that is not there stays."""

    name: str | None = Field(default=None, min_length=1, max_length=200)
    opted_out: bool | None = None


class MergeContacts(Body):
    """The contact that is the same person, and goes."""

    contact_id: Id
