"""What a person reads of a message, and how a number is written."""

from dataclasses import replace

import pytest

from tests.support.store import message
from zapd.model.message import Direction, MessageStatus
from zapd.web.dashboard.render import excerpt, fingerprint, phone, rendered, ticks
from zapd.web.dashboard.words import translator


@pytest.mark.parametrize(
    ("type_", "payload", "read"),
    [
        ("text", b'{"text":"Ol\xc3\xa1"}', "Olá"),
        ("image", b'{"caption":"our shop"}', "[image] our shop"),
        ("sticker", b"{}", "[sticker]"),
        ("unknown", b"not json", "[unknown]"),
        ("contacts", b'[{"name":"x"}]', "[contacts]"),
    ],
)
def test_a_message_is_told_in_words(type_: str, payload: bytes, read: str) -> None:
    assert excerpt(replace(message("msg_1"), type=type_, payload=payload), translator("en")) == read


@pytest.mark.parametrize(
    ("peer", "written"),
    [("5511999998888", "+55 11 99999-8888"), ("123@g.us", "123@g.us"), ("1", "1"), ("", "")],
)
def test_a_number_is_written_as_people_do(peer: str, written: str) -> None:
    assert phone(peer) == written


def test_only_outbound_messages_have_ticks() -> None:
    read = replace(message("msg_1"), status=MessageStatus.READ)
    assert ticks(read) == "✓✓"
    assert ticks(replace(read, direction=Direction.INBOUND)) == ""


def test_a_code_has_another_fingerprint_when_it_changes() -> None:
    assert fingerprint("1@a") != fingerprint("1@b")


def test_markup_in_a_message_stays_text() -> None:
    evil = replace(message("msg_1"), payload=b'{"text":"<script>alert(1)</script>"}')
    text = rendered("regions/thread.html", "en", {"messages": [evil], "files": set(), "more": None})
    assert "&lt;script&gt;" in text
    assert "<script>" not in text


def test_a_kind_is_told_in_the_readers_language() -> None:
    photo = replace(message("msg_1"), type="image", payload=b'{"caption":"na praia"}')
    assert excerpt(photo, translator("pt-BR")) == "[imagem] na praia"
