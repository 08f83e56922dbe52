"""Verification: each preset takes what its provider signs, and refuses everything else with the name of the check."""

import base64
import hashlib
import hmac
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook

from zapd.config.hub import SourceSpec
from zapd.events.call import Call, Rejected, redacted
from zapd.events.verify import PRESETS, UNSIGNED, verify

NOW = 1_750_000_000
BODY = '{"id":"evt_9",  "name":"Olá"}'.encode()
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def call(headers: dict[str, str], raw: bytes = BODY, **query: str) -> Call:
    given = tuple((name.lower(), value) for name, value in headers.items())
    return Call(headers=given, query=query, raw=raw, remote="192.0.2.1")


def spec(verify: str, secret: str = "k1", **more: Any) -> SourceSpec:
    return SourceSpec.model_validate({"verify": verify, "secret": secret, **more})


def mac(key: str, signed: bytes = BODY, algorithm: str = "sha256") -> str:
    return hmac.new(key.encode(), signed, algorithm).hexdigest()


def mac64(key: str, signed: bytes = BODY) -> str:
    return base64.b64encode(hmac.new(key.encode(), signed, hashlib.sha256).digest()).decode()


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def standard(raw: bytes = BODY, at: int = NOW) -> dict[str, str]:
    from datetime import UTC, datetime

    signature = Webhook(SECRET).sign("msg_1", datetime.fromtimestamp(at, UTC), raw.decode())
    return {"webhook-id": "msg_1", "webhook-timestamp": str(at), "webhook-signature": signature}


GENERIC = spec(
    "hmac",
    header="X-Sig",
    algorithm="sha512",
    encoding="hex",
    prefix="v0=",
    timestamp_header="X-Time",
    signed="v0:{timestamp}:{body}",
)
GENERIC_MAC = "v0=" + mac("k1", b"v0:%d:" % NOW + BODY, "sha512")
KEY = spec("api-key", header="X-Key")
GOOD = [
    pytest.param(spec("github"), {"X-Hub-Signature-256": "sha256=" + mac("k1")}, id="github"),
    pytest.param(spec("meta"), {"X-Hub-Signature-256": "sha256=" + mac("k1")}, id="meta"),
    pytest.param(
        spec("stripe"), {"Stripe-Signature": f"t={NOW},v1=00,v1={mac('k1', b'%d.' % NOW + BODY)}"}, id="stripe, 2nd v1"
    ),
    pytest.param(spec("shopify"), {"X-Shopify-Hmac-SHA256": mac64("k1")}, id="shopify"),
    pytest.param(spec("standard-webhooks", SECRET), standard(), id="standard"),
    pytest.param(GENERIC, {"X-Sig": GENERIC_MAC, "X-Time": str(NOW)}, id="hmac"),
    pytest.param(KEY, {"X-Key": "k1"}, id="api-key"),
    pytest.param(spec("api-key"), {"X-Api-Key": "k1"}, id="api-key, header by default"),
    pytest.param(spec("basic", username="ana"), {"Authorization": basic("ana", "k1")}, id="basic"),
    pytest.param(spec("zapi"), {"z-api-token": "k1"}, id="zapi"),
]


@pytest.mark.parametrize(("source", "headers"), GOOD)
def test_what_the_provider_signs_is_taken(source: SourceSpec, headers: dict[str, str]) -> None:
    verify(source, call(headers), NOW)


@pytest.mark.parametrize(("source", "headers"), GOOD)
def test_another_secret_a_missing_header_and_a_doubled_one_are_refused(
    source: SourceSpec, headers: dict[str, str]
) -> None:
    other = source.model_copy(update={"secret": "whsec_" + base64.b64encode(bytes(24)).decode()})
    name = next(iter(headers))
    doubled = Call((*call(headers).headers, (name.lower(), "x")), {}, BODY, "")
    for judged, made in ((other, call(headers)), (source, call({})), (source, doubled)):
        with pytest.raises(Rejected) as caught:
            verify(judged, made, NOW)
        assert caught.value.check in ("signature", "timestamp", "api-key", "token", "basic", "headers")
        assert "k1" not in str(caught.value)


@pytest.mark.parametrize(("source", "headers"), [p for p in GOOD if str(p.id).partition(",")[0] not in UNSIGNED])
def test_another_body_is_refused(source: SourceSpec, headers: dict[str, str]) -> None:
    with pytest.raises(Rejected, match="does not fit"):
        verify(source, call(headers, BODY.replace(b"  ", b" ")), NOW)


