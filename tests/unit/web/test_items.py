"""One wrong item of thousands is no fault of the others."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zapd.errors import InvalidInput
from zapd.web import items
from zapd.web.problems import MalformedBody

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(alphabet='a"\\,[]{}é', max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(alphabet='a"]', max_size=2), inner, max_size=3),
    max_leaves=8,
)


def deep(levels: int) -> str:
    return "[" * levels + "]" * levels


def rules(item: Any) -> list[str]:
    assert isinstance(item, InvalidInput)
    return [field.rule for field in item.fields]


def test_items_are_read() -> None:
    assert items.read(b'{"jobs": [{"payload": 1}, 2]}') == [{"payload": 1}, 2]


@given(st.lists(JSON, min_size=1, max_size=5))
def test_what_is_cut_into_items_is_what_was_sent(values: list[Any]) -> None:
    """A last item that no parser takes makes the body be cut; the others come out whole."""
    body = json.dumps({"jobs": [*values]})[:-2].encode() + b", {bad}]}"
    *found, last = items.read(body)
    assert found == values
    assert last is items.NOT_JSON


@pytest.mark.parametrize("levels", [1_100, 50_000])
def test_an_item_that_is_too_deep_for_a_parser_is_refused_alone(levels: int) -> None:
    body = f'{{"jobs": [{{"payload": {deep(levels)}}}, {{"payload": "ok"}}]}}'
    first, second = items.read(body.encode())
    assert first is items.TOO_DEEP
    assert second == {"payload": "ok"}


@pytest.mark.parametrize(
    "body",
    [b"{", b'{"jobs": [1, 2', b'{"jobs": [1]', b'{"jobs": [{]}]}', b"[NaN]", b'{"jobs": [NaN]} x', b'{"jobs": [NaN}}'],
)
def test_a_list_without_an_end_is_no_list(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        items.read(body)


@pytest.mark.parametrize(
    ("body", "field"),
    [(b"[]", "body"), (b"{}", "jobs"), (b'{"jobs": []}', "jobs"), (b'{"jobs": {}}', "jobs"), (b'{"jbs": [1]}', "jbs")],
)
def test_a_body_of_another_shape_is_refused(body: bytes, field: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        items.read(body)
    assert [error.field for error in raised.value.fields] == [field]


def test_ten_thousand_are_taken_and_one_more_is_not() -> None:
    assert len(items.read(orjson.dumps({"jobs": [1] * 10_000}))) == 10_000
    with pytest.raises(InvalidInput):
        items.read(orjson.dumps({"jobs": [1] * 10_001}))
    with pytest.raises(InvalidInput):
        items.read(b'{"jobs": [' + b"1," * 10_001 + b"NaN]}")


def test_a_payload_is_kept_to_its_limits() -> None:
    assert items.payload_of({"a": [1]}, 100) == b'{"a":[1]}'
    assert items.payload_of("[" * 500, 1000) == b'"' + b"[" * 500 + b'"'
    assert items.payload_of(json.loads(deep(items.MAX_DEPTH)), 1000)
    for levels in (items.MAX_DEPTH + 1, 300):
        with pytest.raises(InvalidInput, match="deeper"):
            items.payload_of(json.loads(deep(levels)), 10_000)
    with pytest.raises(InvalidInput, match="12 bytes; should be at most 11"):
        items.payload_of("x" * 10, 11)
    with pytest.raises(InvalidInput):
        items.payload_of(1 << 70, 100)
