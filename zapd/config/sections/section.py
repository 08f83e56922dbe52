"""What all sections have in common."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from zapd.config.values import MOST, Duration, Integer

Positive = Annotated[Duration, Field(gt=0)]
Count = Annotated[Integer, Field(ge=1, le=MOST)]
Few = Annotated[Integer, Field(ge=1, le=10_000)]
Whole = Annotated[Integer, Field(ge=0, le=1_000_000)]


class Section(BaseModel):
    """A section of the file: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
