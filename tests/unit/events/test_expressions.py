"""JMESPath in the hub's rules, and types of events made of bodies."""

import pytest

from zapd.events.expressions import BadExpression, check, check_event_type, event_type, holds, search


def test_a_wrong_expression_is_named() -> None:
    with pytest.raises(BadExpression, match="is not JMESPath"):
        check("a[")


def test_a_function_that_cannot_take_the_value_says_so() -> None:
    with pytest.raises(BadExpression, match="length"):
        search("length(@)", 5)


@pytest.mark.parametrize(
    ("condition", "value", "true"),
    [("a > `1`", {"a": 2}, True), ("a", {"a": 0}, True), ("a", {"a": ""}, False), ("a", {}, False), ("!a", {}, True)],
)
def test_a_condition_is_true_by_the_rule_of_jmespath(condition: str, value: object, true: bool) -> None:
    assert holds(condition, value) is true


@pytest.mark.parametrize(
    ("text", "body", "made"),
    [
        ("order.paid", {}, "order.paid"),
        ("shopify.{body.topic}", {"topic": "orders/create"}, "shopify.orders.create"),
        ("github.{body.event}.{body.action}", {"event": "ping"}, "github.ping"),
        ("x.{body.a}", {"a": "Olá você\x00"}, "x.Ol_voc"),
    ],
)
def test_a_type_is_made_of_the_body(text: str, body: object, made: str) -> None:
    assert event_type(text, {"body": body}).startswith(made)


@pytest.mark.parametrize("text", ["{body.missing}", "{body.long}"])
def test_a_body_that_gives_no_type_is_refused(text: str) -> None:
    with pytest.raises(BadExpression, match="no type"):
        event_type(text, {"body": {"long": "x" * 200}})


@pytest.mark.parametrize("text", ["a b", "a.{b", "a..b", "{[}"])
def test_a_text_that_can_give_no_type_is_refused_when_it_is_defined(text: str) -> None:
    with pytest.raises(BadExpression):
        check_event_type(text)
