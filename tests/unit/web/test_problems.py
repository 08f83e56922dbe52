import orjson
import pytest
from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from zapd.config.hub import SourceSpec
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
from zapd.web import problems
from zapd.web.problems import MalformedBody, PaceExceeded


def body_of(response: web.Response) -> dict[str, object]:
    assert response.content_type == "application/problem+json"
    assert isinstance(response.body, bytes)
    shown: dict[str, object] = orjson.loads(response.body)
    return shown


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MalformedBody(message="not JSON"), 400),
        (Unauthorized(), 401),
        (Forbidden(), 403),
        (NotFound(), 404),
        (Conflict(), 409),
        (InvalidInput(FieldError("to", "must be a number")), 422),
        (TooManyRequests(retry_after=2), 429),
        (Unavailable(), 503),
        (ZapdError("something inside"), 500),
    ],
)
def test_each_error_has_its_status(error: ZapdError, status: int) -> None:
    response = problems.of_error(error)
    assert (response.status, body_of(response)["status"]) == (status, status)


def test_every_invalid_field_is_named_with_its_rule() -> None:
    response = problems.of_error(InvalidInput(FieldError("to", "a"), FieldError("payload.text", "b")))
    assert body_of(response)["errors"] == [{"field": "to", "rule": "a"}, {"field": "payload.text", "rule": "b"}]


def test_an_unknown_error_shows_nothing_of_its_inside() -> None:
    assert "inside" not in str(body_of(problems.of_error(ZapdError("something inside"))))


def test_a_401_says_how_to_authenticate() -> None:
    assert problems.of_error(Unauthorized()).headers["WWW-Authenticate"].startswith("Bearer")


def test_a_429_says_when_to_come_back() -> None:
    response = problems.of_error(PaceExceeded(retry_after=1.2, limit=20, scope="key"))
    assert response.headers["Retry-After"] == "2"
    assert response.headers["RateLimit-Limit"] == "20"
    assert response.headers["RateLimit-Remaining"] == "0"
    assert response.headers["RateLimit-Reset"] == "2"


def test_a_503_says_when_to_come_back() -> None:
    assert problems.of_error(Unavailable()).headers["Retry-After"] == "1"


def test_a_wrong_method_keeps_what_is_allowed() -> None:
    response = problems.of_http(web.HTTPMethodNotAllowed("PUT", ["GET", "POST"]))
    assert (response.status, response.headers["Allow"]) == (405, "GET,POST")


class _Inner(BaseModel):
    text: str


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid")

    items: list[_Inner]


def error_of(raw: bytes) -> InvalidInput:
    with pytest.raises(ValidationError) as raised:
        _Model.model_validate_json(raw)
    return problems.of_validation(raised.value)


def test_what_is_not_json_is_another_error_than_a_wrong_field() -> None:
    assert isinstance(error_of(b"{not"), MalformedBody)


def test_fields_are_named_by_their_dotted_path() -> None:
    error = error_of(b'{"items": [{"text": "a"}, {"text": 1}], "more": 1}')
    assert {field.field for field in error.fields} == {"items.1.text", "more"}


def test_a_body_of_the_wrong_kind_is_named_body() -> None:
    assert [field.field for field in error_of(b"[]").fields] == ["body"]


def test_a_rule_between_fields_names_the_field_that_it_asks_for() -> None:
    with pytest.raises(ValidationError) as wrong:
        SourceSpec.model_validate({"verify": "hmac", "secret": "s"})
    (field,) = problems.of_validation(wrong.value).fields
    assert (field.field, field.rule) == ("header", "`header` is needed for hmac")
