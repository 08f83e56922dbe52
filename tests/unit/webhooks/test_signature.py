import base64
import json
import os
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from zapd.webhooks.signature import (
    TOLERANCE,
    check,
    key_of,
    new_private_key,
    new_secret,
    public_key_of,
    sign,
    verify,
)

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VECTOR: dict[str, Any] = {
    "message_id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "timestamp": 1614265330,
    "body": b'{"test": 2432232314}',
}
VECTOR_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

secrets = st.binary(min_size=24, max_size=64).map(lambda key: "whsec_" + base64.b64encode(key).decode())
message_ids = st.from_regex(r"evt_[0-9A-Z]{26}", fullmatch=True)


def test_signs_the_vector_of_the_specification() -> None:
    assert sign(secrets=[SECRET], **VECTOR) == VECTOR_SIGNATURE


@given(secret=secrets, message_id=message_ids, body=st.binary())
def test_what_is_signed_verifies_and_nothing_else_does(secret: str, message_id: str, body: bytes) -> None:
    signature = sign(secrets=[secret], message_id=message_id, timestamp=1000, body=body)
    given_headers: dict[str, Any] = {"message_id": message_id, "timestamp": "1000", "signature": signature, "now": 1000}
    assert verify(secrets=[secret], body=body, **given_headers)
    assert not verify(secrets=[secret], body=body + b" ", **given_headers)
    assert not verify(secrets=[secret], body=body, **{**given_headers, "timestamp": "1001"})
    assert not verify(secrets=[secret], body=body, **{**given_headers, "message_id": message_id + "x"})
    other = new_secret(lambda n: bytes([key_of(secret)[0] ^ 1]) * n)
    assert not verify(secrets=[other], body=body, **given_headers)


@given(secret=secrets, message_id=message_ids, data=st.dictionaries(st.text(), st.integers() | st.text()))
def test_the_reference_library_accepts_our_signatures_and_we_accept_its(
    secret: str, message_id: str, data: dict[str, Any]
) -> None:
    body = json.dumps(data).encode()
    now = datetime.now(tz=UTC).replace(microsecond=0)
    seconds = int(now.timestamp())
    ours = sign(secrets=[secret], message_id=message_id, timestamp=seconds, body=body)
    headers = {"webhook-id": message_id, "webhook-timestamp": str(seconds), "webhook-signature": ours}
    assert Webhook(secret).verify(body, headers) == data
    theirs = Webhook(secret).sign(message_id, now, body.decode())
    assert verify(
        secrets=[secret], message_id=message_id, timestamp=str(seconds), signature=theirs, body=body, now=seconds
    )


def test_during_a_rotation_holders_of_either_secret_verify() -> None:
    old, new = new_secret(lambda n: b"o" * n), new_secret(lambda n: b"n" * n)
    signature = sign(secrets=[new, old], **VECTOR)
    for held in (old, new):
        assert verify(
            secrets=[held], **{**VECTOR, "timestamp": "1614265330"}, signature=signature, now=VECTOR["timestamp"]
        )


@pytest.mark.parametrize(("age", "fresh"), [(0, True), (TOLERANCE, True), (TOLERANCE + 1, False), (-301, False)])
def test_the_timestamp_must_be_fresh(age: int, fresh: bool) -> None:
    timestamp = {**VECTOR, "timestamp": "1614265330"}
    now = VECTOR["timestamp"] + age
    assert verify(secrets=[SECRET], signature=VECTOR_SIGNATURE, now=now, **timestamp) is fresh


def test_unknown_kinds_of_entries_are_skipped() -> None:
    signature = f"v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5B v2 {VECTOR_SIGNATURE}"
    assert verify(
        secrets=[SECRET], **{**VECTOR, "timestamp": "1614265330"}, signature=signature, now=VECTOR["timestamp"]
    )


@given(message_id=st.text(), timestamp=st.text(), signature=st.text() | st.text().map("v1,".__add__), body=st.binary())
def test_a_strangers_headers_never_raise(message_id: str, timestamp: str, signature: str, body: bytes) -> None:
    for seconds in (timestamp, "1000"):
        assert not verify(
            secrets=[SECRET], message_id=message_id, timestamp=seconds, signature=signature, body=body, now=1000
        )


def test_a_new_secret_holds_32_random_bytes() -> None:
    assert key_of(new_secret(lambda n: b"\x07" * n)) == b"\x07" * 32


@pytest.mark.parametrize(
    "secret",
    [
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "v1,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_",
        "whsec_AAAA",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS",
        "whsec_é",
        "whsec_" + base64.b64encode(bytes(65)).decode(),
    ],
)
def test_a_malformed_secret_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="must"):
        key_of(secret)


PRIVATE_KEY = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="


def test_pain_23_the_vector_of_v1a() -> None:
    wanted = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
    assert sign(secrets=[PRIVATE_KEY], **VECTOR) == wanted


def test_pain_23_the_vector_of_v1_beside_v1a() -> None:
    both = sign(secrets=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", PRIVATE_KEY], **VECTOR)
    first, second = both.split(" ")
    assert first == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert second.startswith("v1a,")


def test_a_private_key_holds_its_public_half() -> None:
    private = new_private_key(os.urandom)
    assert public_key_of(private).startswith("whpk_")
    check(private)


@pytest.mark.parametrize("bad", ["whsk_", "whsk_AAAA", "whsk_" + "A" * 86 + "==", "whsk_é", "whsk_!!"])
def test_a_broken_private_key_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match=r"must"):
        check(bad)
