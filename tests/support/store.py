"""Values to store: whole, valid, and different only in what a test names."""

from dataclasses import replace
from typing import Any

from zapd.model.media import Media, MediaState
from zapd.model.message import Direction, Message, MessageStatus
from zapd.model.session import Connection, Desired, OnAmbiguous, SessionState, TransportName
from zapd.model.webhook import (
    Attempt,
    BodyFormat,
    Category,
    Delivery,
    DeliveryState,
    Endpoint,
    Event,
    Owner,
    Secret,
    Severity,
)
from zapd.store.outbox import OutboxRow

TENANT = "default"
NOW = 1_750_000_000_000


def message(id: str = "msg_1", **changes: Any) -> Message:
    return replace(
        Message(
            tenant=TENANT,
            id=id,
            connection_id="con_1",
            direction=Direction.OUTBOUND,
            status=MessageStatus.QUEUED,
            peer="5511999998888",
            type="text",
            payload=b'{"text":"Ol\xc3\xa1"}',
            priority=5,
            created_at=NOW,
            job_id="job_1",
        ),
        **changes,
    )


def a_file(id: str = "med_1", **changes: Any) -> Media:
    given: dict[str, Any] = {
        "tenant": TENANT,
        "id": id,
        "state": MediaState.READY,
        "mime": "image/jpeg",
        "size": 3,
        "sha256": "ab" * 32,
        "created_at": NOW,
        "kept_from": NOW,
    }
    return Media(**(given | changes))


def event(id: str = "evt_1", **changes: Any) -> Event:
    return replace(
        Event(
            tenant=TENANT,
            id=id,
            type="message.sent",
            category=Category.STATE,
            severity=Severity.INFO,
            connection_id="con_1",
            message_id="msg_1",
            payload=b'{"id":"evt_1", "data": {}}',
            created_at=NOW,
        ),
        **changes,
    )


def connection(id: str = "con_1", **changes: Any) -> Connection:
    return replace(
        Connection(
            tenant=TENANT,
            id=id,
            transport=TransportName.CLOUD,
            label="demo",
            desired=Desired.CONNECTED,
            state=SessionState.CREATED,
            reason=None,
            since=NOW,
            config=b'{"access_token":"EAAG-secret"}',
            on_ambiguous=OnAmbiguous.VERIFY,
            rate_per_minute=None,
            created_at=NOW,
        ),
        **changes,
    )


def endpoint(id: str = "end_1", **changes: Any) -> Endpoint:
    return replace(
        Endpoint(
            tenant=TENANT,
            id=id,
            url="https://example.com/hook",
            types=("message.*", "connection.state"),
            connection_id=None,
            format=BodyFormat.STANDARD,
            headers=(("X-Shop", "42"),),
            secrets=(Secret(value="whsec_bmV3"), Secret(value="whsec_b2xk", expires_at=NOW)),
            enabled=True,
            disabled_reason=None,
            created_at=NOW,
        ),
        **changes,
    )


def delivery(id: str = "dlv_1", **changes: Any) -> Delivery:
    return replace(
        Delivery(
            tenant=TENANT,
            id=id,
            endpoint_id="end_1",
            event_id="evt_1",
            event_type="message.sent",
            connection_id="con_1",
            message_id="msg_1",
            state=DeliveryState.PENDING,
            attempts=0,
            created_at=NOW,
        ),
        **changes,
    )


def attempt(number: int = 1, **changes: Any) -> Attempt:
    return replace(
        Attempt(
            tenant=TENANT,
            delivery_id="dlv_1",
            number=number,
            started_at=NOW,
            duration_ms=12,
            phases={"dns": 1.5, "connect": 2.0},
            status=500,
            response=b"\xff\x00 oops",
            failure="server_error",
            owner=Owner.THEIRS,
            error="500 Internal Server Error",
        ),
        **changes,
    )


def outbox_row(id: str = "job_1", **changes: Any) -> OutboxRow:
    return replace(
        OutboxRow(
            tenant=TENANT,
            id=id,
            queue="message:send",
            kind="",
            lane="con_1",
            priority=5,
            due_at=0,
            payload=b'{"message_id":"msg_1"}',
            created_at=NOW,
        ),
        **changes,
    )
