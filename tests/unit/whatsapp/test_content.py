"""What a message may carry."""

from copy import deepcopy
from typing import Any

import pytest

from tests.support.kinds import KINDS, type_of
from zapd.errors import InvalidInput
from zapd.whatsapp.content import EVERYTHING, PAYLOADS, validate
from zapd.whatsapp.content.interactive import INTERACTIVE
from zapd.whatsapp.content.media import FILES, MIB, check_file
from zapd.whatsapp.transport import FEATURES

BODY = {"text": "Olá"}


def refused(type_: str, payload: object, capabilities: frozenset[str] = EVERYTHING, **more: bool) -> dict[str, str]:
    with pytest.raises(InvalidInput) as error:
        validate(type_, payload, capabilities, **more)
    return {field.field: field.rule for field in error.value.fields}


def changed(kind: str, path: str, value: object) -> Any:
    """A good payload with one value replaced."""
    payload: Any = deepcopy(KINDS[kind])
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    place = payload
    for step in steps:
        place = place[step]
    place[last] = value
    return payload


@pytest.mark.parametrize("kind", KINDS)
def test_good_payloads_pass(kind: str) -> None:
    validate(type_of(kind), KINDS[kind], EVERYTHING)


def test_every_kind_has_an_example() -> None:
    kinds = {*PAYLOADS, *(f"interactive.{kind}" for kind in INTERACTIVE)} - {"interactive"}
    assert set(KINDS) == kinds
    assert {"interactive", *kinds, *FEATURES} == EVERYTHING


EMOJI = ("❤️", "👍🏽", "🇧🇷", "1️⃣", "👩‍👩‍👧", "™", "ℹ️")


@pytest.mark.parametrize(
    ("type_", "payload"),
    [
        ("text", {"text": "see https://example.org", "preview_url": True}),
        ("text", {"text": "x" * 4096}),
        ("text", {"text": "@5511999998888 oi", "mentions": ["5511999998888", "11111@lid"]}),
        ("image", {"url": "https://example.org/a.jpg"}),
        ("reaction", {"message_id": "msg_1", "emoji": ""}),
        *(("reaction", {"message_id": "msg_1", "emoji": emoji}) for emoji in EMOJI),
        ("template", {"name": "hello", "language": "en", "components": []}),
        ("template", {"name": "hello", "language": {"code": "en", "policy": "deterministic"}, "components": []}),
        ("location", {"latitude": 0, "longitude": 180}),
    ],
)
def test_so_do_these(type_: str, payload: object) -> None:
    validate(type_, payload, EVERYTHING)


TOO_MANY_ROWS = [{"title": f"t{n}", "rows": [{"id": f"{n}{m}", "title": "x"} for m in range(6)]} for n in range(2)]
FOUR_BUTTONS = [{"type": "reply", "reply": {"id": str(n), "title": "x"}} for n in range(4)]


