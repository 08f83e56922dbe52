"""Meta's webhooks: handshake, signature, and the updates in a body (wire facts §1.6 to §1.8)."""

import base64
import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fake_meta import APP_SECRET, NUMBER, VERIFY_TOKEN, Json, sign, status, text_message, webhook_body
from zapd.errors import Forbidden, Unauthorized
from zapd.model.message import MessageStatus
from zapd.whatsapp.cloud_webhook import check_signature, handshake, parse, peek
from zapd.whatsapp.transport import AliasChange, Aliases, Inbound, Notice, Preference, Receipt, Update, peek_of

RAW = orjson.dumps(webhook_body({"messages": [text_message("wamid.IN", "oi")]}))


def updates(value: Json, **more: str) -> list[Update]:
    return parse(orjson.dumps(webhook_body(value, **more)), phone_number_id=NUMBER)


def inbound(message: Json, **value: object) -> Inbound:
    [update] = updates({"messages": [message], **value})
    assert isinstance(update, Inbound)
    return update


def receipt(item: Json) -> Receipt:
    [update] = updates({"statuses": [item]})
    assert isinstance(update, Receipt)
    return update


def test_the_handshake_answers_the_challenge() -> None:
    query = {"hub.mode": "subscribe", "hub.challenge": "1158201444", "hub.verify_token": VERIFY_TOKEN}
    assert handshake(query, verify_token=VERIFY_TOKEN) == "1158201444"


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"hub.mode": "subscribe"},
        {"hub.mode": "subscribe", "hub.verify_token": "né"},
        {"hub.mode": "x", "hub.verify_token": VERIFY_TOKEN, "hub.challenge": "1"},
        {"hub.mode": "subscribe", "hub.verify_token": VERIFY_TOKEN},
    ],
)
def test_a_wrong_handshake_is_forbidden(query: dict[str, str]) -> None:
    with pytest.raises(Forbidden):
        handshake(query, verify_token=VERIFY_TOKEN)


def test_a_good_signature_passes() -> None:
    check_signature(RAW, sign(RAW), app_secret=APP_SECRET)


@pytest.mark.parametrize(
    ("raw", "header"),
    [
        (RAW, None),
        (RAW, ""),
        (RAW, sign(RAW, "another secret")),
        (RAW, sign(RAW).removeprefix("sha256=")),
        (RAW, sign(RAW)[:-1]),
        (RAW, sign(RAW).upper()),
        (RAW, "sha256=é"),
        (RAW, "sha256=\udce9"),
        (RAW[:-1], sign(RAW)),
        (orjson.dumps(orjson.loads(RAW), option=orjson.OPT_INDENT_2), sign(RAW)),
    ],
    ids=[
        "missing",
        "empty",
        "forged",
        "bare",
        "short",
        "upper",
        "not_ascii",
        "not_utf8",
        "truncated_body",
        "encoded_again",
    ],
)
def test_a_wrong_signature_is_refused(raw: bytes, header: str | None) -> None:
    with pytest.raises(Unauthorized):
        check_signature(raw, header, app_secret=APP_SECRET)


def test_a_text_becomes_an_inbound_message() -> None:
    message = text_message("wamid.IN", "Olá") | {"context": {"from": "55", "id": "wamid.OUT"}}
    contacts = [{"profile": {"name": "Ana"}, "wa_id": "5511987654321", "user_id": "BR.1"}]
    assert inbound(message, contacts=contacts) == Inbound(
        provider_id="wamid.IN",
        peer="5511987654321",
        type="text",
        payload=orjson.dumps({"text": "Olá"}),
        at=1749416383000,
        name="Ana",
        aliases=Aliases(phone="5511987654321", wa_id="5511987654321", bsuid="BR.1"),
        reply_to="wamid.OUT",
    )


def test_a_template_button_is_a_kind_of_its_own() -> None:
    message = text_message("wamid.IN", "") | {"type": "button", "button": {"payload": "OK", "text": "Sim"}}
    assert inbound(message).payload == orjson.dumps({"text": "Sim", "payload": "OK"})


@pytest.mark.parametrize(
    "change",
    [{"type": "hologram", "hologram": {"id": "MID"}}, {"type": None}, {"type": ["x"]}, {"text": None}, {"text": {}}],
)
def test_what_is_unknown_or_malformed_keeps_its_json(change: Json) -> None:
    message = text_message("wamid.IN", "x") | change
    update = inbound(message)
    assert (update.type, orjson.loads(update.payload)) == ("unknown", message)


