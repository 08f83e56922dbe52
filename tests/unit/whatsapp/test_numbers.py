"""`to` in every spelling that callers use."""

import pytest

from zapd.errors import InvalidInput
from zapd.whatsapp.numbers import is_business_scoped, is_phone, recipient


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("5511999998888", "5511999998888"),
        ("+55 (11) 99999-8888", "5511999998888"),
        (" 5511999998888 ", "5511999998888"),
        ("+1 202-555-0123", "12025550123"),
        ("558499998888", "558499998888"),  # a Brazilian account from before the ninth digit
        ("5511999998888@s.whatsapp.net", "5511999998888"),
        ("5511999998888@c.us", "5511999998888"),
        ("5511999998888:22@S.WhatsApp.net", "5511999998888"),
        ("120363041234567890@g.us", "120363041234567890@g.us"),
        ("5511999998888-1600000000@g.us", "5511999998888-1600000000@g.us"),
        ("123456789012345@lid", "123456789012345@lid"),
        ("BR.1502576394655843", "BR.1502576394655843"),
    ],
)
def test_a_recipient_has_one_normal_form(written: str, normal: str) -> None:
    assert recipient(written) == normal


@pytest.mark.parametrize(
    "written",
    [
        *("11999998888", "(19) 99999-8888"),  # a Brazilian who forgot the country: not a number of America
        *("", "abc", "123", "+", "99999999999999", "55119999988889999999", "5511999998888x", "status@broadcast"),
        *(
            "x@s.whatsapp.net",
            "5511999998888@evil.example",
            "55-11@s.whatsapp.net",
            "5511999998888@",
            "@g.us",
            "１２３４５６７",
        ),
    ],
)
def test_a_wrong_recipient_is_refused_by_field_name(written: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        recipient(written)
    assert [field.field for field in refused.value.fields] == ["to"]


def test_the_field_name_can_be_another() -> None:
    with pytest.raises(InvalidInput) as refused:
        recipient("abc", field="from")
    assert refused.value.fields[0].field == "from"


def test_kinds_of_recipients_are_told_apart() -> None:
    assert is_phone("5511999998888")
    assert not is_phone("123456789012345@lid")
    assert is_business_scoped("BR.1502576394655843")
    assert not is_business_scoped("5511999998888")
