"""What travels with a job of an own queue beside its payload: the batch it belongs to, what the job before it gave.

A plain job is its JSON and nothing else. One with company is `\\0` + one line of JSON + the payload; no JSON begins
with `\\0`, so one look at the first byte tells them apart.
"""

from dataclasses import dataclass
from typing import Any

import orjson

_MARK = b"\0"


@dataclass(frozen=True, slots=True)
class Opened:
    """A stored payload taken apart. `previous` is JSON: the result of the step before, in a chain."""

    payload: bytes
    batch: str = ""
    previous: bytes | None = None


def sealed(payload: bytes, *, batch: str = "", previous: bytes | None = None) -> bytes:
    """The bytes to store. `previous` must be JSON."""
    if not batch and previous is None:
        return payload
    head: dict[str, Any] = {"batch": batch}
    if previous is not None:
        head["previous"] = orjson.Fragment(previous)
    return _MARK + orjson.dumps(head) + b"\n" + payload


def opened(stored: bytes) -> Opened:
    """The other way round. Whatever it is, it opens: what is not ours is a payload."""
    if not stored.startswith(_MARK):
        return Opened(stored)
    head, _, payload = stored[1:].partition(b"\n")
    try:
        told = orjson.loads(head)
        previous = orjson.dumps(told["previous"]) if "previous" in told else None
        return Opened(payload, str(told.get("batch", "")), previous)
    except (orjson.JSONDecodeError, AttributeError, TypeError):
        return Opened(stored)


def changed(stored: bytes, payload: bytes) -> bytes:
    """The same company with another payload."""
    now = opened(stored)
    return sealed(payload, batch=now.batch, previous=now.previous)
