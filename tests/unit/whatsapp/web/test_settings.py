"""What is checked before an account is made."""

import importlib.util
from typing import Any

import pytest

from zapd.errors import InvalidInput
from zapd.whatsapp.web.settings import WebConfig, check_config


def refused(config: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(InvalidInput) as problem:
        check_config(config)
    return {field.field: field.rule for field in problem.value.fields}


@pytest.mark.parametrize("phone", [None, "", "5511999998888", "+55 11 99999-8888"])
def test_a_phone_may_be_given_in_any_spelling(phone: str | None) -> None:
    check_config({"phone": phone})
    check_config({})


@pytest.mark.parametrize("phone", [7, "123", "abc", "120363000000000001@g.us", ["5511999998888"], True])
def test_what_is_no_phone_is_named(phone: object) -> None:
    assert list(refused({"phone": phone})) == ["config.phone"]


def test_it_is_kept_as_digits() -> None:
    assert WebConfig.read(b'{"phone":"+55 11 99999-8888"}').phone == "5511999998888"
    assert WebConfig.read(b"").phone is None


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    problem = refused({})
    assert list(problem) == ["transport"]
    assert "pip install 'zapd[web]'" in problem["transport"]
