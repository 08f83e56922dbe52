"""Deliveries move along their table; type patterns choose what an endpoint gets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zapd.model.webhook import SOURCES, TRANSITIONS, DeliveryState, wants

D = DeliveryState

names = st.lists(st.from_regex(r"[a-z]{1,5}", fullmatch=True), min_size=1, max_size=3).map(".".join)


def test_every_state_has_a_row() -> None:
    assert set(TRANSITIONS) == set(DeliveryState)


@pytest.mark.parametrize("to", DeliveryState)
def test_sources_are_the_table_read_backwards(to: DeliveryState) -> None:
    assert SOURCES[to] == {state for state in DeliveryState if to in TRANSITIONS[state]}


@pytest.mark.parametrize("final", [D.DELIVERED, D.DEAD, D.CANCELED])
def test_a_finished_delivery_only_starts_again(final: DeliveryState) -> None:
    assert TRANSITIONS[final] == {D.PENDING}


@pytest.mark.parametrize("going", [D.PENDING, D.RETRYING])
def test_a_delivery_on_its_way_can_end_in_each_way(going: DeliveryState) -> None:
    assert {D.DELIVERED, D.DEAD, D.CANCELED} <= TRANSITIONS[going]


@pytest.mark.parametrize(
    ("types", "event_type", "taken"),
    [
        (("*",), "message.sent", True),
        (("message.*",), "message.sent", True),
        (("message.*",), "message.sent.twice", True),
        (("message.*",), "messages.sent", False),
        (("message.*",), "message", False),
        (("message.sent",), "message.sent", True),
        (("message.sent",), "message.sent.twice", False),
        (("connection.qr", "message.read"), "message.read", True),
        ((), "message.read", False),
    ],
)
def test_patterns(types: tuple[str, ...], event_type: str, taken: bool) -> None:
    assert wants(types, event_type) is taken


@given(name=names)
def test_an_endpoint_for_everything_and_one_for_the_name_itself_both_want_it(name: str) -> None:
    assert wants(("*",), name)
    assert wants((name,), name)
    assert wants((f"{name}.*",), f"{name}.x")
