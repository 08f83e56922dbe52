from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from zapd.errors import InvalidInput
from zapd.web import bodies
from zapd.web.bodies import as_json, ms
from zapd.web.bodies.body import Body

SEND = {"to": "5511999998888", "type": "text", "payload": {"text": "x"}}


def wrong_fields(model: type[BaseModel], body: Any) -> set[str]:
    with pytest.raises(ValidationError) as raised:
        model.model_validate(body)
    return {".".join(map(str, error["loc"])) for error in raised.value.errors()}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"to": ""}, "to"),
        ({"to": 5511999998888}, "to"),
        ({"payload": "x"}, "payload"),
        ({"priority": 0}, "priority"),
        ({"priority": 11}, "priority"),
        ({"message_id": "a/b"}, "message_id"),
        ({"message_id": "x" * 65}, "message_id"),
        ({"send_at": "2026-01-01T10:00:00"}, "send_at"),  # without a zone nobody knows when that is
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"paylaod": {}}, "paylaod"),
    ],
)
def test_a_wrong_field_of_a_message_is_named(change: dict[str, Any], field: str) -> None:
    assert wrong_fields(bodies.SendMessage, {**SEND, **change}) == {field}


def test_every_wrong_field_is_named_at_once() -> None:
    assert wrong_fields(bodies.SendMessage, {"priority": 99}) == {"to", "type", "payload", "priority"}


def test_an_unknown_transport_is_named() -> None:
    assert wrong_fields(bodies.CreateConnection, {"label": "x", "transport": "carrier pigeon"}) == {"transport"}


def test_a_connections_own_settings_are_apart_from_the_common_ones() -> None:
    config = {"rate_per_minute": 30, "phone_number_id": "1"}
    body = bodies.CreateConnection.model_validate({"label": "x", "transport": "cloud", "config": config})
    assert (body.config.rate_per_minute, body.config.own) == (30, {"phone_number_id": "1"})


@pytest.mark.parametrize("scopes", [[], ["read", "everything"]])
def test_a_key_needs_known_scopes(scopes: list[str]) -> None:
    assert {field.partition(".")[0] for field in wrong_fields(bodies.CreateKey, {"label": "x", "scopes": scopes})} == {
        "scopes"
    }


def test_faults_may_come_as_a_bare_list() -> None:
    body = bodies.SandboxFaults.model_validate([{"kind": "answer_lost"}])
    assert [fault.kind for fault in body.faults] == ["answer_lost"]


@pytest.mark.parametrize("payload", [{"n": 2**70}, {"s": "\ud800"}])
def test_a_payload_that_json_cannot_hold_is_refused(payload: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="payload"):
        as_json(payload)


def test_times_are_milliseconds() -> None:
    assert ms(datetime(2026, 1, 1, tzinfo=UTC)) == 1_767_225_600_000
    assert ms(None) is None


@pytest.mark.parametrize("field", ["kind", "lane"])
@pytest.mark.parametrize("text", ["a|b", "a\nb", "a\x00b"])
def test_a_jobs_kind_and_lane_hold_nothing_that_parts_the_engines_header(field: str, text: str) -> None:
    assert wrong_fields(bodies.JobItem, {"payload": 1, field: text}) == {field}


def _models(above: type[Body] = Body) -> list[type[Body]]:
    return [model for below in above.__subclasses__() for model in (below, *_models(below))]


def _types(shape: dict[str, Any]) -> set[str]:
    return {kind for part in (shape, *shape.get("anyOf", [])) if (kind := part.get("type"))}


NUMBERS, TRUTHS = {"integer", "number"}, {"boolean"}
#: A duration may be text; what is true or false is one of the two words.
WRONG = [(NUMBERS, "5"), (NUMBERS, "1e3"), (NUMBERS, True), (TRUTHS, "true"), (TRUTHS, 1), ({"string"}, 5)]


@pytest.mark.parametrize(("types", "value"), WRONG)
def test_no_body_takes_a_value_of_another_type(types: set[str], value: object) -> None:
    """Also not where Pydantic would guess: a client that sends text for a number is wrong about more than that."""
    taken = set()
    assert {bodies.PostEvent, bodies.RunBacktest, bodies.RetryQuarantine} <= set(_models())
    for model in _models():
        for name, shape in model.model_json_schema()["properties"].items():
            either = "string" in _types(shape) and _types(shape) & NUMBERS
            if _types(shape) & types and not either:
                try:
                    model.model_validate_json(as_json({name: value}))
                    errors = []
                except ValidationError as error:
                    errors = error.errors()
                own = {str(error["loc"][0]) for error in errors if error["loc"]}
                if name not in own and (own or not errors):
                    taken.add((model.__name__, name))
    assert taken == set()


@pytest.mark.parametrize("value", [0, 1_790_000_000, 1.5, True])
def test_a_time_is_text(value: float) -> None:
    """Some mean seconds by a number and some milliseconds: run too early, a message cannot be called back."""
    assert wrong_fields(bodies.JobItem, {"payload": 1, "run_at": value}) == {"run_at"}
    assert wrong_fields(bodies.SendMessage, {**SEND, "send_at": value}) == {"send_at"}
    assert wrong_fields(bodies.RecoverEndpoint, {"since": value}) == {"since"}
    assert wrong_fields(bodies.PostEvent, {"type": "a.b", "data": 1, "occurred_at": value}) == {"occurred_at"}
