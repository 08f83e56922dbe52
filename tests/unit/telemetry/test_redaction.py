"""What looks like a phone number or a secret never reaches a log line; ids and times do."""

import pytest

from zapd.telemetry.redaction import MASK, redact, redacted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no session for 5511999998888", f"no session for {MASK}"),
        ("5511999998888@s.whatsapp.net is away", f"{MASK}@s.whatsapp.net is away"),
        ('{"to":"+5511999998888"}', f'{{"to":"{MASK}"}}'),
        ("call +55 (11) 99999-8888 now", f"call {MASK} now"),
        ("Authorization: Bearer abc.DEF-1", f"Authorization: Bearer {MASK}"),
        ("signed with whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD=", f"signed with whsec_{MASK}"),
        ("redis://zapd:pw@db:6379/0 refused", f"redis://{MASK}@db:6379/0 refused"),
        ("550 <ana.souza+x@mail.example.com> unknown", f"550 <{MASK}> unknown"),
        ("GET /x?hub.verify_token=abc&mode=s", f"GET /x?hub.verify_token={MASK}&mode=s"),
    ],
)
def test_masks_numbers_and_secrets(text: str, shown: str) -> None:
    assert redacted(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "msg_01J9Z3K5T8ABCDEFGHJK123456",
        "con_12345678AB",
        "127.0.0.1:8470",
        "2025-11-22T02:24:25.664032Z",
        "1750000000000-0",
        "0.123456789",
        "sent → delivered",
    ],
)
def test_keeps_ids_times_and_addresses(text: str) -> None:
    assert redacted(text) == text


def test_fields_with_a_telling_name_show_nothing() -> None:
    event = {
        "event": "x.y",
        "access_token": "a",
        "payload": {"text": "Olá"},
        "peer": 5511,
        "api-key": "k",
        "secret": None,
    }
    assert redact(None, "info", dict(event)) == {
        "event": "x.y",
        "access_token": MASK,
        "payload": MASK,
        "peer": MASK,
        "api-key": MASK,
        "secret": None,
    }


def test_looks_into_nested_values_and_objects() -> None:
    event = {
        "problems": ["to 5511999998888"],
        "where": {"app_secret": "s", "n": 3},
        "error": ValueError("5511999998888"),
    }
    assert redact(None, "info", dict(event)) == {
        "problems": [f"to {MASK}"],
        "where": {"app_secret": MASK, "n": 3},
        "error": MASK,
    }
