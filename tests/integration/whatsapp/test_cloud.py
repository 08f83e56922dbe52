"""The Cloud API transport against a server that speaks it, over real HTTP."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import aiohttp
import orjson
import pytest

from tests.support import FakeClock, eventually
from tests.support.fake_meta import CONFIG, FakeMeta
from tests.support.kinds import CONTENTS, KINDS, MEDIA, TARGET, files_of, type_of
from tests.support.whatsapp import MemoryUploads, Upside, a_connection, a_message
from zapd.errors import InvalidInput
from zapd.model.session import SessionState, TransportName
from zapd.whatsapp.cloud import CloudConfig, CloudTransport
from zapd.whatsapp.transport import (
    Enclosed,
    NotConnected,
    PauseNewContacts,
    PauseSession,
    Permanent,
    RemoteMedia,
    RetryAt,
    UnknownOutcome,
)

S = SessionState


@pytest.fixture
async def meta() -> AsyncIterator[FakeMeta]:
    async with FakeMeta() as meta:
        yield meta


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as http:
        yield http


Make = Callable[..., CloudTransport]


@pytest.fixture
def make(meta: FakeMeta, http: aiohttp.ClientSession) -> Make:
    def build(
        base_url: str | None = None,
        timeout: float = 20.0,
        http: aiohttp.ClientSession = http,
        **config: object,
    ) -> CloudTransport:
        return CloudTransport(
            connection=a_connection(transport=TransportName.CLOUD, config=CONFIG | config),
            http=http,
            uploads=MemoryUploads(),
            now_ms=FakeClock().now_ms,
            random=lambda: 0.0,
            base_url=base_url or meta.url,
            timeout=timeout,
            connect_timeout=20.0,
        )

    return build


async def connect(transport: CloudTransport) -> Upside:
    upside = Upside()
    await transport.start(on_state=upside.on_state, on_raw=upside.on_raw)
    await eventually(lambda: upside.states)
    return upside


@pytest.fixture
async def transport(make: Make) -> AsyncIterator[CloudTransport]:
    transport = make()
    await connect(transport)
    yield transport
    await transport.stop()


@pytest.fixture
def closed_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


async def test_a_text_is_sent_as_meta_wants_it(meta: FakeMeta, transport: CloudTransport) -> None:
    result = await transport.send(a_message(text="Olá"), Enclosed(target=replace(TARGET, provider_id="wamid.AAA")))
    assert (result.provider_id, result.peer) == ("wamid.1", "5511999998888")
    assert meta.accepted == [
        {
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": "+5511999998888",
            "type": "text",
            "text": {"body": "Olá", "preview_url": False},
            "context": {"message_id": "wamid.AAA"},
            "biz_opaque_callback_data": "zapd:msg_1",
        }
    ]


@pytest.mark.parametrize("language", ["pt_BR", {"code": "pt_BR"}])
async def test_a_template_is_sent_as_meta_wants_it(meta: FakeMeta, transport: CloudTransport, language: object) -> None:
    components = [{"type": "body", "parameters": [{"type": "text", "text": "Ana"}]}]
    payload = {"name": "order_ok", "language": language, "components": components}
    await transport.send(a_message(type="template", payload=orjson.dumps(payload)))
    assert meta.accepted[0]["template"] == {
        "name": "order_ok",
        "language": {"code": "pt_BR"},
        "components": components,
    }


async def test_a_user_without_a_number_is_reached_by_the_business_scoped_id(
    meta: FakeMeta, transport: CloudTransport
) -> None:
    await transport.send(a_message(peer="BR.15"))
    assert "to" not in meta.accepted[0]
    assert meta.accepted[0]["recipient"] == "BR.15"


async def test_a_group_is_refused_before_anything_leaves(meta: FakeMeta, transport: CloudTransport) -> None:
    with pytest.raises(Permanent):
        await transport.send(a_message(peer="120363041234567890@g.us"))
    assert not meta.accepted


async def test_a_lost_answer_is_an_unknown_outcome(meta: FakeMeta, transport: CloudTransport) -> None:
    meta.lose_answers()
    with pytest.raises(UnknownOutcome):
        await transport.send(a_message())
    assert len(meta.accepted) == 1


async def test_no_answer_in_time_is_an_unknown_outcome(meta: FakeMeta, make: Make) -> None:
    transport = make(timeout=3.0)
    await connect(transport)
    meta.hang(60)
    with pytest.raises(UnknownOutcome):
        await transport.send(a_message())
    assert len(meta.accepted) == 1
    await transport.stop()


@pytest.mark.parametrize("body", [b"", b"{}", b'{"messages":[]}', b"<html>"])
async def test_an_answer_without_an_id_is_an_unknown_outcome(
    meta: FakeMeta, transport: CloudTransport, body: bytes
) -> None:
    meta.answer(200, body)
    with pytest.raises(UnknownOutcome):
        await transport.send(a_message())


async def test_a_refused_connection_wrote_nothing(meta: FakeMeta, make: Make) -> None:
    # A pooled connection that dies under a send is an unknown outcome, so none is kept here.
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
        transport = make(http=http)
        await connect(transport)
        await meta.go_away()
        with pytest.raises(RetryAt) as refused:
            await transport.send(a_message())
        await transport.stop()
    assert (refused.value.code, refused.value.wait) == ("unreachable", None)


async def test_the_throughput_limit_slows_the_whole_number(meta: FakeMeta, transport: CloudTransport) -> None:
    meta.refuse(130429, 429, times=2)
    waits = []
    for _ in range(2):
        with pytest.raises(RetryAt) as limited:
            await transport.send(a_message())
        assert limited.value.whole_session
        waits.append(limited.value.wait)
    assert waits == [1, 2]
    await transport.send(a_message())


async def test_retry_after_is_honoured(meta: FakeMeta, transport: CloudTransport) -> None:
    meta.refuse(130429, 429, retry_after=17)
    with pytest.raises(RetryAt) as limited:
        await transport.send(a_message())
    assert limited.value.wait == 17


async def test_the_pair_limit_slows_one_recipient(meta: FakeMeta, transport: CloudTransport) -> None:
    meta.refuse(131056, times=2)
    for wait in (1, 4):
        with pytest.raises(RetryAt) as limited:
            await transport.send(a_message())
        assert (limited.value.wait, limited.value.whole_session) == (wait, False)
    await transport.send(a_message(peer="5511911112222"))


async def test_a_dead_token_pauses_the_session(meta: FakeMeta, transport: CloudTransport) -> None:
    meta.refuse(190, 401)
    with pytest.raises(PauseSession) as dead:
        await transport.send(a_message())
    assert (dead.value.state, dead.value.code) == (S.PAUSED, "auth_failed")


async def test_a_closed_window_is_permanent(meta: FakeMeta, transport: CloudTransport) -> None:
    meta.refuse(131047)
    with pytest.raises(Permanent) as closed:
        await transport.send(a_message())
    assert closed.value.code == "131047"


async def test_a_spam_limit_stops_only_new_contacts(meta: FakeMeta, transport: CloudTransport) -> None:
    meta.refuse(131048)
    with pytest.raises(PauseNewContacts):
        await transport.send(a_message())


@pytest.mark.parametrize("body", [b"<html>Bad gateway", b"", b"\xff\xfe", b"x" * 300_000])
async def test_a_server_error_with_any_body_can_be_tried_again(
    meta: FakeMeta, transport: CloudTransport, body: bytes
) -> None:
    meta.answer(502, body)
    with pytest.raises(RetryAt) as failed:
        await transport.send(a_message())
    assert (failed.value.code, failed.value.wait) == ("502", None)


async def test_a_working_number_is_connected(make: Make) -> None:
    transport = make()
    assert (await connect(transport)).states == [S.CONNECTED]
    await transport.stop()


async def test_a_wrong_token_pauses_at_the_start(make: Make) -> None:
    transport = make(access_token="old")
    upside = await connect(transport)
    assert [(c.state, c.reason) for c in upside.changes] == [(S.PAUSED, "auth_failed")]
    with pytest.raises(NotConnected):
        await transport.send(a_message())


async def test_a_wrong_number_fails_at_the_start(make: Make) -> None:
    upside = await connect(make(phone_number_id="404"))
    assert [(c.state, c.reason) for c in upside.changes] == [(S.FAILED, "refused_100")]


async def test_a_provider_that_is_away_at_the_start_is_tried_again(
    meta: FakeMeta, make: Make, closed_port: str
) -> None:
    assert (await connect(make(base_url=closed_port))).states == [S.RECONNECTING]
    meta.answer(503, b"", probe=True)
    assert (await connect(make())).states == [S.RECONNECTING]


@pytest.mark.parametrize("missing", ["phone_number_id", "access_token", "app_secret", "verify_token"])
def test_settings_that_are_missing_are_named(missing: str) -> None:
    config = {key: value for key, value in CONFIG.items() if key != missing}
    with pytest.raises(InvalidInput) as refused:
        CloudConfig.read(orjson.dumps(config))
    assert [f.field for f in refused.value.fields] == [f"config.{missing}"]


def test_settings_name_no_secret_when_wrong_or_printed() -> None:
    with pytest.raises(InvalidInput) as refused:
        CloudConfig.read(orjson.dumps(CONFIG | {"access_token": "sec ret", "phone_number_id": "../me"}))
    assert "sec ret" not in str(refused.value)
    assert "EAAtoken" not in repr(CloudConfig.read(orjson.dumps(CONFIG)))


def test_ids_of_a_test_server_need_not_be_digits() -> None:
    config = CloudConfig.read(orjson.dumps(CONFIG | {"phone_number_id": "pn_1", "waba_id": "WABA"}))
    assert (config.phone_number_id, config.waba_id) == ("pn_1", "WABA")


async def test_many_sends_at_once_each_get_their_own_answer(meta: FakeMeta, transport: CloudTransport) -> None:
    results = await asyncio.gather(*(transport.send(a_message(f"msg_{n}", peer=f"55119999{n:05}")) for n in range(50)))
    assert len({result.provider_id for result in results}) == 50


# --- kinds, files, read and typing ---


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        ("image", {"id": "1001", "caption": "a cat"}),
        ("audio", {"id": "1001", "voice": True}),
        ("document", {"id": "1001", "filename": "a.pdf", "caption": "the bill"}),
        ("sticker", {"id": "1001"}),
        ("location", KINDS["location"]),
        ("contacts", KINDS["contacts"]["contacts"]),
        ("reaction", {"message_id": "wamid.TARGET", "emoji": "❤"}),
        ("interactive.button", KINDS["interactive.button"]),
        ("interactive.list", KINDS["interactive.list"]),
    ],
)
async def test_each_kind_is_sent_as_meta_wants_it(
    meta: FakeMeta, transport: CloudTransport, tmp_path: Path, kind: str, part: object
) -> None:
    message = a_message(type=type_of(kind), payload=orjson.dumps(KINDS[kind]))
    await transport.send(message, Enclosed(target=TARGET, media=files_of(kind, tmp_path)))
    (body,) = meta.accepted
    assert (body["type"], body[body["type"]]) == (type_of(kind), part)
    assert ("context" in body) == (kind != "reaction")


async def test_files_in_headers_and_templates_become_ids(
    meta: FakeMeta, transport: CloudTransport, tmp_path: Path
) -> None:
    held = {"media_id": MEDIA, "url": "https://example.org/a.jpg"}
    parameter = {"type": "image", "image": dict(held)}
    template = {"name": "x", "language": "en", "components": [{"type": "header", "parameters": [parameter]}]}
    button = KINDS["interactive.button"] | {"header": {"type": "image", "image": dict(held)}}
    files = files_of("image", tmp_path)
    await transport.send(a_message(type="template", payload=orjson.dumps(template)), Enclosed(media=files))
    await transport.send(a_message(type="interactive", payload=orjson.dumps(button)), Enclosed(media=files))
    first, second = meta.accepted
    assert first["template"]["components"][0]["parameters"][0] == {"type": "image", "image": {"id": "1001"}}
    assert second["interactive"]["header"] == {"type": "image", "image": {"id": "1001"}}


async def test_a_file_is_uploaded_once_also_by_many_at_once(
    meta: FakeMeta, transport: CloudTransport, tmp_path: Path
) -> None:
    message = a_message(type="image", payload=orjson.dumps(KINDS["image"]))
    files = files_of("image", tmp_path)
    sends = [transport.send(replace(message, id=f"msg_{n}"), Enclosed(media=files)) for n in range(10)]
    await asyncio.gather(*sends)
    assert (len(meta.accepted), meta.uploads) == (10, 1)
    assert meta.files["1001"] == CONTENTS["image"]


@pytest.mark.parametrize(("status", "code", "error"), [(500, 131000, RetryAt), (400, 131053, Permanent)])
async def test_an_upload_that_fails_sends_nothing(
    meta: FakeMeta, transport: CloudTransport, tmp_path: Path, status: int, code: int, error: type[Exception]
) -> None:
    meta.lose_files(code, status)
    message = a_message(type="image", payload=orjson.dumps(KINDS["image"]))
    with pytest.raises(error):
        await transport.send(message, Enclosed(media=files_of("image", tmp_path)))
    assert meta.accepted == []
    await transport.send(message, Enclosed(media=files_of("image", tmp_path)))


async def test_what_a_contact_sent_is_downloaded_with_the_token(meta: FakeMeta, transport: CloudTransport) -> None:
    meta.hold("MID", b"\xff\xd8\xff" * 100_000)
    remote = RemoteMedia(reference=b'{"id":"MID"}')
    assert b"".join([chunk async for chunk in transport.download(remote)]) == b"\xff\xd8\xff" * 100_000
    meta.lose_files(100, 404)
    with pytest.raises(Permanent):
        _ = [chunk async for chunk in transport.download(remote)]


async def test_reading_and_typing_name_the_message(meta: FakeMeta, transport: CloudTransport) -> None:
    await transport.mark_read(TARGET)
    await transport.typing(TARGET.peer, last=TARGET)
    read = {"messaging_product": "whatsapp", "status": "read", "message_id": TARGET.provider_id}
    assert meta.read == [read, read | {"typing_indicator": {"type": "text"}}]
    with pytest.raises(Permanent, match="nothing_to_answer"):
        await transport.typing(TARGET.peer, last=None)
