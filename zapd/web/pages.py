"""Cursor pagination: `?after=&limit=` in, `{"data": […], "next": …}` out. A cursor is the id of the last item seen."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from zapd.web import problems

T = TypeVar("T")
Q = TypeVar("Q", bound=BaseModel)


class Query(BaseModel):
    """The query string of a route. An unknown parameter is an error, a misspelt filter would show everything."""

    model_config = ConfigDict(extra="forbid", defer_build=True)


class PageQuery(Query):
    """Which page."""

    after: str | None = Field(default=None, description="the `next` of the page before")
    limit: int = Field(default=50, ge=1, le=1000)


def parsed_query(request: web.Request, model: type[Q]) -> Q:
    """The query string as `model`. An empty parameter counts as not given. Raises InvalidInput."""
    try:
        return model.model_validate({name: value for name, value in request.query.items() if value})
    except ValidationError as error:
        raise problems.of_validation(error) from None


def page(found: Sequence[T], limit: int, show: Callable[[T], Any], cursor: Callable[[T], str]) -> dict[str, Any]:
    """One page of `found`, which was read with a limit of `limit + 1`: the extra item says that more follow."""
    shown = found[:limit]
    following = cursor(shown[-1]) if len(found) > limit else None
    return {"data": [show(item) for item in shown], "next": following}
