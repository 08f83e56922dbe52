from dataclasses import replace

import orjson

from zapd.model.webhook import BodyFormat, Delivery, DeliveryState, Endpoint, Secret
from zapd.webhooks.request import body_for, headers_for
from zapd.webhooks.signature import new_secret, verify

NOW = 1_700_000_000_123
OLD, NEW = new_secret(lambda n: b"o" * n), new_secret(lambda n: b"n" * n)
ENVELOPE = (
    b'{"id":"evt_1","type":"message.sent","timestamp":"2023-11-14T22:13:20.123Z",'
    b'"connection_id":"con_1","data":{"a":1}}'
)
ENDPOINT = Endpoint(
    tenant="t",
    id="end_1",
    url="https://example.com",
    types=("*",),
    connection_id=None,
    format=BodyFormat.STANDARD,
    headers=(("X-Token", "s3cret"),),
    secrets=(Secret(value=NEW), Secret(value=OLD, expires_at=NOW + 1)),
    enabled=True,
    disabled_reason=None,
    created_at=NOW,
)
DELIVERY = Delivery(
    tenant="t",
    id="dlv_1",
    endpoint_id="end_1",
    event_id="evt_1",
    event_type="message.sent",
    connection_id="con_1",
    message_id=None,
    state=DeliveryState.PENDING,
    attempts=0,
    created_at=NOW,
)


def test_the_standard_body_is_the_stored_bytes() -> None:
    assert body_for(ENDPOINT, ENVELOPE) is ENVELOPE


def test_the_zaphub_body_is_what_existing_receivers_parse() -> None:
    assert orjson.loads(body_for(replace(ENDPOINT, format=BodyFormat.ZAPHUB), ENVELOPE)) == {
        "event": "message.sent",
        "sessionId": "con_1",
        "payload": {"a": 1},
        "timestamp": "2023-11-14T22:13:20.123Z",
    }


def test_the_headers_name_the_event_and_carry_the_users_own() -> None:
    headers = dict(headers_for(ENDPOINT, DELIVERY, ENVELOPE, now_ms=NOW))
    del headers["webhook-signature"]
    assert headers == {
        "webhook-id": "evt_1",
        "webhook-timestamp": "1700000000",
        "X-ZapHub-Event": "message.sent",
        "X-ZapHub-Session": "con_1",
        "X-Token": "s3cret",
    }


def test_an_event_without_a_connection_names_no_session() -> None:
    assert "X-ZapHub-Session" not in dict(
        headers_for(ENDPOINT, replace(DELIVERY, connection_id=None), ENVELOPE, now_ms=NOW)
    )


def test_every_live_secret_signs_and_an_expired_one_does_not() -> None:
    for now, old_signs in ((NOW, True), (NOW + 1, False)):
        headers = dict(headers_for(ENDPOINT, DELIVERY, ENVELOPE, now_ms=now))
        for secret, signs in ((NEW, True), (OLD, old_signs)):
            fits = verify(
                secrets=[secret],
                message_id="evt_1",
                timestamp=headers["webhook-timestamp"],
                signature=headers["webhook-signature"],
                body=ENVELOPE,
                now=now // 1000,
            )
            assert fits is signs