def test_nesting_that_cannot_be_written_again_is_marked() -> None:
    deep: object = 1
    for _ in range(400):
        deep = [deep]
    body = json.dumps(webhook_body({"messages": [{"id": "x", "type": "odd", "odd": deep}]})).encode()
    [update] = parse(body, phone_number_id=NUMBER)
    assert (update.provider_id, update.type) == ("x", "unknown")  # type: ignore[union-attr]  # an Inbound


def test_a_user_without_a_number_is_known_by_the_business_scoped_id() -> None:
    message = text_message("wamid.IN", "oi") | {"from_user_id": "BR.15"}
    del message["from"]
    update = inbound(message, contacts=[{"profile": {"name": "Ana"}, "user_id": "BR.15"}])
    assert (update.peer, update.name) == ("BR.15", "Ana")


def test_the_same_message_without_an_id_is_the_same_message() -> None:
    message = text_message("", "oi")
    assert inbound(message).provider_id == inbound(message).provider_id != ""


@pytest.mark.parametrize("kind", ["sent", "delivered", "read", "played", "failed"])
def test_a_status_becomes_a_receipt(kind: str) -> None:
    found = receipt(status("wamid.OUT", kind, echo="zapd:msg_1"))
    assert (found.status, found.message_id, found.at) == (MessageStatus(kind), "msg_1", 1750030073000)


def test_the_callback_data_of_others_is_not_our_id() -> None:
    assert receipt(status("wamid.OUT", "sent", echo="crm:9")).message_id is None


def test_a_failure_keeps_its_code_and_details() -> None:
    errors = [{"code": 131047, "title": "Re-engagement", "error_data": {"details": "More than 24 hours"}}]
    found = receipt(status("wamid.OUT", "failed", errors=errors))
    assert (found.code, found.detail) == ("131047", "More than 24 hours")


def test_a_status_that_nobody_knows_costs_the_others_nothing() -> None:
    items = [status("a", "warning"), status("", "sent"), {"id": "b"}, status("c", "read")]
    assert [u.provider_id for u in updates({"statuses": items})] == ["c"]


def test_a_batch_keeps_every_update_in_its_order() -> None:
    one = webhook_body({"messages": [text_message(f"i{n}", "x") for n in range(500)]})
    two = webhook_body({"statuses": [status(f"s{n}", "sent") for n in range(500)]})
    body = one | {"entry": [*one["entry"], "junk", *two["entry"]]}
    found = [u.provider_id for u in parse(orjson.dumps(body), phone_number_id=NUMBER)]
    assert found == [f"i{n}" for n in range(500)] + [f"s{n}" for n in range(500)]


def test_updates_of_another_number_are_left_out() -> None:
    assert not updates({"messages": [text_message("x", "oi")]}, number="999")


def account_change(field: str, value: Json, waba: str = "77") -> Json:
    """A webhook of the account: it names no number."""
    change = {"field": field, "value": value}
    return {"object": "whatsapp_business_account", "entry": [{"id": waba, "changes": [change]}]}


def of_account(field: str, value: Json, waba: str = "77") -> list[Update]:
    return parse(orjson.dumps(account_change(field, value, waba)), phone_number_id=NUMBER, waba_id="77")


def test_what_happens_to_the_account_is_a_notice() -> None:
    value = {"event": "APPROVED", "message_template_name": "order_ok"}
    (notice,) = of_account("message_template_status_update", value)
    assert isinstance(notice, Notice)
    assert (notice.kind, orjson.loads(notice.data), notice.warning) == ("message_template_status_update", value, False)
    (notice,) = of_account("account_update", {"event": "ACCOUNT_RESTRICTION"})
    assert isinstance(notice, Notice)
    assert notice.warning
    assert of_account("account_update", value, waba="88") == []


def test_errors_that_come_without_a_message_are_a_notice() -> None:
    (notice,) = updates({"errors": [{"code": 131000}]})
    assert isinstance(notice, Notice)
    assert (notice.kind, notice.warning) == ("error", True)


def test_a_user_id_that_changes_is_told() -> None:
    (change,) = of_account("user_id_update", {"user_id_update": [{"user_id": {"previous": "BR.1", "current": "BR.2"}}]})
    assert isinstance(change, AliasChange)
    assert (change.previous, change.current) == (Aliases(bsuid="BR.1"), Aliases(bsuid="BR.2"))


