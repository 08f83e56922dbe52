"""Files to and from WhatsApp's media servers, on the stock neonize wheel: encrypted on the way, whole at the end."""

import hashlib
import os
from pathlib import Path

import orjson
import pytest
from pywhats.media import MEDIA_IMAGE, decrypt_media
from pywhats.media.upload import encrypt_media

from tests.support import eventually
from tests.support.whatsapp_web import Content
from tests.support.whatsapp_web.world import CONTACT, USER, WITHIN, Phone, World
from zapd.model.message import Message
from zapd.whatsapp.transport import Enclosed, MediaFile, Permanent, RemoteMedia, RetryAt

MEDIA = "med_1"


def a_file(folder: Path, content: bytes, mime: str = "image/jpeg") -> MediaFile:
    sha256 = hashlib.sha256(content).hexdigest()
    path = folder / sha256
    path.write_bytes(content)
    return MediaFile(id=MEDIA, path=path, mime=mime, size=len(content), sha256=sha256)


def an_image(phone: Phone, id_: str = "msg_1") -> Message:
    return phone.message(id_, type="image", payload=orjson.dumps({"media_id": MEDIA, "caption": "a cat"}))


async def test_a_picture_is_uploaded_once_and_can_be_opened_by_who_gets_it(
    web: World, phone: Phone, tmp_path: Path
) -> None:
    content = os.urandom(100_000)
    enclosed = Enclosed(media={MEDIA: a_file(tmp_path, content)})
    for id_ in ("msg_1", "msg_2"):
        await phone.transport.send(an_image(phone, id_), enclosed)
    arrived = await web.arrived(2)
    assert len(web.media.files) == 1
    for message in arrived:
        image = message.content.image_message
        assert (image.caption, image.mimetype, image.file_length) == ("a cat", "image/jpeg", len(content))
        [sealed] = web.media.files.values()
        assert content not in sealed
        opened = decrypt_media(
            sealed,
            image.media_key,
            MEDIA_IMAGE,
            file_enc_sha256=image.file_enc_sha256,
            file_sha256=image.file_sha256,
        )
        assert opened == content


async def test_an_upload_that_fails_is_tried_again_and_nothing_left(web: World, phone: Phone, tmp_path: Path) -> None:
    enclosed = Enclosed(media={MEDIA: a_file(tmp_path, b"x")})
    web.media.refuses = True
    with pytest.raises(RetryAt) as failed:
        await phone.transport.send(an_image(phone), enclosed)
    assert failed.value.wait is None
    assert web.server.arrived == []
    web.media.refuses = False
    await phone.transport.send(an_image(phone), enclosed)


async def test_a_file_that_is_gone_is_permanent(phone: Phone) -> None:
    with pytest.raises(Permanent):
        await phone.transport.send(an_image(phone), Enclosed())


async def test_a_picture_that_came_in_is_fetched_whole(web: World, phone: Phone) -> None:
    content = os.urandom(600_000)
    sealed = encrypt_media(content, MEDIA_IMAGE)
    web.media.files["/v/in"] = sealed.enc_data
    message = Content()
    message.image_message.mimetype = "image/jpeg"
    message.image_message.caption = "look"
    message.image_message.url = f"https://{web.media.host}/v/in?a=1"
    message.image_message.direct_path = "/v/in?a=1"
    message.image_message.media_key = sealed.media_key
    message.image_message.file_sha256 = sealed.file_sha256
    message.image_message.file_enc_sha256 = sealed.file_enc_sha256
    message.image_message.file_length = len(content)
    message.image_message.jpeg_thumbnail = b"small" * 1000
    await web.server.write(USER, CONTACT, message, id="PIC1")
    [inbound] = await eventually(phone.inbound, within=WITHIN)
    assert (inbound.type, orjson.loads(inbound.payload)) == ("image", {"caption": "look"})
    media = inbound.media
    assert media
    assert (media.mime, media.size, media.sha256) == ("image/jpeg", len(content), hashlib.sha256(content).hexdigest())
    assert all(b"JPEGThumbnail" not in raw for raw in phone.upside.raws)

    assert await fetched(phone, media) == content
    assert list(web.directory.glob("*.part")) == []
    del web.media.files["/v/in"]
    with pytest.raises((RetryAt, Permanent)):
        await fetched(phone, media)
    assert list(web.directory.glob("*.part")) == []


async def fetched(phone: Phone, media: RemoteMedia) -> bytes:
    return b"".join([piece async for piece in phone.transport.download(media)])
