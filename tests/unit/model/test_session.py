"""A session moves along its table and can always be closed."""

from itertools import pairwise

import pytest

from zapd.model.session import SOURCES, TRANSITIONS, SessionState, key_of

T = SessionState


def test_every_state_has_a_row() -> None:
    assert set(TRANSITIONS) == set(SessionState)


@pytest.mark.parametrize("to", SessionState)
def test_sources_are_the_table_read_backwards(to: SessionState) -> None:
    assert SOURCES[to] == {state for state in SessionState if to in TRANSITIONS[state]}


@pytest.mark.parametrize("state", sorted(set(SessionState) - {T.CLOSING, T.CLOSED}))
def test_every_open_session_can_be_closed(state: SessionState) -> None:
    assert T.CLOSING in TRANSITIONS[state]


def test_only_closing_leads_to_closed() -> None:
    assert SOURCES[T.CLOSED] == {T.CLOSING}


@pytest.mark.parametrize("state", [T.PAUSED, T.CLIENT_OUTDATED, T.LOGGED_OUT, T.BANNED, T.CLOSED, T.FAILED])
def test_a_stopped_session_can_be_started_again(state: SessionState) -> None:
    assert T.STARTING in TRANSITIONS[state]


def test_the_way_of_a_new_session() -> None:
    way = [T.CREATED, T.STARTING, T.QR_PENDING, T.CONNECTED, T.RECONNECTING, T.CONNECTED, T.CLOSING, T.CLOSED]
    for before, after in pairwise(way):
        assert after in TRANSITIONS[before]


def test_a_session_has_one_name_among_all_tenants() -> None:
    assert key_of("default", "con_1") == "con_1"
    assert key_of("acme", "con_1") == "acme/con_1"
