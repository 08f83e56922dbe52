"""JMESPath in the rules of the hub, and types of events made of what a call says. `zapd/expressions.py` bounds it."""

import re
from typing import Any

from zapd import expressions
from zapd.config.hub import EVENT_TYPE, MAX_TYPE
from zapd.errors import ZapdError

_HOLE = re.compile(r"\{([^{}]*)\}")
_NOT_IN_A_WORD = re.compile(r"[^a-zA-Z0-9_-]+", re.ASCII)


class BadExpression(ZapdError):
    """The expression is wrong, or cannot be applied to this. The text says why."""


def check(text: str) -> None:
    """Raises BadExpression naming what is wrong with an expression."""
    _compiled(text)


def search(text: str, value: Any) -> Any:
    """What the expression finds in JSON. Raises BadExpression."""
    expression = _compiled(text)
    try:
        return expression.search(value)
    except expressions.ExpressionFailed as error:
        raise BadExpression(str(error)) from None


def holds(text: str, value: Any) -> bool:
    """Whether a condition is true, by JMESPath's own rule: false, null and what is empty are not."""
    expression = _compiled(text)
    try:
        return expression.holds(value)
    except expressions.ExpressionFailed as error:
        raise BadExpression(str(error)) from None


def event_type(text: str, value: Any) -> str:
    """The type that a text such as `order.{body.status}` gives. Raises BadExpression when it gives none."""
    filled = _HOLE.sub(lambda hole: _word(search(hole[1], value)), text)
    words = [_NOT_IN_A_WORD.sub("_", word).strip("_") for word in filled.replace("/", ".").split(".")]
    found = ".".join(word for word in words if word)
    if not found or len(found) > MAX_TYPE or not EVENT_TYPE.fullmatch(found):
        raise BadExpression("gives no type of event")
    return found


def check_event_type(text: str) -> None:
    """Raises BadExpression when a text cannot give a type."""
    for hole in _HOLE.findall(text):
        check(hole)
    rest = _HOLE.sub("x", text)
    if "{" in rest or "}" in rest or not EVENT_TYPE.fullmatch(rest.replace("/", ".")):
        raise BadExpression("should be such as `order.paid` or `order.{body.status}`")


def _compiled(text: str) -> expressions.Expression:
    try:
        return expressions.compiled(text)
    except expressions.BadExpression as error:
        raise BadExpression(f"is not JMESPath: {error}") from None


def _word(found: Any) -> str:
    return found if isinstance(found, str) else str(found) if isinstance(found, int) else ""
