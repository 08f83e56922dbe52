"""Polls."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from zapd.whatsapp.content.payload import Payload, broken, said


class PollPayload(Payload):
    """A question. `selectable` is how many options one person may choose."""

    name: Annotated[str, said(255)]
    options: Annotated[list[Annotated[str, said(100)]], Field(min_length=2, max_length=12)]
    selectable: Annotated[int, Field(ge=1)] = 1

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if len(set(self.options)) != len(self.options):
            raise broken("options must differ from each other")
        if self.selectable > len(self.options):
            raise broken(f"selectable must be at most the number of options, {len(self.options)}")
        return self
