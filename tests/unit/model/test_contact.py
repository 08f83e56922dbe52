"""Both spellings of a Brazilian number, and the ids of a person."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zapd.model.contact import Alias, aliases_of_peer, candidates, match_key, with_match


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("5511987654321", ("5511987654321", "551187654321")),
        ("551187654321", ("5511987654321", "551187654321")),
        ("551133334444", ("551133334444",)),  # a landline has one form
        ("5511887654321", ("5511887654321",)),  # 13 digits, but the ninth is no 9
        ("14155550100", ("14155550100",)),
        ("120363@g.us", ("120363@g.us",)),
    ],
)
def test_a_brazilian_mobile_has_two_spellings(number: str, expected: tuple[str, ...]) -> None:
    assert candidates(number) == expected


@given(st.from_regex(r"55[1-9][1-9]9?[6-9][0-9]{7}", fullmatch=True))
def test_every_spelling_has_the_same_match_key_and_is_found_from_each(number: str) -> None:
    spellings = candidates(number)
    assert number in spellings
    assert {match_key(spelling) for spelling in spellings} == {match_key(number)}
    assert all(candidates(spelling) == spellings for spelling in spellings)


def test_an_address_says_what_kind_of_id_it_is() -> None:
    assert aliases_of_peer("5511987654321") == [Alias("phone", "5511987654321")]
    assert aliases_of_peer("8189@lid") == [Alias("lid", "8189@lid")]
    assert aliases_of_peer("BR.150257") == [Alias("bsuid", "BR.150257")]
    assert aliases_of_peer("120363@g.us") == []


def test_numbers_get_their_match_key_and_other_ids_none() -> None:
    both = [Alias("phone", "5511987654321"), Alias("wa_id", "551187654321"), Alias("lid", "1@lid")]
    assert with_match(both) == [*both, Alias("match", "551187654321")]
    assert match_key("8189@lid") is None
