"""What one attempt sends: the body in the endpoint's format, and the signed headers. Pure."""

import orjson

from zapd.model.webhook import BodyFormat, Delivery, Endpoint
from zapd.webhooks.signature import sign


def live_secrets(endpoint: Endpoint, now_ms: int) -> list[str]:
    """The secrets that sign now: the newest and, during a rotation, the ones before it."""
    return [s.value for s in endpoint.secrets if s.expires_at is None or s.expires_at > now_ms]


def body_for(format: BodyFormat, envelope: bytes) -> bytes:
    """The stored envelope as it is, or the body that existing receivers parse, made from it."""
    if format is BodyFormat.STANDARD:
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


def headers_for(endpoint: Endpoint, delivery: Delivery, body: bytes, *, now_ms: int) -> list[tuple[str, str]]:
    """The headers of an attempt made now. Over all tries `webhook-id` is the event's; the time is the attempt's."""
    seconds = now_ms // 1000
    signature = sign(secrets=live_secrets(endpoint, now_ms), message_id=delivery.event_id, timestamp=seconds, body=body)
    headers = [
        ("webhook-id", delivery.event_id),
        ("webhook-timestamp", str(seconds)),
        ("webhook-signature", signature),
        ("X-ZapHub-Event", delivery.event_type),
    ]
    if delivery.connection_id is not None:
        headers.append(("X-ZapHub-Session", delivery.connection_id))
    return [*headers, *endpoint.headers]
