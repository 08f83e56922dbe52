"""What one attempt sends: the body in the endpoint's format, and the signed headers. Pure."""

from collections.abc import Sequence

import orjson

from zapd.expressions import BadExpression, ExpressionFailed, compiled
from zapd.model.webhook import BodyFormat, Delivery, Endpoint
from zapd.webhooks.signature import sign


def live_secrets(endpoint: Endpoint, now_ms: int) -> list[str]:
    """The secrets that sign now: the newest and, during a rotation, the ones before it."""
    return [s.value for s in endpoint.secrets if s.expires_at is None or s.expires_at > now_ms]


BATCH = "batch"  #: the type of a body that holds several events


class Untransformable(Exception):
    """The endpoint's transformation cannot be applied to this event; the text says why."""


def body_for(endpoint: Endpoint, envelope: bytes) -> bytes:
    """The stored envelope as it is, or the body that the endpoint asked for, made from it. Raises Untransformable."""
    if endpoint.options.transform is not None:
        return _transformed(endpoint.options.transform, envelope)
    if endpoint.format is BodyFormat.STANDARD:
        return envelope
    event = orjson.loads(envelope)
    return orjson.dumps(
        {
            "event": event["type"],
            "sessionId": event["connection_id"],
            "payload": event["data"],
            "timestamp": event["timestamp"],
        }
    )


def batch_body(endpoint: Endpoint, batch_id: str, envelopes: Sequence[bytes]) -> bytes:
    """Several events in one body: `data` holds what each would be alone, and the time is that of the first.

    Raises Untransformable.
    """
    events = [orjson.Fragment(body_for(endpoint, envelope)) for envelope in envelopes]
    at = orjson.loads(envelopes[0])["timestamp"]
    return orjson.dumps({"id": batch_id, "type": BATCH, "timestamp": at, "data": events})


def headers_for(
    endpoint: Endpoint,
    delivery: Delivery,
    body: bytes,
    *,
    now_ms: int,
    message_id: str | None = None,
    seq: str | None = None,
) -> list[tuple[str, str]]:
    """The headers of an attempt made now. Over all tries `webhook-id` is the event's; the time is the attempt's.

    `message_id` and `seq` are those of a batch.
    """
    message_id = message_id or delivery.event_id
    seq = seq or (None if delivery.seq is None else str(delivery.seq))
    seconds = now_ms // 1000
    signature = sign(secrets=live_secrets(endpoint, now_ms), message_id=message_id, timestamp=seconds, body=body)
    headers = [
        ("webhook-id", message_id),
        ("webhook-timestamp", str(seconds)),
        ("webhook-signature", signature),
        ("X-ZapHub-Event", delivery.event_type),
    ]
    if delivery.connection_id is not None:
        headers.append(("X-ZapHub-Session", delivery.connection_id))
    if seq is not None:
        headers.append(("X-Zapd-Seq", seq))
    return [*headers, *endpoint.headers]


def _transformed(text: str, envelope: bytes) -> bytes:
    try:
        return orjson.dumps(compiled(text).search(orjson.loads(envelope)))
    except (BadExpression, ExpressionFailed, orjson.JSONEncodeError) as error:
        raise Untransformable(f"transform: {error}") from None
