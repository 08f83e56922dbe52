"""Thousands of jobs in one body: each is checked by itself, and what is wrong with one is no fault of the others.

A body that is JSON is read in one go. One that is not, or is nested deeper than a parser likes, is cut into its items
by brackets and commas; then only the item that is wrong is refused.
"""

import re
from collections.abc import Iterator
from typing import Any

import orjson

from zapd.errors import FieldError, InvalidInput
from zapd.web.bodies import MAX_ITEMS
from zapd.web.problems import MalformedBody

MAX_DEPTH = 100  #: of a payload; a deeper one is no data, it is an attack or a mistake
NOT_JSON = InvalidInput(FieldError("body", "this item is not JSON"))
TOO_DEEP = InvalidInput(FieldError("payload", f"nested deeper than {MAX_DEPTH} levels"))

_LIST = re.compile(rb'\s*\{\s*"jobs"\s*:\s*\[')
_STEP = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},]', re.DOTALL)
_OPEN, _CLOSE = b"[{", b"]}"

Item = Any | InvalidInput


def read(body: bytes) -> list[Item]:
    """The items of `{"jobs": [...]}`; what is wrong with an item stands in its place.

    Raises InvalidInput when the body is not of that shape.
    """
    try:
        whole = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError as error:
        return _checked([_item(piece) for piece in _pieces(body, error)])
    if not isinstance(whole, dict):
        raise InvalidInput(FieldError("body", 'should be {"jobs": […]}'))
    strange = [FieldError(name, "Extra inputs are not permitted") for name in whole if name != "jobs"]
    if strange:
        raise InvalidInput(*strange)
    return _checked(whole.get("jobs"))


def payload_of(payload: Any, limit: int) -> bytes:
    """The bytes of a payload. Raises InvalidInput: too large, too deep, a number or text that JSON cannot hold."""
    try:
        stored = orjson.dumps(payload)
    except orjson.JSONEncodeError as error:
        raise (TOO_DEEP if "limit" in str(error) else InvalidInput(FieldError("payload", str(error)))) from None
    if len(stored) > limit:
        raise InvalidInput(FieldError("payload", f"{len(stored)} bytes; should be at most {limit}"))
    if stored.count(b"[") + stored.count(b"{") > MAX_DEPTH and depth_of(stored) > MAX_DEPTH:
        raise TOO_DEEP
    return stored


def depth_of(text: bytes) -> int:
    """How deep brackets are nested."""
    depth = deepest = 0
    for found in _STEP.finditer(text):
        mark = found.group()
        if mark in _OPEN:
            depth += 1
            deepest = max(deepest, depth)
        elif mark in _CLOSE:
            depth -= 1
    return deepest


def _checked(items: Any) -> list[Item]:
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_ITEMS:
        raise InvalidInput(FieldError("jobs", f"should be a list of 1 to {MAX_ITEMS} jobs"))
    return items


def _item(piece: bytes) -> Item:
    try:
        return orjson.loads(piece)
    except orjson.JSONDecodeError as error:
        return TOO_DEEP if "limit" in str(error) else NOT_JSON


def _pieces(body: bytes, error: orjson.JSONDecodeError) -> Iterator[bytes]:
    """The items, cut at the commas between them. Raises MalformedBody when the list itself has no end."""
    opening = _LIST.match(body)
    if opening is None:
        raise MalformedBody(message=str(error))
    start, depth, number = opening.end(), 0, 0
    for found in _STEP.finditer(body, start):
        mark = found.group()
        if mark in _OPEN:
            depth += 1
        elif mark == b"," and depth == 0:
            yield body[start : found.start()]
            start, number = found.end(), number + 1
            if number > MAX_ITEMS:
                return
        elif mark in _CLOSE:
            depth -= 1
            if depth < 0 and (mark != b"]" or body[found.end() :].strip() != b"}"):
                break  # what follows is not the end of the object
            if depth < 0:
                yield body[start : found.start()]
                return
    raise MalformedBody(message=str(error))
