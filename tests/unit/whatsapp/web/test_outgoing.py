"""Our payloads → WhatsApp's messages."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support.kinds import KINDS, TARGET, files_of, type_of
from tests.support.whatsapp import a_message
from zapd.model.message import Message
from zapd.whatsapp.content import ABOUT
from zapd.whatsapp.transport import Enclosed, Permanent, Target
from zapd.whatsapp.web.outgoing import CAPABILITIES, Me, author, outgoing, stanza, vcard

ME = Me(jid="5511900000000@s.whatsapp.net", lid="900@lid")
GROUP = "120363000000000001@g.us"
THEIRS = Target(
    provider_id="5511987654321/3A01", peer="5511987654321", from_me=False, type="text", payload=b'{"text":"oi"}', at=1
)
IN_GROUP = Target(
    provider_id=f"{GROUP}/5511987654321/3A01",
    peer=GROUP,
    from_me=False,
    type="image",
    payload=b'{"caption":"look"}',
    at=1,
    sender="5511987654321",
)


def made(message: Message, enclosed: Enclosed | None = None) -> dict[str, Any]:
    return outgoing(message, enclosed or Enclosed(), me=ME, now_ms=1_700_000_000_000).content


def of(type_: str, payload: dict[str, Any], target: Target | None = None, **fields: Any) -> dict[str, Any]:
    return made(a_message(type=type_, payload=orjson.dumps(payload), **fields), Enclosed(target=target))


@pytest.mark.parametrize("kind", sorted(kind for kind in KINDS if type_of(kind) in CAPABILITIES))
def test_every_kind_it_says_it_can_has_a_message(kind: str, tmp_path: Path) -> None:
    enclosed = Enclosed(target=TARGET if kind in ABOUT else None, media=files_of(kind, tmp_path))
    content = made(a_message(type=type_of(kind), payload=orjson.dumps(KINDS[kind])), enclosed)
    assert len(content) == 1


def test_text() -> None:
    assert of("text", {"text": "Olá"}) == {"conversation": "Olá"}


@pytest.mark.parametrize(
    ("peer", "to"),
    [
        ("5511999998888", "5511999998888@s.whatsapp.net"),
        (GROUP, GROUP),
        ("123456@lid", "123456@lid"),
    ],
)
def test_whom_it_goes_to(peer: str, to: str) -> None:
    message = a_message(peer=peer)
    assert outgoing(message, Enclosed(), me=ME, now_ms=1).to == to


@pytest.mark.parametrize("peer", ["12345@newsletter", "BR.123abc"])
def test_whom_it_cannot_go_to(peer: str) -> None:
    with pytest.raises(Permanent):
        made(a_message(peer=peer))


def test_a_reply_quotes_the_words_and_names_their_author() -> None:
    context = of("text", {"text": "sim"}, THEIRS, reply_to="msg_0")["extendedTextMessage"]["contextInfo"]
    assert context == {
        "stanzaID": "3A01",
        "participant": "5511987654321@s.whatsapp.net",
        "quotedMessage": {"conversation": "oi"},
    }


def test_a_reply_in_a_group_names_who_wrote_it() -> None:
    context = of("text", {"text": "sim"}, IN_GROUP, peer=GROUP)["extendedTextMessage"]["contextInfo"]
    assert context["participant"] == "5511987654321@s.whatsapp.net"
    assert context["quotedMessage"] == {"conversation": "look"}


def test_we_are_known_by_the_hidden_id_in_a_chat_of_hidden_ids() -> None:
    mine = Target(provider_id="3EB0", peer="77@lid", from_me=True, type="text", payload=b"{}", at=1)
    assert author(mine, ME) == "900@lid"
    assert author(TARGET, ME) == ME.jid


def test_mentions_in_any_spelling() -> None:
    context = of("text", {"text": "@5511987654321", "mentions": ["+55 11 98765-4321", "77@lid"]})
    mentioned = context["extendedTextMessage"]["contextInfo"]["mentionedJID"]
    assert mentioned == ["5511987654321@s.whatsapp.net", "77@lid"]


def test_a_reaction_names_its_message_and_an_empty_one_takes_it_away() -> None:
    key = {"remoteJID": GROUP, "fromMe": False, "ID": "3A01", "participant": "5511987654321@s.whatsapp.net"}
    for emoji in ("❤", ""):
        reaction = of("reaction", {"message_id": "x", "emoji": emoji}, IN_GROUP, peer=GROUP)["reactionMessage"]
        assert reaction == {"key": key, "text": emoji, "senderTimestampMS": "1700000000000"}


def test_an_edit_and_a_revoke_name_our_message() -> None:
    key = {"remoteJID": "5511999998888@s.whatsapp.net", "fromMe": True, "ID": TARGET.provider_id}
    edit = of("edit", {"message_id": "x", "text": "Oi"}, TARGET)["editedMessage"]["message"]["protocolMessage"]
    assert (edit["key"], edit["type"], edit["editedMessage"]) == (key, "MESSAGE_EDIT", {"conversation": "Oi"})
    assert of("revoke", {"message_id": "x"}, TARGET) == {"protocolMessage": {"key": key, "type": "REVOKE"}}


def test_a_forward_says_so() -> None:
    text = of("forward", {"message_id": "x"}, THEIRS)["extendedTextMessage"]
    assert text == {"text": "oi", "contextInfo": {"isForwarded": True, "forwardingScore": 1}}


def test_a_voice_note_is_one(tmp_path: Path) -> None:
    message = a_message(type="audio", payload=orjson.dumps(KINDS["audio"]))
    audio = made(message, Enclosed(media=files_of("audio", tmp_path)))["audioMessage"]
    assert audio == {"mimetype": "audio/ogg; codecs=opus", "PTT": True}


def test_a_file_that_is_gone_is_permanent() -> None:
    with pytest.raises(Permanent):
        of("document", KINDS["document"])


def test_a_contact_card_escapes_what_is_written_in_it() -> None:
    card = vcard(
        {
            "name": {"formatted_name": "Ana; Souza\nX", "first_name": "Ana", "last_name": "Souza"},
            "phones": [{"phone": "+55 11 98888-7777", "wa_id": "5511988887777"}],
            "emails": [{"email": "a@example.org"}],
            "org": {"company": "A, B"},
        }
    )
    assert card.split("\n") == [
        "BEGIN:VCARD",
        "VERSION:3.0",
        "N:Souza;Ana;;;",
        "FN:Ana\\; Souza\\nX",
        "ORG:A\\, B;",
        "TEL;type=CELL;waid=5511988887777:+55 11 98888-7777",
        "EMAIL;type=HOME:a@example.org",
        "END:VCARD",
    ]


@pytest.mark.parametrize(
    ("provider_id", "of_whatsapp"), [("3EB0", "3EB0"), ("55/3A01", "3A01"), (f"{GROUP}/55/3A01", "3A01")]
)
def test_whatsapps_own_id(provider_id: str, of_whatsapp: str) -> None:
    assert stanza(provider_id) == of_whatsapp
