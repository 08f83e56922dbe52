"""What a file is, by its bytes."""

import pytest

from tests.support.kinds import CONTENTS
from zapd.media.sniff import is_voice, mime_of, moves


@pytest.mark.parametrize(("mime", "content"), CONTENTS.values(), ids=CONTENTS)
def test_the_bytes_say_it_whatever_the_name_says(mime: str, content: bytes) -> None:
    assert mime_of(content) == mime
    assert mime_of(content, "text/html") == mime


@pytest.mark.parametrize(
    ("head", "declared", "mime"),
    [
        (b"\x89PNG\r\n\x1a\n", None, "image/png"),
        (b"GIF89a", "image/png", "image/gif"),
        (b"\x00\x00\x00\x18ftyp3gp4", None, "video/3gpp"),
        (b"\x00\x00\x00\x18ftypM4A ", None, "audio/mp4"),
        (b"\x00\x00\x00\x18ftypisom", "audio/mp4", "audio/mp4"),
        (b"\xff\xf1\x50\x80", None, "audio/aac"),
        (b"\xff\xfb\x90\x64", None, "audio/mpeg"),
        (b"ID3\x04", None, "audio/mpeg"),
        (b"#!AMR\n", None, "audio/amr"),
        (b"PK\x03\x04", "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
         "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
        (b"PK\x03\x04", "image/jpeg", "application/zip"),
        (b"a;b;c\n", "text/csv; charset=utf-8", "text/csv"),
        (b"\x01\x02", None, "application/octet-stream"),
        (b"not a picture", "image/jpeg", "application/octet-stream"),
        (b"\xef\xbb\xbf \n<!DOCTYPE html><p>", "image/jpeg", "text/html"),
        (b"<HTML><body>", None, "text/html"),
        (b"", None, "application/octet-stream"),
    ],
)  # fmt: skip
def test_a_name_only_decides_what_the_bytes_leave_open(head: bytes, declared: str | None, mime: str) -> None:
    assert mime_of(head, declared) == mime


def test_voice_notes_and_moving_stickers_are_told_from_others() -> None:
    ogg = CONTENTS["audio"][1]
    assert is_voice(ogg)
    assert not is_voice(ogg.replace(b"OpusHead\x01\x01", b"OpusHead\x01\x02"))  # stereo
    assert not is_voice(b"OggS" + bytes(24) + b"\x01vorbis")
    webp = b"RIFF\x00\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00"
    assert moves(webp + b"\x02" + bytes(20))
    assert not moves(webp + b"\x10" + bytes(20))
