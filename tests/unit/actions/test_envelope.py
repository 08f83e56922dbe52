"""What travels beside a payload comes out as it went in, and a plain payload is left alone."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zapd.actions.envelope import Opened, changed, opened, sealed

JSON = st.recursive(st.none() | st.integers(-(2**53), 2**53) | st.text(), lambda inner: st.lists(inner, max_size=3))


@given(JSON, st.text(max_size=20), st.none() | JSON)
def test_it_comes_out_as_it_went_in(payload: object, batch: str, previous: object) -> None:
    body, before = orjson.dumps(payload), None if previous is None else orjson.dumps(previous)
    assert opened(sealed(body, batch=batch, previous=before)) == Opened(body, batch, before)


def test_a_plain_payload_costs_nothing() -> None:
    assert sealed(b'{"a":1}') == b'{"a":1}'


@pytest.mark.parametrize("strange", [b"", b"\0", b"\0{}", b"\0[]\nx", b"\0\xff\n1", b"\xff"])
def test_whatever_it_is_it_opens(strange: bytes) -> None:
    assert isinstance(opened(strange).payload, bytes)


def test_another_payload_keeps_its_company() -> None:
    stored = sealed(b"1", batch="bat_1", previous=b"[2]")
    assert opened(changed(stored, b"3")) == Opened(b"3", "bat_1", b"[2]")
