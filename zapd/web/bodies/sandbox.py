"""The simulated network."""

from typing import Any

from pydantic import Field, model_validator

from zapd.web.bodies.body import ONE_LINE, Body, Payload
from zapd.whatsapp.sandbox_contacts import SandboxContact
from zapd.whatsapp.sandbox_faults import Fault


class SandboxInbound(Body):
    """What a contact of the simulated network writes."""

    from_: str = Field(alias="from", min_length=1, max_length=64)
    type: str = Field(default="text", min_length=1, max_length=32, pattern=ONE_LINE)
    payload: Payload


class SandboxFaults(Body):
    """The trouble to come; it replaces what was left of the last. A bare list is taken too.

    `contacts` replaces who is there and what they answer; without it they stay.
    """

    faults: list[Fault] = Field(default=[], max_length=1000)
    contacts: list[SandboxContact] | None = Field(default=None, max_length=1000)

    @model_validator(mode="before")
    @classmethod
    def _of_list(cls, value: Any) -> Any:
        return {"faults": value} if isinstance(value, list) else value