@pytest.mark.parametrize(
    ("type_", "payload", "field", "rule"),
    [
        ("text", {}, "text", "field required"),
        ("text", {"text": ""}, "text", "at least 1 character"),
        ("text", {"text": " \n"}, "text", "must not be blank"),
        ("text", {"text": 5}, "text", "valid string"),
        ("text", {"text": "x" * 4097}, "text", "at most 4096 characters"),
        ("text", {"text": "x", "txet": "y"}, "txet", "not permitted"),
        ("text", {"text": "x", "mentions": ["Ana"]}, "", "a phone number with its country code"),
        ("image", {}, "", "needs one of url and media_id"),
        ("image", {"url": "https://a.b/c", "media_id": "med_1"}, "", "needs one of url and media_id"),
        ("image", {"url": "ftp://a.b/c"}, "url", "https?"),
        ("image", {"media_id": "../x"}, "media_id", "med_"),
        ("image", changed("image", "caption", "x" * 1025), "caption", "at most 1024 characters"),
        ("audio", changed("audio", "caption", "x"), "caption", "not permitted"),
        ("document", changed("document", "filename", "../a"), "filename", "pattern"),
        ("location", changed("location", "latitude", 91), "latitude", "less than or equal to 90"),
        ("location", changed("location", "longitude", "-46"), "longitude", "valid number"),
        ("contacts", {"contacts": []}, "contacts", "at least 1 item"),
        ("contacts", changed("contacts", "contacts.0.name", {}), "contacts.0.name.formatted_name", "required"),
        ("reaction", {"message_id": "m"}, "emoji", "required"),
        ("reaction", {"message_id": "m", "emoji": "like"}, "emoji", "must be one emoji"),
        ("reaction", {"message_id": "m", "emoji": ":)"}, "emoji", "must be one emoji"),
        ("reaction", {"message_id": "m", "emoji": "olá"}, "emoji", "must be one emoji"),
        ("poll", changed("poll", "options", ["a"]), "options", "at least 2 items"),
        ("poll", changed("poll", "options", [str(n) for n in range(13)]), "options", "at most 12 items"),
        ("poll", changed("poll", "options", ["a", "a"]), "", "options must differ"),
        ("poll", changed("poll", "selectable", 3), "", "at most the number of options, 2"),
        ("interactive", changed("interactive.button", "action.buttons", FOUR_BUTTONS), "action.buttons", "at most 3"),
        ("interactive", changed("interactive.button", "action.buttons.0.reply.title", "x" * 21),
         "action.buttons.0.reply.title", "at most 20 characters"),
        ("interactive", changed("interactive.button", "action.buttons.0.reply.id", "no"), "action.buttons", "differ"),
        ("interactive", changed("interactive.button", "body.text", "x" * 1025), "body.text", "at most 1024"),
        ("interactive", changed("interactive.button", "header", {"type": "image", "text": "x"}), "header", "image"),
        ("interactive", changed("interactive.list", "action.sections", TOO_MANY_ROWS), "action.sections",
         "at most 10 rows in all sections together, not 12"),
        ("interactive", changed("interactive.list", "action.sections.0.rows.0.description", "x" * 73),
         "action.sections.0.rows.0.description", "at most 72"),
        ("interactive", changed("interactive.list", "body.text", "x" * 4097), "body.text", "at most 4096"),
        ("interactive", {"type": "carousel"}, "type", "this connection can send: button"),
        ("interactive", {}, "type", "this connection can send: button"),
        ("template", changed("template", "name", "Order OK"), "name", "pattern"),
        ("template", {"name": "a", "language": "pt_BR"}, "components", "required"),
        ("template", changed("template", "language", {"code": "x!"}), "language", "pattern"),
        ("template", changed("template", "language", {}), "language", "valid string"),
        ("template", changed("template", "components.0", {"type": "body"}), "components.0", "needs parameters, 1 or"),
        ("template", changed("template", "components.0.parameters", []), "components.0.parameters", "at least 1 item"),
        ("template", changed("template", "components.0.parameters.0", {"type": "text"}), "components.0.parameters.0",
         "needs text"),
        ("template", changed("template", "components.0.type", "button"), "components.0", "sub_type and index"),
        ("template", changed("template", "components", [1]), "components.0", "valid dictionary"),
    ],
)  # fmt: skip
def test_a_wrong_payload_names_field_rule_and_limit(type_: str, payload: object, field: str, rule: str) -> None:
    path = f"payload.{field}" if field else "payload"
    errors = refused(type_, payload)
    assert rule in errors.get(path, ""), errors


@pytest.mark.parametrize("payload", [["x"], None, 5, "x"])
@pytest.mark.parametrize("type_", PAYLOADS)
def test_what_is_no_object_is_refused(type_: str, payload: object) -> None:
    assert next(iter(refused(type_, payload))).startswith("payload")


def test_every_wrong_field_is_named_at_once() -> None:
    assert set(refused("template", {})) == {"payload.name", "payload.language", "payload.components"}


@pytest.mark.parametrize("type_", ["poll", "template", "interactive", "spam"])
def test_a_type_that_cannot_be_sent_names_those_that_can(type_: str) -> None:
    assert refused(type_, {"text": "x"}, frozenset({"text", "reply"})) == {"type": "this connection can send: text"}


def test_an_interactive_kind_is_a_capability_of_its_own() -> None:
    can = frozenset({"interactive", "interactive.list"})
    validate("interactive", KINDS["interactive.list"], can)
    assert refused("interactive", KINDS["interactive.button"], can) == {
        "payload.type": "this connection can send: list"
    }


def test_quoting_and_mentioning_are_capabilities_too() -> None:
    text = frozenset({"text"})
    assert set(refused("text", BODY, text, replies=True)) == {"reply_to"}
    assert set(refused("text", BODY | {"mentions": ["5511999998888"]}, text)) == {"payload.mentions"}
    assert set(refused("revoke", {"message_id": "m"}, replies=True)) == {"reply_to"}


@pytest.mark.parametrize("kind", FILES)
def test_a_file_is_checked_by_type_and_size(kind: str) -> None:
    rule = FILES[kind]
    mime = min(rule.mimes, default="application/zip")
    check_file(kind, mime=mime, size=rule.max_bytes, field="payload.url")
    for size, word in ((rule.max_bytes + 1, f"at most {rule.max_bytes}"), (0, "is empty")):
        with pytest.raises(InvalidInput) as error:
            check_file(kind, mime=mime, size=size, field="payload.url")
        assert word in error.value.fields[0].rule
    if rule.mimes:
        with pytest.raises(InvalidInput, match=r"payload\.url: is text/html"):
            check_file(kind, mime="text/html", size=10, field="payload.url")


def test_a_voice_note_is_ogg_and_a_still_sticker_is_small() -> None:
    with pytest.raises(InvalidInput, match="a voice note takes audio/ogg"):
        check_file("audio", mime="audio/mpeg", size=10, field="payload.url", voice=True)
    with pytest.raises(InvalidInput, match="at most 102400"):
        check_file("sticker", mime="image/webp", size=MIB // 4, field="payload.url", moves=False)
