"""Errors as RFC 9457 `application/problem+json`. What is inside an unexpected error is logged, never answered."""

import re
from collections.abc import Mapping
from http import HTTPStatus

import orjson
from aiohttp import web
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from zapd.errors import (
    Conflict,
    FieldError,
    Forbidden,
    InvalidInput,
    NotFound,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    ZapdError,
)

_NAMED = re.compile(r"`(\w+)`")
RETRY_UNAVAILABLE = "1"  #: seconds, the Retry-After of a 503


class MalformedBody(InvalidInput):
    """The body is not JSON."""


class PaceExceeded(TooManyRequests):
    """This key or address sends more than its rate."""

    def __init__(self, message: str | None = None, *, retry_after: float, limit: int, scope: str) -> None:
        super().__init__(message, retry_after=retry_after)
        self.limit = limit  #: requests that may come at once
        self.scope = scope  #: `key` or `ip`


#: The first class that fits gives the status; MalformedBody stands before its parent.
_STATUS: tuple[tuple[type[ZapdError], int], ...] = (
    (MalformedBody, 400),
    (InvalidInput, 422),
    (NotFound, 404),
    (Conflict, 409),
    (Unauthorized, 401),
    (Forbidden, 403),
    (TooManyRequests, 429),
    (Unavailable, 503),
)


def of_error(error: ZapdError) -> web.Response:
    """The answer to one of our own errors."""
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
    if status == 500:
        return problem(500)
    fields = error.fields if isinstance(error, InvalidInput) else ()
    detail = error.told if isinstance(error, Unavailable) else str(error)
    return problem(status, detail, fields=fields, headers=_headers(error))


def of_http(error: web.HTTPException) -> web.Response:
    """The answer to aiohttp's own refusals: no such route, wrong method, body over the limit."""
    allow = error.headers.get("Allow")
    return problem(error.status, headers={"Allow": allow} if allow else {})


def problem(
    status: int,
    detail: str | None = None,
    *,
    fields: tuple[FieldError, ...] = (),
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """A problem+json answer; `errors` names every invalid field with its rule."""
    body: dict[str, object] = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    if detail is not None:
        body["detail"] = detail
    if fields:
        body["errors"] = [{"field": field.field, "rule": field.rule} for field in fields]
    return web.Response(
        body=orjson.dumps(body), status=status, headers=headers, content_type="application/problem+json"
    )


def of_validation(error: ValidationError) -> InvalidInput:
    """What pydantic found, as our own error: 400 for what is not JSON, else one entry per field."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        return MalformedBody(message=found[0]["msg"])
    return InvalidInput(*map(_field_error, found))


def _field_error(item: ErrorDetails) -> FieldError:
    """A rule between fields stands at their model; it names the field that it asks for first, in backticks."""
    place, rule = [str(step) for step in item["loc"]], item["msg"]
    if item["type"] == "value_error":
        rule = rule.removeprefix("Value error, ")
        named = _NAMED.search(rule)
        if named and named[1] not in place[-1:]:
            place.append(named[1])
    return FieldError(".".join(place) or "body", rule)


def _headers(error: ZapdError) -> dict[str, str]:
    if isinstance(error, Unauthorized):
        return {"WWW-Authenticate": 'Bearer realm="zapd"'}
    if isinstance(error, Unavailable):
        return {"Retry-After": RETRY_UNAVAILABLE}
    if not isinstance(error, TooManyRequests):
        return {}
    seconds = str(max(1, -int(-error.retry_after // 1)))
    headers = {"Retry-After": seconds}
    if isinstance(error, PaceExceeded):
        headers |= {"RateLimit-Limit": str(error.limit), "RateLimit-Remaining": "0", "RateLimit-Reset": seconds}
    return headers
