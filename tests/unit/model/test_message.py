"""A message moves along its table; receipts move it forward only, in whatever order they come."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zapd.model.message import RANK, RETRYABLE, SOURCES, TRANSITIONS, UNFINISHED, MessageStatus, receipt_from

S = MessageStatus
RECEIPTS = (S.SENT, S.DELIVERED, S.READ, S.PLAYED)

receipts = st.lists(st.sampled_from([*RECEIPTS, S.FAILED]), max_size=12)


def apply(status: MessageStatus, receipt: MessageStatus) -> MessageStatus:
    """What a compare-and-set along `receipt_from` does. The provider's `failed` is final: dlq."""
    if status not in receipt_from(receipt):
        return status
    return S.DLQ if receipt is S.FAILED else receipt


def reachable(start: MessageStatus) -> set[MessageStatus]:
    found, waiting = {start}, [start]
    while waiting:
        new = TRANSITIONS[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def test_every_state_has_a_row() -> None:
    assert set(TRANSITIONS) == set(RANK) == set(MessageStatus)


@pytest.mark.parametrize("to", MessageStatus)
def test_sources_are_the_table_read_backwards(to: MessageStatus) -> None:
    assert SOURCES[to] == {state for state in MessageStatus if to in TRANSITIONS[state]}


def test_a_queued_message_can_reach_every_outbound_state_but_those_of_receipts() -> None:
    assert reachable(S.QUEUED) == set(MessageStatus) - {S.DELIVERED, S.READ, S.PLAYED, S.RECEIVED}


@pytest.mark.parametrize("final", [S.SENT, S.DELIVERED, S.READ, S.PLAYED, S.CANCELED, S.RECEIVED])
def test_a_sender_cannot_take_back_what_has_left(final: MessageStatus) -> None:
    assert TRANSITIONS[final] == frozenset()


def test_nothing_is_sent_without_the_sending_mark() -> None:
    # `held` was marked before: its outcome is unknown, and a receipt may prove that it left.
    assert SOURCES[S.SENT] == {S.SENDING, S.HELD}
    assert SOURCES[S.SENDING] == {S.PROCESSING, S.SENDING}


@pytest.mark.parametrize("status", sorted(RETRYABLE))
def test_what_a_person_may_retry_can_be_queued_again(status: MessageStatus) -> None:
    assert S.QUEUED in TRANSITIONS[status]


@pytest.mark.parametrize("status", sorted(UNFINISHED))
def test_what_is_unfinished_can_end(status: MessageStatus) -> None:
    assert {S.SENT, S.DLQ} <= reachable(status)


@given(start=st.sampled_from(MessageStatus), incoming=receipts)
def test_the_rank_never_falls_once_delivered(start: MessageStatus, incoming: list[MessageStatus]) -> None:
    states = [start]
    for receipt in incoming:
        states.append(apply(states[-1], receipt))
    for before, after in pairwise(states):
        if RANK[before] >= RANK[S.DELIVERED]:
            assert RANK[after] >= RANK[before]


@given(incoming=st.lists(st.sampled_from(RECEIPTS), min_size=1, max_size=8), data=st.data())
def test_the_highest_receipt_wins_in_every_order(incoming: list[MessageStatus], data: st.DataObject) -> None:
    status = S.SENDING
    for receipt in data.draw(st.permutations(incoming)):
        status = apply(status, receipt)
    assert status is max(incoming, key=lambda receipt: RANK[receipt])


@given(incoming=receipts)
def test_a_receipt_that_comes_twice_changes_nothing(incoming: list[MessageStatus]) -> None:
    status = S.SENT
    for receipt in incoming:
        status = apply(status, receipt)
        assert apply(status, receipt) is status


@pytest.mark.parametrize("delivered", [S.DELIVERED, S.READ, S.PLAYED])
def test_a_failed_receipt_counts_only_below_delivered(delivered: MessageStatus) -> None:
    assert apply(S.SENT, S.FAILED) is S.DLQ
    assert apply(delivered, S.FAILED) is delivered
    assert apply(S.DLQ, delivered) is delivered  # another of the person's phones has it


@pytest.mark.parametrize("receipt", [*RECEIPTS, S.FAILED])
@pytest.mark.parametrize("closed", [S.CANCELED, S.RECEIVED])
def test_receipts_leave_canceled_and_inbound_messages_alone(closed: MessageStatus, receipt: MessageStatus) -> None:
    assert apply(closed, receipt) is closed


@pytest.mark.parametrize("receipt", RECEIPTS)
def test_a_receipt_settles_a_held_message(receipt: MessageStatus) -> None:
    assert apply(S.HELD, receipt) is receipt