def test_who_wants_no_marketing_is_told_in_the_order_in_which_it_was_said() -> None:
    told = [
        {"wa_id": "5511987654321", "category": "marketing_messages", "value": "resume", "timestamp": 1731705799},
        {"wa_id": "5511987654321", "category": "marketing_messages", "value": "stop", "timestamp": 1731705721},
        {"user_id": "BR.15", "category": "marketing_messages", "value": "stop", "timestamp": 1731705800},
        {"wa_id": "5511987654321", "category": "marketing_messages", "value": "later"},
        {"category": "marketing_messages", "value": "stop"},
    ]
    contacts = [{"profile": {"name": "Ana"}, "wa_id": "5511987654321", "user_id": "BR.1"}]
    *preferences, notice = updates({"contacts": contacts, "user_preferences": told}, field="user_preferences")
    ana = Aliases(phone="5511987654321", wa_id="5511987654321", bsuid="BR.1")
    known = [(p.who, p.wants, p.at) for p in preferences if isinstance(p, Preference)]
    assert known == [
        (ana, False, 1731705721000),
        (ana, True, 1731705799000),
        (Aliases(bsuid="BR.15"), False, 1731705800000),
    ]
    assert isinstance(notice, Notice)
    assert notice.kind == "user_preferences"


def test_a_number_that_changes_is_a_message_and_a_change() -> None:
    system = {"type": "user_changed_number", "body": "Ana changed", "wa_id": "5511911110000"}
    message = text_message("wamid.IN", "") | {"type": "system", "system": system}
    kept, change = updates({"messages": [message]})
    assert isinstance(kept, Inbound)
    assert (kept.type, orjson.loads(kept.payload)) == ("system", system)
    assert isinstance(change, AliasChange)
    assert (change.previous.wa_id, change.current.wa_id) == ("5511987654321", "5511911110000")


def test_what_is_written_with_the_phone_app_is_ours() -> None:
    message = text_message("wamid.ECHO", "oi", sender="5511400000000") | {"to": "5511987654321"}
    (update,) = updates({"message_echoes": [message]}, field="smb_message_echoes")
    assert isinstance(update, Inbound)
    assert (update.from_me, update.peer) == (True, "5511987654321")


def test_a_contact_with_a_username_has_no_number() -> None:
    message = text_message("wamid.IN", "oi") | {"from_user_id": "BR.15"}
    del message["from"]
    contact = {"profile": {"name": "Ana", "username": "ana.s"}, "user_id": "BR.15"}
    update = inbound(message, contacts=[contact])
    assert update.aliases == Aliases(bsuid="BR.15", username="ana.s")


FILE = {"id": "MID", "mime_type": "image/jpeg", "sha256": "ab" * 32}
REPLY = {"id": "yes", "title": "Sim"}

#: type → the part of the message under its name → the payload that zapd keeps
KINDS: list[tuple[str, object, Json]] = [
    ("image", FILE | {"caption": "gato"}, {"caption": "gato"}),
    ("video", FILE, {}),
    ("audio", FILE | {"voice": True}, {"voice": True}),
    ("document", FILE | {"filename": "a.pdf"}, {"filename": "a.pdf"}),
    ("sticker", FILE | {"animated": False}, {"animated": False}),
    ("location", {"latitude": -23.5, "longitude": -46.6}, {"latitude": -23.5, "longitude": -46.6}),
    ("contacts", [{"name": {"formatted_name": "Bia"}}], {"contacts": [{"name": {"formatted_name": "Bia"}}]}),
    ("reaction", {"message_id": "wamid.OUT", "emoji": "❤"}, {"message_id": "wamid.OUT", "emoji": "❤"}),
    ("reaction", {"message_id": "wamid.OUT"}, {"message_id": "wamid.OUT", "emoji": ""}),
    ("interactive", {"type": "button_reply", "button_reply": REPLY}, {"type": "button_reply", **REPLY}),
    ("interactive", {"type": "list_reply", "list_reply": REPLY | {"description": "d"}},
     {"type": "list_reply", **REPLY, "description": "d"}),
    ("interactive", {"type": "nfm_reply", "nfm_reply": {"name": "flow", "body": "Sent", "response_json": '{"a":1}'}},
     {"type": "nfm_reply", "name": "flow", "body": "Sent", "response_json": '{"a":1}', "response": {"a": 1}}),
    ("order", {"catalog_id": "1", "product_items": []}, {"catalog_id": "1", "product_items": []}),
    ("edit", {"original_message_id": "wamid.A", "message": {"type": "text", "text": {"body": "novo"}}},
     {"message_id": "wamid.A", "type": "text", "payload": {"text": "novo"}, "text": "novo"}),
    ("revoke", {"original_message_id": "wamid.A"}, {"message_id": "wamid.A"}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "part", "payload"), KINDS, ids=[kind for kind, _, _ in KINDS])
