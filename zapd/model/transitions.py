"""Tables of legal transitions: each state and where it may go from there. They stand beside their enums. Pure."""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

State = TypeVar("State", bound=StrEnum)


def sources_of(table: Mapping[State, frozenset[State]]) -> Mapping[State, frozenset[State]]:
    """The table read backwards: each state and those that may go there, which is what a compare-and-set asks for."""
    return {to: frozenset(state for state, targets in table.items() if to in targets) for to in table}
