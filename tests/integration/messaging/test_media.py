"""Files of messages: fetched and checked at accept, found at send."""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from tests.integration.messaging.world import World
from tests.support.kinds import CONTENTS
from tests.support.receiver import Receiver, Reply
from zapd.errors import Conflict, InvalidInput
from zapd.jobs.job import Done, Retry
from zapd.messaging.submit import Submitted
from zapd.model.media import Media

MIME, JPEG = CONTENTS["image"]


@pytest.fixture(autouse=True)
async def _connection(world: World) -> None:
    await world.connect()


@pytest.fixture
async def site() -> AsyncIterator[Receiver]:
    async with Receiver() as site:
        site.reply = Reply(200, JPEG, {"Content-Type": MIME})
        yield site


async def chunks(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def uploaded(world: World, kind: str = "image", content: bytes | None = None) -> Media:
    mime, good = CONTENTS[kind]
    return await world.library.upload(
        "default", chunks(good if content is None else content), mime=mime, filename="a.bin"
    )


async def send(world: World, type_: str = "image", **payload: Any) -> Submitted:
    return await world.submit(type=type_, payload=orjson.dumps(payload))


async def refused(world: World, type_: str, **payload: Any) -> str:
    with pytest.raises(InvalidInput) as error:
        await send(world, type_, **payload)
    assert await world.jobs("message:send") == []
    return str(error.value)


# --- by URL ---


async def test_a_file_is_fetched_when_its_message_is_accepted(world: World, site: Receiver) -> None:
    submitted = await send(world, url=f"{site.url}/cat.jpg", caption="a cat")
    site.reply = Reply(404)  # the site may go away: zapd has the file

    message = await world.message(submitted.id)
    payload = orjson.loads(message.payload)
    assert (payload["url"], payload["caption"]) == (f"{site.url}/cat.jpg", "a cat")
    assert await world.run(await world.job(submitted)) == Done()
    file = world.wire.enclosed[-1].media[payload["media_id"]]
    assert (file.path.read_bytes(), file.mime, file.size, file.filename) == (JPEG, MIME, len(JPEG), "cat.jpg")


async def test_many_messages_with_one_url_fetch_it_once(world: World, site: Receiver) -> None:
    await asyncio.gather(*(send(world, url=f"{site.url}/cat.jpg") for _ in range(20)))
    assert len(site.received) == 1


async def test_a_url_whose_file_was_deleted_is_fetched_anew(world: World, site: Receiver) -> None:
    first = await world.message((await send(world, url=f"{site.url}/cat.jpg")).id)
    item = await world.media.get("default", orjson.loads(first.payload)["media_id"])
    assert item is not None
    with pytest.raises(Conflict, match="a message that waits needs it"):
        await world.library.delete(item)
    await world.messaging.cancel("default", first.id)
    await world.library.delete(item)
    again = await world.message((await send(world, url=f"{site.url}/cat.jpg")).id)
    assert orjson.loads(again.payload)["media_id"] != item.id
    assert len(site.received) == 2


async def test_a_content_goes_with_the_last_file_that_has_it(world: World) -> None:
    first, second = await uploaded(world), await uploaded(world)
    assert first.sha256 is not None
    path = world.files.path(first.sha256)
    os.utime(path, (1, 1))
    await world.library.delete(first)
    assert path.exists()
    await world.library.delete(second)
    assert not path.exists()


async def test_a_content_that_came_a_moment_ago_stays_for_whoever_brings_it_now(world: World) -> None:
    item = await uploaded(world)
    await world.library.delete(item)
    assert item.sha256 is not None
    assert world.files.path(item.sha256).exists()
    assert await world.media.get("default", item.id) is None


async def test_a_fetch_that_failed_is_tried_again(world: World, site: Receiver) -> None:
    site.script.append(Reply(503))
    assert "answers with HTTP 503" in await refused(world, "image", url=f"{site.url}/cat.jpg")
    await send(world, url=f"{site.url}/cat.jpg")


@pytest.mark.parametrize(
    ("reply", "rule"),
    [
        (
            Reply(200, b"<!DOCTYPE html>", {"Content-Type": "image/jpeg"}),
            "payload.url: answers an HTML page",
        ),
        (Reply(200, JPEG, {"Content-Type": "text/html; charset=utf-8"}), "payload.url: answers an HTML page"),
        (Reply(404, b"no"), "payload.url: answers with HTTP 404"),
        (Reply(200, b""), "payload.url: answers an empty file"),
        (Reply(200, b"%PDF-1.7", {"Content-Type": "image/jpeg"}), "payload.url: is application/pdf; type image takes"),
        (Reply(200, JPEG + bytes(1024 * 1024)), "payload.url: the file is larger than 1048576 bytes"),
        (Reply(302, b"", {"Location": "http://10.0.0.1/x"}), "the host's address is refused: a private network"),
        (Reply(302, b"", {"Location": "/loop"}), "redirects more than 3 times"),
        (Reply(302, b"", {"Location": "file:///etc/passwd"}), "must begin with https:// or http://"),
    ],
    ids=["html", "declared-html", "404", "empty", "other-type", "too-large", "to-private", "loop", "to-file"],
)
async def test_what_a_url_may_not_answer(world: World, site: Receiver, reply: Reply, rule: str) -> None:
    site.reply = reply
    assert rule in await refused(world, "image", url=f"{site.url}/cat.jpg")


@pytest.mark.parametrize(
    "url",
    ["http://10.0.0.1/a.jpg", "http://169.254.169.254/latest", "http://[fd00::1]/a.jpg", "http://2130706433/a.jpg",
     "http://user:pw@example.org/a.jpg", "http://192.168.1.1:8080/x"],
)  # fmt: skip
async def test_a_private_url_is_refused_without_a_request(world: World, url: str) -> None:
    assert "payload.url: " in await refused(world, "image", url=url)


async def test_a_redirect_is_followed(world: World, site: Receiver) -> None:
    site.script.append(Reply(302, b"", {"Location": "/real.jpg"}))
    await send(world, url=f"{site.url}/cat.jpg")
    assert [received.path for received in site.received] == ["/hook/cat.jpg", "/real.jpg"]


# --- by id ---


@pytest.mark.parametrize("kind", CONTENTS)
async def test_an_uploaded_file_is_sent(world: World, kind: str) -> None:
    item = await uploaded(world, kind)
    submitted = await send(world, kind, media_id=item.id)
    assert await world.run(await world.job(submitted)) == Done()
    assert list(world.wire.enclosed[-1].media) == [item.id]
    assert await world.media.of_message("default", submitted.id) == [item.id]


async def test_files_in_headers_and_templates_are_found_too(world: World, site: Receiver) -> None:
    item = await uploaded(world)
    parameter = {"type": "image", "image": {"url": f"{site.url}/cat.jpg"}}
    template = {"name": "x", "language": "en", "components": [{"type": "header", "parameters": [parameter]}]}
    button = {"type": "reply", "reply": {"id": "1", "title": "1"}}
    interactive = {
        "type": "button",
        "header": {"type": "image", "image": {"media_id": item.id}},
        "body": {"text": "x"},
        "action": {"buttons": [button]},
    }
    for type_, payload in (("template", template), ("interactive", interactive)):
        submitted = await send(world, type_, **payload)
        await world.run(await world.job(submitted))
        (file,) = world.wire.enclosed[-1].media.values()
        assert file.path.read_bytes() == JPEG


async def test_what_a_file_may_not_be(world: World) -> None:
    pdf, ogg = await uploaded(world, "document"), CONTENTS["audio"][1]
    stereo = await uploaded(world, "audio", ogg.replace(b"OpusHead\x01\x01", b"OpusHead\x01\x02"))
    sticker = await uploaded(world, "sticker", CONTENTS["sticker"][1] + bytes(200 * 1024))
    assert "payload.media_id: there is no file med_x" in await refused(world, "image", media_id="med_x")
    assert "is application/pdf; type image takes" in await refused(world, "image", media_id=pdf.id)
    assert "must be OGG with Opus and one channel" in await refused(world, "audio", media_id=stereo.id, voice=True)
    assert "type sticker takes at most 102400" in await refused(world, "sticker", media_id=sticker.id)


async def test_a_file_of_another_tenant_is_not_there(world: World) -> None:
    item = await world.library.upload("other", chunks(JPEG), mime=MIME, filename=None)
    assert "there is no file" in await refused(world, "image", media_id=item.id)


async def test_a_content_that_is_not_in_the_directory_is_tried_again(world: World) -> None:
    item = await uploaded(world)
    submitted = await send(world, media_id=item.id)
    assert item.sha256
    path = world.files.path(item.sha256)
    path.rename(path.with_suffix(".away"))
    assert isinstance(await world.run(await world.job(submitted)), Retry)
    assert world.wire.sent == []


async def test_a_forwarded_message_brings_its_files(world: World) -> None:
    item = await uploaded(world)
    first = await send(world, media_id=item.id)
    await world.run(await world.job(first))
    forward = await send(world, "forward", message_id=first.id)
    await world.run(await world.job(forward))
    assert list(world.wire.enclosed[-1].media) == [item.id]
