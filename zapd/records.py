"""Records: values that nobody changes after they were made, cheap to make.

A frozen dataclass takes three times as long to make as an open one, because it sets each field through a call; a
message on its way makes a dozen. mypy holds a record to be frozen, and nothing checks it again at run time.
"""

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=True)
def record(cls: type[T]) -> type[T]:
    """A keyword-only dataclass with slots, frozen for the type checker."""
    return dataclass(kw_only=True, slots=True, unsafe_hash=True)(cls)
