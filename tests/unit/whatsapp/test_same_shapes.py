"""What a contact does has one shape, whichever transport tells it: a bot must not care which one it sits behind."""

from typing import Any

import orjson
import pytest

from tests.support.fake_meta import NUMBER, text_message, webhook_body
from tests.support.fake_zapi import AT, INSTANCE, received
from zapd.whatsapp import cloud_webhook, zapi_webhook
from zapd.whatsapp.transport import Inbound, Update
from zapd.whatsapp.web.inbound import body, parse
from zapd.whatsapp.web.outgoing import Me

Json = dict[str, Any]

CHAT = "5511987654321@s.whatsapp.net"
AD = {"sourceUrl": "https://fb.me/x", "sourceType": "ad", "title": "Sale", "ctwaClid": "c"}
REFERRAL = {"source_url": "https://fb.me/x", "source_type": "ad", "headline": "Sale", "ctwa_clid": "c"}
KEY = {"remoteJID": CHAT, "fromMe": False, "ID": "M1"}

#: what it is → as Meta, Z-API and WhatsApp Web tell it, and what zapd makes of it
ACTS: dict[str, tuple[Json, Json, Json, tuple[str, Json]]] = {
    "a button": (
        {"type": "interactive", "interactive": {"type": "button_reply", "button_reply": {"id": "y", "title": "Yes"}}},
        {"buttonsResponseMessage": {"buttonId": "y", "message": "Yes"}},
        {"buttonsResponseMessage": {"selectedButtonID": "y", "selectedDisplayText": "Yes"}},
        ("interactive", {"type": "button_reply", "id": "y", "title": "Yes"}),
    ),
    "a line of a list": (
        {"type": "interactive", "interactive": {"type": "list_reply", "list_reply": {"id": "f", "title": "Fin"}}},
        {"listResponseMessage": {"selectedRowId": "f", "title": "Fin", "message": "x"}},
        {"listResponseMessage": {"title": "Fin", "singleSelectReply": {"selectedRowID": "f"}}},
        ("interactive", {"type": "list_reply", "id": "f", "title": "Fin"}),
    ),
    "a reaction": (
        {"type": "reaction", "reaction": {"message_id": "M1", "emoji": "❤"}},
        {"reaction": {"value": "❤", "referencedMessage": {"messageId": "M1"}}},
        {"reactionMessage": {"key": KEY, "text": "❤"}},
        ("reaction", {"message_id": "M1", "emoji": "❤"}),
    ),
    "a message taken back": (
        {"type": "revoke", "revoke": {"original_message_id": "M1"}},
        {"notification": "REVOKE", "referenceMessageId": "M1"},
        {"protocolMessage": {"type": "REVOKE", "key": KEY}},
        ("revoke", {"message_id": "M1"}),
    ),
    "a text after an advertisement": (
        {"type": "text", "text": {"body": "oi"}, "referral": REFERRAL},
        {"text": {"message": "oi"}, "externalAdReply": AD},
        {"extendedTextMessage": {"text": "oi", "contextInfo": {"externalAdReply": AD}}},
        ("text", {"text": "oi", "referral": REFERRAL}),
    ),
}


def of_meta(message: Json) -> list[Update]:
    raw = orjson.dumps(webhook_body({"messages": [text_message("wamid.IN", "") | message]}))
    return list(cloud_webhook.parse(raw, phone_number_id=NUMBER))


def of_zapi(content: Json) -> list[Update]:
    raw = orjson.dumps({"instanceId": INSTANCE, "momment": AT, **received(), "text": None, **content})
    return zapi_webhook.parse(raw, instance_id=INSTANCE)


def of_web(content: Json) -> list[Update]:
    told = {"kind": "message", "content": content, "at": 1, "id": "3A", "chat": CHAT, "sender": CHAT, "name": "Ana"}
    told |= {"sender_alt": "", "recipient_alt": "", "from_me": False, "group": False}
    return parse(body([told], me=Me(jid="5511900000000@s.whatsapp.net", lid="900@lid")))


@pytest.mark.parametrize("act", ACTS)
def test_an_act_has_one_shape_on_every_transport(act: str) -> None:
    meta, zapi, web, expected = ACTS[act]
    for [told] in (of_meta(meta), of_zapi(zapi), of_web(web)):
        assert isinstance(told, Inbound)
        assert (told.type, orjson.loads(told.payload)) == expected
