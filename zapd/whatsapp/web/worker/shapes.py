"""neonize's objects → JSON for the daemon. What only shows a picture sooner is left out: it is most of the bytes."""

from typing import Any

from google.protobuf.json_format import MessageToDict

from zapd.whatsapp.web.frames import Frame

_LEFT_OUT = frozenset(
    {
        "JPEGThumbnail",
        "pngThumbnail",
        "streamingSidecar",
        "firstFrameSidecar",
        "scansSidecar",
        "scanLengths",
        "waveform",
        "messageContextInfo",
        "senderKeyDistributionMessage",
    }
)


def jid(value: Any) -> str:
    """`user@server` without agent and device; "" when it is empty."""
    return f"{value.User}@{value.Server}" if value.User else ""


def content(message: Any) -> Frame:
    """A message's content, by the names of WhatsApp's own definition."""
    told: Frame = _lean(MessageToDict(message, preserving_proto_field_name=True))
    return told


def message(event: Any) -> Frame:
    """A message that came in. The library gives milliseconds here."""
    info = event.Info
    return {"kind": "message", "content": content(event.Message), "at": info.Timestamp, **_about(info)}


def undecryptable(event: Any) -> Frame:
    """A message that came and could not be read: its sender was asked to send it again."""
    return {"kind": "undecryptable", "at": event.Info.Timestamp, **_about(event.Info)}


def receipt(event: Any) -> Frame:
    """A receipt. The library gives seconds here."""
    source = event.MessageSource
    return {
        "kind": "receipt",
        "ids": list(event.MessageIDs),
        "type": int(event.Type),
        "at": event.Timestamp * 1000,
        "chat": jid(source.Chat),
        "sender": jid(source.Sender),
        "group": source.IsGroup,
        "from_me": source.IsFromMe,
    }


def _about(info: Any) -> Frame:
    source = info.MessageSource
    return {
        "id": info.ID,
        "chat": jid(source.Chat),
        "sender": jid(source.Sender),
        "sender_alt": jid(source.SenderAlt),
        "recipient_alt": jid(source.RecipientAlt),
        "from_me": source.IsFromMe,
        "group": source.IsGroup,
        "name": info.Pushname,
    }


def _lean(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _lean(item) for key, item in value.items() if key not in _LEFT_OUT}
    return [_lean(item) for item in value] if isinstance(value, list) else value
