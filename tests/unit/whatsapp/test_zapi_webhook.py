"""What Z-API calls back with → updates."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fake_zapi import AT, INSTANCE, Json, delivery, received, status
from zapd.model.message import MessageStatus
from zapd.model.session import SessionState
from zapd.whatsapp.transport import Aliases, Inbound, Notice, Receipt, Update
from zapd.whatsapp.zapi_webhook import change_in, parse, url_of


def updates(body: Json, instance: str = INSTANCE) -> list[Update]:
    raw = orjson.dumps({"instanceId": instance, "momment": AT, **body})
    return parse(raw, instance_id=INSTANCE)


def one(body: Json) -> Inbound:
    [update] = updates(body)
    assert isinstance(update, Inbound)
    return update


def content(body: Json) -> tuple[str, Json]:
    update = one(body)
    return update.type, orjson.loads(update.payload)


def test_a_text_says_who_wrote_it_by_every_id() -> None:
    message = one(received())
    assert (message.peer, message.name, message.at) == ("5511987654321", "Ana", AT)
    assert message.aliases == Aliases(phone="5511987654321", wa_id="5511987654321", lid="8189@lid")
    assert (message.type, orjson.loads(message.payload)) == ("text", {"text": "oi"})


@pytest.mark.parametrize(
    ("part", "type_", "payload"),
    [
        ({"image": {"imageUrl": "https://z/a", "caption": "c", "mimeType": "image/jpeg"}}, "image", {"caption": "c"}),
        ({"video": {"videoUrl": "https://z/a", "mimeType": "video/mp4"}}, "video", {}),
        ({"audio": {"audioUrl": "https://z/a", "mimeType": "audio/ogg", "ptt": True}}, "audio", {"voice": True}),
        ({"document": {"documentUrl": "https://z/a", "fileName": "a.pdf"}}, "document", {"filename": "a.pdf"}),
        ({"sticker": {"stickerUrl": "https://z/a"}}, "sticker", {}),
    ],
)
def test_a_file_stays_where_it_is_and_its_address_is_known(part: Json, type_: str, payload: Json) -> None:
    message = one(received(**part))
    assert (message.type, orjson.loads(message.payload)) == (type_, payload)
    assert message.media
    assert url_of(message.media) == "https://z/a"


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (
            {
                "location": {
                    "latitude": "-23.5",
                    "longitude": -46.6,
                    "name": "Office",
                    "address": "",
                    "url": "https://m",
                }
            },
            ("location", {"latitude": -23.5, "longitude": -46.6, "name": "Office"}),
        ),
        (
            {"contact": {"displayName": "Bia", "vCard": "…", "phones": ["5511988887777"]}},
            ("contacts", {"contacts": [{"name": {"formatted_name": "Bia"}, "phones": [{"phone": "5511988887777"}]}]}),
        ),
        (
            {"buttonsResponseMessage": {"buttonId": "yes", "message": "Sim"}},
            ("interactive", {"type": "button_reply", "id": "yes", "title": "Sim"}),
        ),
        (
            {"listResponseMessage": {"selectedRowId": "fin", "title": "Financeiro", "message": "x"}},
            ("interactive", {"type": "list_reply", "id": "fin", "title": "Financeiro"}),
        ),
        (
            {"poll": {"question": "When?", "pollMaxOptions": 1, "options": [{"name": "a"}, {"name": "b"}]}},
            ("poll", {"name": "When?", "options": ["a", "b"], "selectable": 1}),
        ),
    ],
)
def test_each_kind_has_our_shape(part: Json, expected: tuple[str, Json]) -> None:
    assert content(received(**part)) == expected


@pytest.mark.parametrize("part", [{"location": {"latitude": "north"}}, {"pollVote": {"options": []}}, {"text": {}}])
def test_what_is_malformed_or_new_is_kept_whole(part: Json) -> None:
    type_, payload = content(received(**part))
    assert type_ == "unknown"
    assert payload["messageId"] == "A20DIN"
    assert payload | part == payload


def test_a_reaction_names_the_message_it_is_about() -> None:
    message = one(received(reaction={"value": "❤️", "referencedMessage": {"messageId": "OUT"}}))
    assert (message.type, message.about, message.reply_to) == ("reaction", "OUT", None)
    assert orjson.loads(message.payload) == {"message_id": "OUT", "emoji": "❤️"}


def test_an_edit_and_a_revoke_have_ids_of_their_own() -> None:
    edit = one(received(isEdit=True, text={"message": "new"}, referenceMessageId="OUT"))
    assert (edit.type, edit.about, orjson.loads(edit.payload)) == ("edit", "OUT", {"message_id": "OUT", "text": "new"})
    revoke = one(received(notification="REVOKE", referenceMessageId="OUT"))
    assert (revoke.type, revoke.about) == ("revoke", "OUT")
    assert len({edit.provider_id, revoke.provider_id, "A20DIN"}) == 3


def test_a_group_says_who_wrote() -> None:
    body = received(
        phone="120363-group", participantPhone="5511987654321", participantLid="9@lid", text={"message": "x"}
    )
    message = one({**body, "isGroup": True, "chatLid": None})
    assert (message.peer, message.sender) == ("120363@g.us", "5511987654321")
    assert message.aliases == Aliases(phone="5511987654321", wa_id="5511987654321", lid="9@lid")


def test_a_hidden_number_is_answered_at_the_lid() -> None:
    message = one(received(phone="8189@lid", text={"message": "x"}))
    assert (message.peer, message.aliases) == ("8189@lid", Aliases(lid="8189@lid"))


def test_what_was_written_on_the_phone_is_from_me_and_what_zapd_sent_is_left_out() -> None:
    assert one(received(fromMe=True, fromApi=False, text={"message": "x"})).from_me
    assert updates(received(fromMe=True, fromApi=True, text={"message": "x"})) == []


def test_a_message_that_is_still_to_come_does_not_take_its_id() -> None:
    [notice] = updates(received(waitingMessage=True))
    assert isinstance(notice, Notice)
    assert notice.kind == "waiting_message"
    assert one(received()).provider_id == "A20DIN"


def test_a_call_is_a_notice() -> None:
    [notice] = updates(received(notification="CALL_MISSED_VOICE"))
    assert isinstance(notice, Notice)
    assert orjson.loads(notice.data)["notification"] == "CALL_MISSED_VOICE"


def test_seconds_and_no_time_are_understood() -> None:
    assert one({**received(), "momment": AT // 1000}).at == AT
    assert one({**received(), "momment": None}).at == 0


def test_delivery_says_sent_or_why_not() -> None:
    [sent] = updates(delivery("M1"))
    [failed] = updates(delivery("M1", error="Phone number does not exist"))
    assert isinstance(sent, Receipt)
    assert isinstance(failed, Receipt)
    assert (sent.provider_id, sent.status) == ("M1", MessageStatus.SENT)
    assert (failed.status, failed.code) == (MessageStatus.FAILED, "no_such_number")


def test_a_forwarded_message_is_known_by_its_place_in_the_queue() -> None:
    told = updates(delivery("M1", zaapId="Z1"))
    assert [update.provider_id for update in told if isinstance(update, Receipt)] == ["M1", "Z1"]


def test_statuses_are_about_every_id_and_those_of_others_are_left_out() -> None:
    told = updates(status("M1", "PLAYED", ids=["M1", "M2"]))
    assert [(u.provider_id, u.status) for u in told if isinstance(u, Receipt)] == [
        ("M1", MessageStatus.PLAYED),
        ("M2", MessageStatus.PLAYED),
    ]
    assert updates(status("M1", "READ_BY_ME")) == []
    assert updates({"type": "PresenceChatCallback", "status": "COMPOSING"}) == []


def test_the_line_goes_up_and_down() -> None:
    def change(body: Json) -> SessionState | None:
        found = change_in(orjson.dumps({"instanceId": INSTANCE, **body}), instance_id=INSTANCE)
        return found.state if found else None

    assert change({"type": "ConnectedCallback", "connected": True}) is SessionState.CONNECTED
    assert change({"type": "DisconnectedCallback", "error": "gone"}) is SessionState.RECONNECTING
    assert change(received()) is None


def test_another_instance_is_refused() -> None:
    with pytest.raises(ValueError, match="another instance"):
        updates(received(), instance="OTHER")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        "phone",
        "messageId",
        "text",
        "image",
        "location",
        "contact",
        "reaction",
        "poll",
        "isEdit",
        "notification",
        "momment",
        "ids",
        "status",
        "error",
        "errorCode",
        "isGroup",
        "participantPhone",
        "chatLid",
        "zaapId",
        "fromMe",
    ]
)
TYPES = st.sampled_from(["ReceivedCallback", "DeliveryCallback", "MessageStatusCallback", "New"])


@given(TYPES, st.dictionaries(KEYS, JSON))
def test_nothing_that_is_json_crashes_it(type_: str, body: Json) -> None:
    parse(orjson.dumps({"type": type_, "instanceId": INSTANCE, **body}), instance_id=INSTANCE)
