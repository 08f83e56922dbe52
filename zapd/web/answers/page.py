"""What all answers have in common."""

from collections.abc import Mapping
from typing import Annotated, Any, Generic, TypeVar

import orjson
from aiohttp import web
from pydantic import Field
from typing_extensions import TypedDict  # pydantic needs this one below Python 3.12

from zapd.announce import iso

T = TypeVar("T")
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Json = Annotated[Any, Field(description="JSON as it was accepted")]


class Page(TypedDict, Generic[T]):
    """One page of a list. `next` is the `after` of the following page, null on the last one."""

    data: list[T]
    next: str | None


def answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A JSON answer."""
    return web.Response(body=orjson.dumps(body), status=status, headers=headers, content_type="application/json")


def at(ms: int | None) -> Time | None:
    """A stored time, or null for one that was not reached."""
    return iso(ms) if ms else None
