"""What a check found."""

from dataclasses import asdict, dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """`note` is worth knowing and no fault."""

    check: str
    result: Literal["ok", "note", "wrong"]
    found: str
    do: str

    def row(self) -> dict[str, str]:
        """For the table, and as JSON."""
        return asdict(self)


def ok(check: str, found: str) -> Finding:
    """As it should be."""
    return Finding(check, "ok", found, "")


def note(check: str, found: str, do: str = "") -> Finding:
    """Worth knowing."""
    return Finding(check, "note", found, do)


def wrong(check: str, found: str, do: str) -> Finding:
    """Somebody must do something."""
    return Finding(check, "wrong", found, do)
