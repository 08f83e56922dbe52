"""One good payload of each kind: what every transport that names the kind must be able to send."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zapd.whatsapp.transport import MediaFile, Target

Json = dict[str, Any]

REF = "wamid.TARGET"  #: the provider id that payloads refer to
MEDIA = "med_00000000000000000000000000"

#: `type`, or `interactive.<kind>` as among the capabilities → payload.
KINDS: Mapping[str, Json] = {
    "text": {"text": "Olá"},
    "image": {"media_id": MEDIA, "caption": "a cat"},
    "video": {"media_id": MEDIA},
    "audio": {"media_id": MEDIA, "voice": True},
    "document": {"media_id": MEDIA, "filename": "a.pdf", "caption": "the bill"},
    "sticker": {"media_id": MEDIA},
    "location": {"latitude": -23.5, "longitude": -46.6, "name": "Office", "address": "Av. Paulista, 1"},
    "contacts": {
        "contacts": [
            {
                "name": {"formatted_name": "Ana Souza", "first_name": "Ana"},
                "phones": [{"phone": "+5511988887777", "type": "CELL", "wa_id": "5511988887777"}],
            }
        ]
    },
    "reaction": {"message_id": REF, "emoji": "❤"},
    "template": {
        "name": "order_ok",
        "language": "pt_BR",
        "components": [{"type": "body", "parameters": [{"type": "text", "text": "Ana"}]}],
    },
    "poll": {"name": "When?", "options": ["Today", "Tomorrow"], "selectable": 1},
    "forward": {"message_id": REF},
    "edit": {"message_id": REF, "text": "Oi"},
    "revoke": {"message_id": REF},
    "interactive.button": {
        "type": "button",
        "body": {"text": "Confirm?"},
        "footer": {"text": "zapd"},
        "action": {
            "buttons": [
                {"type": "reply", "reply": {"id": "yes", "title": "Yes"}},
                {"type": "reply", "reply": {"id": "no", "title": "No"}},
            ]
        },
    },
    "interactive.list": {
        "type": "list",
        "header": {"type": "text", "text": "Menu"},
        "body": {"text": "Choose"},
        "action": {
            "button": "Open",
            "sections": [{"title": "Teams", "rows": [{"id": "fin", "title": "Finance", "description": "bills"}]}],
        },
    },
    "interactive.cta_url": {
        "type": "cta_url",
        "body": {"text": "See it"},
        "action": {"name": "cta_url", "parameters": {"display_text": "Open", "url": "https://example.org/a"}},
    },
    "interactive.location_request_message": {
        "type": "location_request_message",
        "body": {"text": "Where are you?"},
        "action": {"name": "send_location"},
    },
    "interactive.flow": {
        "type": "flow",
        "body": {"text": "Fill this in"},
        "action": {"name": "flow", "parameters": {"flow_message_version": "3", "flow_id": "1", "flow_cta": "Open"}},
    },
    "interactive.product": {
        "type": "product",
        "body": {"text": "This one"},
        "action": {"catalog_id": "1", "product_retailer_id": "2"},
    },
    "interactive.product_list": {
        "type": "product_list",
        "header": {"type": "text", "text": "Offers"},
        "body": {"text": "These"},
        "action": {
            "catalog_id": "1",
            "sections": [{"title": "A", "product_items": [{"product_retailer_id": "2"}]}],
        },
    },
    "interactive.catalog_message": {
        "type": "catalog_message",
        "body": {"text": "All"},
        "action": {"name": "catalog_message"},
    },
    "interactive.contact_request": {
        "type": "contact_request",
        "body": {"text": "Your number?"},
        "action": {"name": "contact_request"},
    },
}

#: The message that `REF` names: our own text.
TARGET = Target(
    provider_id=REF,
    peer="5511999998888",
    from_me=True,
    type="text",
    payload=b'{"text":"Ol\xc3\xa1"}',
    at=1_700_000_000_000,
)


#: The smallest files that are known for what they are.
CONTENTS: Mapping[str, tuple[str, bytes]] = {
    "image": ("image/jpeg", b"\xff\xd8\xff\xe0" + bytes(64)),
    "video": ("video/mp4", b"\x00\x00\x00\x18ftypisom" + bytes(64)),
    "audio": ("audio/ogg", b"OggS" + bytes(24) + b"OpusHead\x01\x01" + bytes(64)),
    "document": ("application/pdf", b"%PDF-1.7\n" + bytes(64)),
    "sticker": ("image/webp", b"RIFF\x00\x00\x00\x00WEBPVP8 " + bytes(64)),
}


def files_of(kind: str, directory: Path) -> dict[str, MediaFile]:
    """The file that a payload of this kind names."""
    if kind not in CONTENTS:
        return {}
    mime, content = CONTENTS[kind]
    path = directory / hashlib.sha256(content).hexdigest()
    path.write_bytes(content)
    return {MEDIA: MediaFile(id=MEDIA, path=path, mime=mime, size=len(content), sha256=path.name)}


def type_of(kind: str) -> str:
    """The message type of a kind."""
    return kind.partition(".")[0]