@pytest.mark.parametrize(("source", "headers"), [p for p in GOOD if "2nd" in str(p.id) or p.id in ("standard", "hmac")])
@pytest.mark.parametrize("late", [301, -301])
def test_an_old_or_future_signature_is_refused_by_its_time(
    source: SourceSpec, headers: dict[str, str], late: int
) -> None:
    with pytest.raises(Rejected) as caught:
        verify(source, call(headers), NOW + late)
    assert caught.value.check == "timestamp"


def test_either_of_two_secrets_fits_while_one_is_rolled() -> None:
    both = spec("github", "new", secrets=["k1"])
    verify(both, call({"X-Hub-Signature-256": "sha256=" + mac("k1")}), NOW)
    verify(both, call({"X-Hub-Signature-256": "sha256=" + mac("new")}), NOW)


def test_an_ed25519_signature_fits_its_public_key() -> None:
    private = Ed25519PrivateKey.generate()
    public = "whpk_" + base64.b64encode(private.public_key().public_bytes_raw()).decode()
    made = base64.b64encode(private.sign(b"m1.%d." % NOW + BODY)).decode()
    headers = {"webhook-id": "m1", "webhook-timestamp": str(NOW), "webhook-signature": f"v1,x v1a,bad v1a,{made}"}
    verify(spec("standard-webhooks", public), call(headers), NOW)
    with pytest.raises(Rejected):
        verify(spec("standard-webhooks", public), call(headers, b"other"), NOW)


def test_z_api_may_show_its_token_in_the_url() -> None:
    verify(spec("zapi"), call({}, token="k1"), NOW)
    with pytest.raises(Rejected):
        verify(spec("zapi"), call({}, token="k2"), NOW)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(PRESETS)), st.text(max_size=80), st.text(max_size=20), st.binary(max_size=50))
def test_no_header_of_a_stranger_breaks_it(preset: str, value: str, time: str, raw: bytes) -> None:
    secret = SECRET if preset == "standard-webhooks" else "k1"
    source = spec(preset, secret, username="u", header="X-Sig", timestamp_header="X-Time")
    names = (
        *("X-Hub-Signature-256", "Stripe-Signature", "X-Shopify-Hmac-SHA256", "webhook-signature", "webhook-id"),
        *("X-Sig", "Authorization", "z-api-token"),
    )
    headers = {**dict.fromkeys(names, value), "X-Time": time, "webhook-timestamp": time}
    for sent in (headers, {**headers, "Authorization": f"Basic {value}", "Stripe-Signature": f"t={time},v1={value}"}):
        with pytest.raises(Rejected):
            verify(source, call(sent, raw), NOW)


# --- bodies


@pytest.mark.parametrize(
    ("raw", "kind", "check"),
    [
        (b"{", "application/json", "json"),
        (b'{"a":"\xff"}', "application/json", "json"),
        (b'{"a":"\x00"}', "application/json", "json"),
        (b"[" * 500 + b"]" * 500, "application/json", "json"),
        (b"[" * 200_000, "application/json", "json"),
        (b"<a/>", "application/xml", "content-type"),
        (b"a=%ff", "application/x-www-form-urlencoded", None),
        (b"&".join(b"a%d=1" % i for i in range(1001)), "application/x-www-form-urlencoded", "form"),
        (b"NaN", "application/json", "json"),
    ],
)
def test_a_body_that_cannot_be_read_is_refused_by_name(raw: bytes, kind: str, check: str | None) -> None:
    made = call({"Content-Type": kind}, raw)
    if check is None:
        assert made.body
        return
    with pytest.raises(Rejected) as caught:
        _ = made.body
    assert caught.value.check == check


def test_a_form_is_an_object_and_json_may_have_a_kind_of_its_own() -> None:
    assert call({"Content-Type": "application/x-www-form-urlencoded"}, b"a=1&b=ol%C3%A1").body == {"a": "1", "b": "olá"}
    assert call({"Content-Type": "application/cloudevents+json; charset=utf-8"}, b'{"a":1}').body == {"a": 1}


def test_headers_are_shown_without_what_is_secret() -> None:
    shown = redacted((("x-hub-signature-256", "sha256=ab"), ("x-mine", "s3"), ("user-agent", "x")), "X-Mine")
    assert "ab" not in shown
    assert "s3" not in shown
    assert '"user-agent": "x"' in shown
