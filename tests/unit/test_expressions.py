"""JMESPath with bounds."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zapd.expressions import MAX_LENGTH, BadExpression, Expression, ExpressionFailed, compiled

EVENT = {"type": "message.sent", "connection_id": "con_1", "data": {"to": "5511", "tags": ["a", "b"], "n": 3}}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("data.to", "5511"),
        ("data.tags[0]", "a"),
        ("{who: data.to, kind: type}", {"who": "5511", "kind": "message.sent"}),
        ("data.missing.deeper", None),
        ("join('-', data.tags)", "a-b"),
    ],
)
def test_it_finds(text: str, found: object) -> None:
    assert compiled(text).search(EVENT) == found


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("data.n > `2`", True),
        ("data.n > `3`", False),
        ("contains(data.tags, 'b')", True),
        ("data.missing", False),
        ("data.tags[?@ == 'z']", False),
        ("`0`", True),  # in JMESPath 0 is true
    ],
)
def test_it_holds(text: str, holds: bool) -> None:
    assert compiled(text).holds(EVENT) is holds


@pytest.mark.parametrize("text", ["", "  ", "data.", "nope(data)", "[?", "(" * 1500, "a" * (MAX_LENGTH + 1)])
def test_what_is_not_jmespath_is_refused_with_words(text: str) -> None:
    with pytest.raises(BadExpression, match=r"."):
        Expression(text)


def test_a_type_error_is_told() -> None:
    with pytest.raises(ExpressionFailed, match="length"):
        compiled("length(data.n)").search(EVENT)


@pytest.mark.parametrize(
    "text",
    [
        "|".join(["[@,@]"] * 200),  # doubles the result, by reference
        "|".join(["[@,@][]"] * 60),  # doubles a list in memory
        "|".join(["{a:@,b:@}"] * 100),
        "|".join(["join('',[@,@])"] * 60),
        "|".join(["[@,@][].[@,@][]"] * 40),
    ],
)
def test_what_grows_without_end_is_stopped(text: str) -> None:
    with pytest.raises(ExpressionFailed, match=r"more than|too deep"):
        compiled(text).search("x" * 100)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab.[]()|&@*?`'{}:,!<>= 0\"\\", max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    with suppress(BadExpression, ExpressionFailed):
        Expression(text).search(EVENT)
