"""Cursor pagination: `?after=&limit=` in, `{"data": […], "next": …}` out. A cursor stands for the last item seen."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from zapd.errors import FieldError, InvalidInput
from zapd.ids import id_at, place_of, place_pattern
from zapd.web import problems

_NEXT = "the `next` of the page before"

T = TypeVar("T")
Q = TypeVar("Q", bound=BaseModel)


class _Named(Protocol):
    @property
    def id(self) -> str: ...


class Query(BaseModel):
    """The query string of a route."""

    model_config = ConfigDict(extra="forbid", defer_build=True)


class PageQuery(Query):
    """Which page."""

    after: str | None = Field(default=None, description=_NEXT)
    limit: int = Field(default=50, ge=1, le=1000)


def after_id(prefix: str) -> Any:
    """The field `after` of a list whose ids have this prefix."""
    return Field(default=None, pattern=place_pattern(prefix), description=_NEXT)


def by_id(prefix: str) -> Callable[[_Named], str]:
    """The cursors of such a list."""
    return lambda item: place_of(item.id, prefix)


class IdPage(PageQuery):
    """Which page of a list by id; each such list says with `after_id` what its cursors look like."""

    @field_validator("after", mode="wrap")
    @classmethod
    def _without_mark(cls, after: Any, check: Callable[[Any], str | None]) -> str | None:
        try:
            place = check(after)
        except ValidationError:
            raise PydanticCustomError("cursor", _NEXT) from None  # a pattern tells nobody what to do
        return None if place is None else id_at(place)


def known(request: web.Request, model: type[BaseModel] | None) -> None:
    """Refuse parameters that the route does not know: a misspelt filter would show everything. Raises InvalidInput."""
    allowed = {} if model is None else model.model_fields
    rule = f"no such parameter; there are {', '.join(allowed)}" if allowed else "this route takes no parameters"
    wrong = [FieldError(name, rule) for name in dict.fromkeys(request.query) if name not in allowed]
    twice = [name for name in allowed if len(request.query.getall(name, ())) > 1]
    if wrong or twice:
        raise InvalidInput(*wrong, *(FieldError(name, "came more than once") for name in twice))


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
