"""What a message may carry."""

import pytest

from zapd.errors import InvalidInput
from zapd.whatsapp.content import validate

BOTH = frozenset({"text", "template"})


def refused(type_: str, payload: object, capabilities: frozenset[str] = BOTH) -> dict[str, str]:
    with pytest.raises(InvalidInput) as error:
        validate(type_, payload, capabilities)
    return {field.field: field.rule for field in error.value.fields}


@pytest.mark.parametrize(
    ("type_", "payload"),
    [
        ("text", {"text": "Olá"}),
        ("text", {"text": "see https://example.org", "preview_url": True}),
        ("template", {"name": "order_ok", "language": "pt_BR"}),
        ("template", {"name": "order_ok", "language": "en", "components": [{"type": "body", "parameters": []}]}),
    ],
)
def test_good_payloads_pass(type_: str, payload: object) -> None:
    validate(type_, payload, BOTH)


@pytest.mark.parametrize(
    ("type_", "payload", "field"),
    [
        ("text", {}, "payload.text"),
        ("text", {"text": ""}, "payload.text"),
        ("text", {"text": "  \n"}, "payload.text"),
        ("text", {"text": 5}, "payload.text"),
        ("text", {"text": "x" * 4097}, "payload.text"),
        ("text", {"text": "x", "txet": "y"}, "payload.txet"),
        ("text", ["x"], "payload"),
        ("text", None, "payload"),
        ("template", {"name": "Order OK", "language": "pt_BR"}, "payload.name"),
        ("template", {"name": "order_ok"}, "payload.language"),
        ("template", {"name": "order_ok", "language": "pt_BR", "components": [1]}, "payload.components.0"),
    ],
)
def test_a_wrong_payload_names_its_field(type_: str, payload: object, field: str) -> None:
    assert field in refused(type_, payload)


def test_every_wrong_field_is_named_at_once() -> None:
    assert set(refused("template", {})) == {"payload.name", "payload.language"}


def test_a_blank_text_is_explained_without_a_pattern() -> None:
    assert refused("text", {"text": " "}) == {"payload.text": "must not be blank"}


@pytest.mark.parametrize("type_", ["poll", "template"])
def test_a_type_that_cannot_be_sent_names_those_that_can(type_: str) -> None:
    assert refused(type_, {"text": "x"}, frozenset({"text"})) == {"type": "this connection can send: text"}
