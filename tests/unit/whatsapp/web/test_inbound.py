"""What a worker hands up → updates."""

import base64
from typing import Any

import orjson
import pytest

from zapd.model.message import MessageStatus
from zapd.whatsapp.transport import Inbound, Notice, Receipt
from zapd.whatsapp.web.inbound import body, parse
from zapd.whatsapp.web.outgoing import Me

ME = Me(jid="5511900000000@s.whatsapp.net", lid="900@lid")
PHONE, LID, GROUP = "5511987654321@s.whatsapp.net", "77@lid", "120363000000000001@g.us"


def item(content: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "kind": "message",
        "content": content,
        "at": 1_700_000_000_000,
        "id": "3A01",
        "chat": LID,
        "sender": LID,
        "sender_alt": PHONE,
        "recipient_alt": "",
        "from_me": False,
        "group": False,
        "name": "Ana",
    } | fields


def read(*updates: dict[str, Any]) -> list[Any]:
    return list(parse(body(updates, me=ME)))


def one(content: dict[str, Any], **fields: Any) -> Inbound:
    [update] = read(item(content, **fields))
    assert isinstance(update, Inbound)
    return update


KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "text": ({"conversation": "oi"}, {"text": "oi"}),
    "text with more": ({"extendedTextMessage": {"text": "oi", "matchedText": "x"}}, {"text": "oi"}),
    "image": ({"imageMessage": {"caption": "look"}}, {"caption": "look"}),
    "video": ({"videoMessage": {}}, {}),
    "video note": ({"ptvMessage": {}}, {}),
    "audio": ({"audioMessage": {"PTT": True}}, {"voice": True}),
    "document": (
        {"documentMessage": {"fileName": "a.pdf", "caption": "bill"}},
        {"filename": "a.pdf", "caption": "bill"},
    ),
    "sticker": ({"stickerMessage": {}}, {}),
    "location": (
        {"locationMessage": {"degreesLatitude": -23.5, "degreesLongitude": -46.6, "name": "Office"}},
        {"latitude": -23.5, "longitude": -46.6, "name": "Office"},
    ),
    "contacts": (
        {
            "contactMessage": {
                "displayName": "Bia",
                "vcard": "BEGIN:VCARD\nTEL;waid=5511977776666:+55 11 97777-6666\nEND",
            }
        },
        {
            "contacts": [
                {
                    "name": {"formatted_name": "Bia"},
                    "phones": [{"phone": "+55 11 97777-6666", "wa_id": "5511977776666"}],
                }
            ]
        },
    ),
    "poll": (
        {"pollCreationMessageV3": {"name": "When?", "options": [{"optionName": "A"}, {"optionName": "B"}]}},
        {"name": "When?", "options": ["A", "B"], "selectable": 2},
    ),
    "button": (
        {"buttonsResponseMessage": {"selectedButtonID": "yes", "selectedDisplayText": "Yes"}},
        {"type": "button_reply", "id": "yes", "title": "Yes"},
    ),
    "button of a template": (
        {"templateButtonReplyMessage": {"selectedID": "yes", "selectedDisplayText": "Yes"}},
        {"text": "Yes", "payload": "yes"},
    ),
    "line of a list": (
        {"listResponseMessage": {"title": "Finance", "singleSelectReply": {"selectedRowID": "fin"}}},
        {"type": "list_reply", "id": "fin", "title": "Finance"},
    ),
}
TYPES = {
    "text with more": "text",
    "video note": "video",
    "button": "interactive",
    "button of a template": "button",
    "line of a list": "interactive",
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind(kind: str) -> None:
    content, payload = KINDS[kind]
    inbound = one(content)
    assert (inbound.type, orjson.loads(inbound.payload)) == (TYPES.get(kind, kind), payload)
    assert (inbound.peer, inbound.sender, inbound.name, inbound.at) == ("5511987654321", None, "Ana", 1_700_000_000_000)


SHAPELESS: list[dict[str, Any]] = [
    {"productMessage": {"x": 1}},
    {"locationMessage": 7},
    {"pollCreationMessage": {}},
    {"pollUpdateMessage": {}},
]


@pytest.mark.parametrize("content", SHAPELESS)
def test_what_has_no_shape_is_kept_as_it_came(content: dict[str, Any]) -> None:
    inbound = one(content)
    assert (inbound.type, orjson.loads(inbound.payload)) == ("unknown", content)


@pytest.mark.parametrize("type_", ["", "APP_STATE_SYNC_KEY_SHARE", "EPHEMERAL_SETTING"])
def test_housekeeping_is_no_message(type_: str) -> None:
    assert read(item({"protocolMessage": {"type": type_}} if type_ else {})) == []


def test_somebody_without_a_known_number_is_called_by_the_hidden_id() -> None:
    inbound = one({"conversation": "oi"}, sender_alt="")
    assert (inbound.peer, inbound.provider_id) == (LID, f"{LID}/3A01")
    assert inbound.aliases.known() == {"lid": LID}


def test_in_a_group_the_author_stands_beside_it() -> None:
    inbound = one({"conversation": "oi"}, chat=GROUP, group=True)
    assert (inbound.peer, inbound.sender) == (GROUP, "5511987654321")
    assert inbound.provider_id == f"{GROUP}/5511987654321/3A01"


def test_what_was_written_on_the_phone_is_ours() -> None:
    inbound = one({"conversation": "oi"}, from_me=True, sender=ME.jid, sender_alt="", recipient_alt=PHONE)
    assert (inbound.from_me, inbound.peer, inbound.provider_id) == (True, "5511987654321", "3A01")
    assert inbound.aliases.known() == {}


@pytest.mark.parametrize("me", [ME.jid, ME.lid, "5511900000000:7@s.whatsapp.net"])
def test_an_answer_to_our_message_names_it_by_whatsapps_id(me: str) -> None:
    context = {"stanzaID": "3EB0", "participant": me, "isForwarded": True}
    inbound = one({"extendedTextMessage": {"text": "sim", "contextInfo": context}})
    assert (inbound.reply_to, inbound.forwarded) == ("3EB0", True)


@pytest.mark.parametrize("they", [LID, PHONE, "77:3@lid"])
def test_an_answer_to_their_own_message_names_it_as_it_was_kept(they: str) -> None:
    context = {"stanzaID": "3A00", "participant": they}
    assert one({"extendedTextMessage": {"text": "x", "contextInfo": context}}).reply_to == "5511987654321/3A00"


def test_a_reaction_to_our_message() -> None:
    key = {"remoteJID": LID, "fromMe": False, "ID": "3EB0"}
    inbound = one({"reactionMessage": {"key": key, "text": "❤"}})
    assert (inbound.type, inbound.about) == ("reaction", "3EB0")
    assert orjson.loads(inbound.payload) == {"emoji": "❤", "message_id": "3EB0"}


def test_a_reaction_that_is_taken_away() -> None:
    key = {"remoteJID": LID, "fromMe": True, "ID": "3A00"}
    inbound = one({"reactionMessage": {"key": key}})
    assert orjson.loads(inbound.payload) == {"emoji": "", "message_id": "5511987654321/3A00"}
    assert inbound.about == "5511987654321/3A00"


@pytest.mark.parametrize(
    ("change", "type_", "payload"),
    [
        ({"type": "REVOKE"}, "revoke", {}),
        ({"type": "MESSAGE_EDIT", "editedMessage": {"conversation": "new"}}, "edit", {"text": "new"}),
        ({"type": "MESSAGE_EDIT", "editedMessage": {"imageMessage": {"caption": "new"}}}, "edit", {"text": "new"}),
    ],
)
def test_a_change_of_their_own_message(change: dict[str, Any], type_: str, payload: dict[str, Any]) -> None:
    key = {"remoteJID": LID, "fromMe": True, "ID": "3A00"}
    inbound = one({"protocolMessage": {"key": key, **change}})
    about = "5511987654321/3A00"
    assert (inbound.type, orjson.loads(inbound.payload), inbound.about) == (
        type_,
        {**payload, "message_id": about},
        about,
    )


def test_a_file_has_what_it_takes_to_fetch_it_and_no_more() -> None:
    encoded = base64.b64encode(bytes(32)).decode()
    said = {
        "mimetype": "image/png",
        "fileLength": "12",
        "mediaKey": encoded,
        "directPath": "/v/1",
        "fileSHA256": encoded,
    }
    media = one({"imageMessage": said | {"caption": "x", "viewOnce": True}}).media
    assert media
    assert (media.mime, media.size, media.sha256) == ("image/png", 12, "00" * 32)
    assert orjson.loads(media.reference) == {"imageMessage": said}
    assert one({"imageMessage": {"caption": "no key"}}).media is None


@pytest.mark.parametrize(
    ("type_", "status"), [(1, MessageStatus.DELIVERED), (4, MessageStatus.READ), (6, MessageStatus.PLAYED)]
)
def test_receipts(type_: int, status: MessageStatus) -> None:
    told = {"kind": "receipt", "ids": ["3EB0", "3EB1"], "type": type_, "at": 7, "chat": LID, "sender": LID}
    told |= {"group": False, "from_me": False, "message_ids": {"3EB0": "msg_1"}}
    assert read(told) == [
        Receipt(provider_id="3EB0", status=status, at=7, message_id="msg_1"),
        Receipt(provider_id="3EB1", status=status, at=7),
    ]


@pytest.mark.parametrize("changes", [{"type": 2}, {"type": 3}, {"type": 5}, {"type": 99}, {"from_me": True}])
def test_receipts_that_say_nothing_of_a_message(changes: dict[str, Any]) -> None:
    told = {"kind": "receipt", "ids": ["3EB0"], "type": 1, "at": 7, "chat": LID, "sender": LID}
    assert read(told | {"group": False, "from_me": False} | changes) == []


def test_in_a_group_a_receipt_says_whose_it_is() -> None:
    told = {"kind": "receipt", "ids": ["3EB0"], "type": 1, "at": 7, "chat": GROUP, "sender": PHONE}
    [receipt] = read(told | {"group": True, "from_me": False})
    assert receipt.participant == "5511987654321"


def test_a_late_answer_is_a_receipt() -> None:
    told = {"kind": "sent", "id": "3EB0", "message_id": "msg_1", "at": 7}
    assert read(told) == [Receipt(provider_id="3EB0", status=MessageStatus.SENT, at=7, message_id="msg_1")]


def test_what_could_not_be_read_is_told() -> None:
    told = item({}) | {"kind": "undecryptable"}
    [notice] = read(told)
    assert isinstance(notice, Notice)
    assert orjson.loads(notice.data) == {"id": "3A01", "from": "5511987654321"}


@pytest.mark.parametrize(
    "raw", [b"", b"null", b"[]", b"{}", b'{"network":"web"}', b'{"network":"sandbox","updates":[]}']
)
def test_bytes_of_another_network_are_a_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError):
        parse(raw)
