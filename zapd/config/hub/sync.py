"""What is fetched page by page."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from zapd.config.hub.spec import NAME, EventType, Expression, Short, Spec


class SyncSpec(Spec):
    """Pages through a target and emits an event for each item; goes on where it was after a crash."""

    target: Annotated[str, Field(pattern=NAME)]
    path: Short
    items: Expression
    type: EventType
    id: Expression = Field(description="JMESPath over an item: the same id is emitted once")
    paging: Literal["page", "offset", "cursor", "none"] = "page"
    parameter: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.\[\]-]{1,64}$")] = "page"
    cursor: Expression = Field(default="", description="JMESPath over an answer: the next value of `parameter`")
    first: Annotated[int, Field(ge=0, le=1_000_000)] = 1
    max_pages: Annotated[int, Field(ge=1, le=100_000)] = 1_000

    @model_validator(mode="after")
    def _cursor(self) -> "SyncSpec":
        if (self.paging == "cursor") != bool(self.cursor):
            raise ValueError('`cursor` belongs to paging = "cursor", and is needed there')
        return self