def test_every_kind_that_contacts_send_has_a_shape(kind: str, part: object, payload: Json) -> None:
    message = text_message("wamid.IN", "") | {"type": kind, kind: part}
    update = inbound(message)
    assert (update.type, orjson.loads(update.payload)) == (kind, payload)
    assert update.about == payload.get("message_id")
    if isinstance(part, dict) and part.get("id") == "MID":
        assert update.media is not None
        assert orjson.loads(update.media.reference) == {"id": "MID"}
        assert (update.media.mime, update.media.sha256) == ("image/jpeg", "ab" * 32)
    else:
        assert update.media is None


@pytest.mark.parametrize(("kind", "part", "payload"), KINDS, ids=[kind for kind, _, _ in KINDS])
def test_a_kind_that_is_malformed_is_kept_whole(kind: str, part: object, payload: Json) -> None:
    message = text_message("wamid.IN", "") | {"type": kind, kind: "nonsense"}
    update = inbound(message)
    assert update.type in (kind, "unknown")
    if update.type == "unknown":
        assert orjson.loads(update.payload) == message


def test_a_hash_in_base64_is_the_same_hash() -> None:
    plain = bytes(range(32))
    given = FILE | {"sha256": base64.b64encode(plain).decode()}
    update = inbound(text_message("wamid.IN", "") | {"type": "image", "image": given})
    assert update.media is not None
    assert update.media.sha256 == plain.hex()


def test_what_was_forwarded_says_so() -> None:
    message = text_message("wamid.IN", "oi") | {"context": {"frequently_forwarded": True}}
    assert inbound(message).forwarded
    assert not inbound(text_message("wamid.IN", "oi")).forwarded


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"object":"page","entry":[]}', RAW[:-1], b"\xff"])
def test_bytes_of_others_are_refused(raw: bytes) -> None:
    with pytest.raises(ValueError):
        parse(raw, phone_number_id=NUMBER)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
KEYS = st.sampled_from(["id", "from", "type", "text", "timestamp", "status", "errors", "context", "button", "body"])
ITEM = st.dictionaries(KEYS, st.sampled_from(["text", "button", "failed", "1749416383"]) | ANY)


@given(st.binary())
def test_arbitrary_bytes_raise_nothing_but_value_errors(raw: bytes) -> None:
    with pytest.raises(ValueError):
        parse(raw, phone_number_id=NUMBER)


@given(st.lists(ITEM | ANY, max_size=3), st.lists(ITEM | ANY, max_size=3), ANY)
def test_no_shape_of_an_update_raises_another_error(messages: object, statuses: object, odd: object) -> None:
    body = webhook_body({"messages": messages, "statuses": statuses, "contacts": odd})
    parse_or_refuse(body)
    parse_or_refuse(body | {"entry": odd})


def parse_or_refuse(body: Json) -> None:
    try:
        found = parse(json.dumps(body).encode(), phone_number_id=NUMBER)
    except ValueError:
        return
    assert all(update.provider_id for update in found)


@given(st.lists(st.sampled_from([*range(8)]), max_size=6))
def test_a_peek_sees_what_parse_finds(choices: list[int]) -> None:
    """What is seen decides which jobs read a body: a kind that is missed would never be read."""
    one, two = text_message("a", "x"), text_message("b", "x", sender="5511900000000")
    changes: list[tuple[str, Json]] = [
        ("messages", {"messages": [one]}),
        ("messages", {"messages": [two]}),
        ("messages", {"messages": [one, two], "statuses": [status("c", "sent")]}),
        ("messages", {"statuses": [status("c", "read")]}),
        ("messages", {"errors": [{"code": 1}]}),
        ("messages", {"messages": "junk"}),
        ("smb_message_echoes", {"message_echoes": [one | {"to": "5511911111111"}]}),
        ("account_update", {"event": "X"}),
    ]
    bodies = [webhook_body(value, field=field) for field, value in (changes[choice] for choice in choices)]
    raw = orjson.dumps({"object": "whatsapp_business_account", "entry": [e for b in bodies for e in b["entry"]]})
    seen, found = peek(raw, phone_number_id=NUMBER), peek_of(parse(raw, phone_number_id=NUMBER))
    assert (seen.receipts, seen.others) == (found.receipts, found.others)
    assert seen.chat in (found.chat, None) or 6 in choices  # echoes are in their contact's chat only when parsed
