"""Z-API's transport against a fake server: what each kind becomes on the wire, pairing, trouble of the line."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from tests.support import FakeClock, eventually
from tests.support.fake_zapi import CONFIG, INSTANCE, TOKEN, FakeZapi, content_of
from tests.support.kinds import KINDS, TARGET, files_of, type_of
from tests.support.whatsapp import Upside, a_connection, a_message
from zapd.errors import InvalidInput
from zapd.model.session import SessionState, TransportName
from zapd.whatsapp.content import ABOUT
from zapd.whatsapp.transport import (
    Enclosed,
    MediaFile,
    NotConnected,
    PauseNewContacts,
    PauseSession,
    Permanent,
    RemoteMedia,
    RetryAt,
    UnknownOutcome,
)
from zapd.whatsapp.zapi import ZapiConfig, ZapiTransport

S = SessionState


async def fetch(url: str) -> AsyncIterator[bytes]:
    yield url.encode()


class Rig:
    def __init__(self, zapi: FakeZapi, http: aiohttp.ClientSession, **changes: Any) -> None:
        self.zapi = zapi
        self.upside = Upside()
        self.transport = ZapiTransport(
            connection=a_connection(transport=TransportName.ZAPI, config=CONFIG),
            http=http,
            fetch=fetch,
            now_ms=FakeClock().now_ms,
            **{"base_url": zapi.url, "poll": 0.01, "qr_life": 0.03, **changes},
        )

    async def start(self) -> None:
        await self.transport.start(on_state=self.upside.on_state, on_raw=self.upside.on_raw)

    async def connect(self) -> None:
        await self.start()
        await eventually(lambda: S.CONNECTED in self.upside.states)

    async def told(self) -> tuple[SessionState, str | None]:
        await eventually(lambda: self.upside.states)
        return self.upside.changes[-1].state, self.upside.changes[-1].reason

    async def operation(self, kind: str, where: Path, **more: Any) -> tuple[str, dict[str, Any]]:
        """What the wire carries for one of `KINDS`."""
        enclosed = Enclosed(target=TARGET if kind in ABOUT else None, media=files_of(kind, where))
        await self.transport.send(a_message(type=type_of(kind), payload=orjson.dumps(KINDS[kind]), **more), enclosed)
        return self.zapi.sent[-1]


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with FakeZapi() as zapi, aiohttp.ClientSession() as http:
        built = Rig(zapi, http)
        yield built
        await built.transport.stop()


@pytest.fixture
async def patient() -> AsyncIterator[Rig]:
    """Its codes live so long that a busy machine can use one in time."""
    async with FakeZapi() as zapi, aiohttp.ClientSession() as http:
        built = Rig(zapi, http, qr_life=1.0)
        yield built
        await built.transport.stop()


@pytest.fixture
async def up(rig: Rig) -> Rig:
    await rig.connect()
    return rig


PHONE = {"phone": "5511999998888"}


@pytest.mark.parametrize(
    ("kind", "operation", "body"),
    [
        ("text", "send-text", {"message": "Olá"}),
        (
            "location",
            "send-location",
            {"title": "Office", "address": "Av. Paulista, 1", "latitude": "-23.5", "longitude": "-46.6"},
        ),
        ("contacts", "send-contact", {"contactName": "Ana Souza", "contactPhone": "5511988887777"}),
        ("reaction", "send-reaction", {"reaction": "❤", "messageId": TARGET.provider_id}),
        (
            "poll",
            "send-poll",
            {"message": "When?", "poll": [{"name": "Today"}, {"name": "Tomorrow"}], "pollMaxOptions": 1},
        ),
        ("forward", "forward-message", {"messageId": TARGET.provider_id, "messagePhone": "5511999998888"}),
        ("edit", "send-text", {"message": "Oi", "editMessageId": TARGET.provider_id}),
        (
            "interactive.button",
            "send-button-list",
            {
                "message": "Confirm?\n\nzapd",
                "buttonList": {"buttons": [{"id": "yes", "label": "Yes"}, {"id": "no", "label": "No"}]},
            },
        ),
        (
            "interactive.list",
            "send-option-list",
            {
                "message": "Choose",
                "optionList": {
                    "title": "Menu",
                    "buttonLabel": "Open",
                    "options": [{"id": "fin", "title": "Finance", "description": "bills"}],
                },
            },
        ),
        (
            "interactive.cta_url",
            "send-button-actions",
            {
                "message": "See it",
                "buttonActions": [{"id": "1", "type": "URL", "label": "Open", "url": "https://example.org/a"}],
            },
        ),
    ],
)
async def test_each_kind_has_its_operation(
    up: Rig, kind: str, operation: str, body: dict[str, Any], tmp_path: Path
) -> None:
    assert await up.operation(kind, tmp_path) == (operation, PHONE | body)


@pytest.mark.parametrize(
    ("kind", "operation", "field"),
    [
        ("image", "send-image", "image"),
        ("video", "send-video", "video"),
        ("audio", "send-audio", "audio"),
        ("document", "send-document/pdf", "document"),
        ("sticker", "send-sticker", "sticker"),
    ],
)
async def test_a_file_goes_inside_the_body(up: Rig, kind: str, operation: str, field: str, tmp_path: Path) -> None:
    name, body = await up.operation(kind, tmp_path)
    (file,) = files_of(kind, tmp_path).values()
    assert name == operation
    assert content_of(body.pop(field)) == (file.mime, file.path.read_bytes())
    caption = KINDS[kind].get("caption")
    assert body.get("caption") == caption


async def test_a_large_file_is_written_piece_by_piece(up: Rig, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(bytes(range(256)) * 4000 + b"!")
    file = MediaFile(id="med_1", path=path, mime="video/mp4", size=path.stat().st_size, sha256="")
    message = a_message(type="video", payload=orjson.dumps({"media_id": "med_1", "caption": 'a "quoted" file:'}))
    await up.transport.send(message, Enclosed(media={"med_1": file}))
    _, body = up.zapi.sent[-1]
    assert content_of(body["video"])[1] == path.read_bytes()
    assert body["caption"] == 'a "quoted" file:'


async def test_a_file_that_is_gone_is_permanent(up: Rig) -> None:
    with pytest.raises(Permanent, match="media_gone"):
        await up.transport.send(a_message(type="image", payload=orjson.dumps(KINDS["image"])))


async def test_taking_a_reaction_away_and_revoking_are_operations_of_their_own(up: Rig, tmp_path: Path) -> None:
    gone = a_message(type="reaction", payload=orjson.dumps({"message_id": "x", "emoji": ""}))
    await up.transport.send(gone, Enclosed(target=TARGET))
    assert up.zapi.sent[-1] == ("send-remove-reaction", PHONE | {"messageId": TARGET.provider_id})
    operation, query = await up.operation("revoke", tmp_path)
    assert (operation, query) == ("messages", PHONE | {"messageId": TARGET.provider_id, "owner": "true"})


async def test_a_quote_names_its_message(up: Rig) -> None:
    await up.transport.send(a_message(reply_to="msg_0"), Enclosed(target=TARGET))
    assert up.zapi.sent[-1][1]["messageId"] == TARGET.provider_id


@pytest.mark.parametrize(
    ("peer", "phone"),
    [
        ("120363025@g.us", "120363025-group"),
        ("5511-162@g.us", "5511-162"),
        ("8189@lid", "8189@lid"),
        ("1@newsletter", "1@newsletter"),
    ],
)
async def test_groups_and_hidden_numbers_are_spelt_as_zapi_does(up: Rig, peer: str, phone: str) -> None:
    await up.transport.send(a_message(peer=peer))
    assert up.zapi.sent[-1][1]["phone"] == phone


async def test_a_business_scoped_id_is_permanent(up: Rig) -> None:
    with pytest.raises(Permanent, match="unsupported_recipient"):
        await up.transport.send(a_message(peer="BR.15025763946558"))


async def test_zapd_keeps_the_queue_and_sets_the_webhooks() -> None:
    async with FakeZapi() as zapi, aiohttp.ClientSession() as http:
        rig = Rig(zapi, http, hook_url="https://zapd.example.com/hooks/zapi/con_1/secret")
        await rig.connect()
        await rig.transport.stop()
        assert zapi.settings == {"disableEnqueueWhenDisconnected": True}
        assert zapi.hook_url == "https://zapd.example.com/hooks/zapi/con_1/secret"


@pytest.mark.parametrize(
    ("said", "kind"),
    [("Error on send message", RetryAt), ("likely shadow ban", PauseNewContacts), ("null not allowed", PauseSession)],
)
async def test_an_error_in_a_good_answer_is_an_error(up: Rig, said: str, kind: type[Exception]) -> None:
    up.zapi.answer({"error": said}, 200)
    with pytest.raises(kind):
        await up.transport.send(a_message())


@pytest.mark.parametrize("answer", [b"<html>", b"{}", b"null", b"[]"])
async def test_a_good_answer_without_an_id_is_an_unknown_outcome(up: Rig, answer: bytes) -> None:
    up.zapi.answer(answer)
    with pytest.raises(UnknownOutcome):
        await up.transport.send(a_message())


async def test_no_secret_is_in_an_error(up: Rig) -> None:
    up.zapi.lose_answers()
    with pytest.raises(UnknownOutcome) as lost:
        await up.transport.send(a_message())
    await up.zapi._runner.cleanup()
    with pytest.raises(RetryAt) as away:
        await up.transport.send(a_message())
    for error in (lost.value, away.value):
        assert TOKEN not in f"{error!r} {error.__cause__!r}"
        assert error.__suppress_context__


async def test_an_instance_that_lost_its_phone_ends_the_connection(up: Rig) -> None:
    up.zapi.connected = False
    with pytest.raises(NotConnected):
        await up.transport.send(a_message())
    assert (await up.told()) == (S.RECONNECTING, "disconnected")
    assert up.zapi.sent == []


async def test_a_code_is_shown_until_it_was_scanned(patient: Rig) -> None:
    patient.zapi.connected = False
    await patient.start()
    await eventually(lambda: len(patient.upside.codes) >= 2)
    patient.zapi.connected = True
    await eventually(lambda: patient.upside.states == [S.QR_PENDING, S.CONNECTED])
    assert len({code.text for code in patient.upside.codes}) == len(patient.upside.codes)


async def test_after_three_codes_that_nobody_scanned_it_stops_asking(rig: Rig) -> None:
    rig.zapi.connected = False
    await rig.start()
    await eventually(lambda: rig.upside.states == [S.QR_PENDING, S.FAILED])
    assert (await rig.told())[1] == "qr_timeout"
    assert len(rig.upside.codes) <= 4


async def test_a_code_to_type_gives_more_time(patient: Rig) -> None:
    patient.zapi.connected = False
    await patient.start()
    await eventually(lambda: patient.upside.codes)
    await patient.transport.pair(phone="5511999998888")
    typed = [code for code in patient.upside.codes if code.typed]
    assert [code.text for code in typed] == ["ABCD-1234"]
    await eventually(lambda: len(patient.upside.codes) >= 6, within=30)  # by far more than the three to scan
    patient.zapi.connected = True
    await eventually(lambda: patient.upside.states[-1] is S.CONNECTED)


async def test_logout_unlinks_the_phone(up: Rig) -> None:
    await up.transport.logout()
    assert ("GET", "disconnect") in up.zapi.calls


@pytest.mark.parametrize(
    ("body", "http", "state", "reason"),
    [
        ({"error": "null not allowed"}, 403, S.PAUSED, "auth_failed"),
        ({"error": "Instance not found"}, 400, S.PAUSED, "instance_not_found"),
        ({"error": "Unavailable"}, 503, S.RECONNECTING, "503"),
        (b"<html>", 200, S.RECONNECTING, "answer_without_state"),
        ({"error": "what is this"}, 400, S.FAILED, "refused: what is this"),
    ],
)
async def test_a_start_that_fails_says_why(rig: Rig, body: Any, http: int, state: SessionState, reason: str) -> None:
    rig.zapi.answer(body, http, probe=True)
    await rig.start()
    assert await rig.told() == (state, reason)


async def test_a_probe_sees_a_line_that_went_down_without_a_word(up: Rig) -> None:
    assert (await up.transport.health()).alive
    up.zapi.connected = False
    health = await up.transport.health()
    assert (health.alive, health.detail) == (False, "disconnected")


async def test_numbers_are_resolved_as_whatsapp_spells_them(up: Rig) -> None:
    up.zapi.numbers["551187654321"] = "551187654321"
    found = await up.transport.resolve_number(["5511987654321", "551187654321"])
    assert found
    assert found.peer == "551187654321"
    assert await up.transport.resolve_number(["5511900000000"]) is None


async def test_an_answer_without_numbers_is_not_taken_for_a_no(up: Rig) -> None:
    up.zapi.lookup_answer = {"value": True}
    with pytest.raises(UnknownOutcome):
        await up.transport.resolve_number(["5511987654321"])


async def test_a_file_is_fetched_from_where_it_is(up: Rig) -> None:
    media = RemoteMedia(reference=b'{"url":"https://z/a"}')
    assert [piece async for piece in up.transport.download(media)] == [b"https://z/a"]


@pytest.mark.parametrize("key", ["instance_id", "instance_token", "client_token"])
def test_wrong_settings_are_named_without_their_values(key: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        ZapiConfig.read(orjson.dumps({**CONFIG, key: "a b/…"}))
    assert [field.field for field in refused.value.fields] == [f"config.{key}"]
    assert "a b" not in str(refused.value)
    assert INSTANCE in repr(ZapiConfig.read(orjson.dumps(CONFIG)))
    assert TOKEN not in repr(ZapiConfig.read(orjson.dumps(CONFIG)))
