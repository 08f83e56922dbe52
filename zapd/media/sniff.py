"""What a file is, by its first bytes: a name or a header may say anything. Pure."""

from collections.abc import Callable

HEAD = 512  #: bytes that are looked at

UNKNOWN = "application/octet-stream"
HTML = "text/html"

_ZIP = "application/zip"  #: the box of many document types: the name they were given says which
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
    (b"OggS", "audio/ogg"),
    (b"#!AMR", "audio/amr"),
    (b"ID3", "audio/mpeg"),
    (b"PK\x03\x04", _ZIP),
    (b"PK\x05\x06", _ZIP),
    (b"\x1a\x45\xdf\xa3", "video/webm"),
    (b"\xd0\xcf\x11\xe0", "application/x-ole-storage"),  # Word, Excel and PowerPoint before 2007
)
_BOXES = {_ZIP, "application/x-ole-storage"}
_PAGES = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script")


def mime_of(head: bytes, declared: str | None = None) -> str:
    """The type of a file that begins so. `declared` decides only where the bytes leave it open."""
    named = (declared or "").partition(";")[0].strip().lower()
    found = _of_bytes(head)
    if found is None:
        return named if named and not _binary_with_magic(named) else UNKNOWN
    if found in _BOXES and named.startswith("application/"):
        return named
    if found == "video/mp4" and named == "audio/mp4":
        return named  # one container for both; only its tracks tell them apart
    return found


def moves(head: bytes) -> bool:
    """Whether a WebP picture is animated."""
    return head[12:16] == b"VP8X" and len(head) > 20 and bool(head[20] & 0x02)


def is_voice(head: bytes) -> bool:
    """Whether an OGG file is Opus with one channel, as voice notes are."""
    at = head.find(b"OpusHead")
    return at > 0 and len(head) > at + 9 and head[at + 9] == 1


def _of_bytes(head: bytes) -> str | None:
    by_magic = next((mime for magic, mime in _MAGIC if head.startswith(magic)), None)
    return by_magic or next((found for test in _TESTS if (found := test(head)) is not None), None)


def _riff(head: bytes) -> str | None:
    if not head.startswith(b"RIFF"):
        return None
    return {b"WEBP": "image/webp", b"WAVE": "audio/wav"}.get(head[8:12])


def _iso_media(head: bytes) -> str | None:
    if head[4:8] != b"ftyp":
        return None
    brand = head[8:12]
    if brand.startswith(b"3g"):
        return "video/3gpp"
    if brand in (b"M4A ", b"M4B "):
        return "audio/mp4"
    return "video/quicktime" if brand == b"qt  " else "video/mp4"


def _mpeg_audio(head: bytes) -> str | None:
    """A frame begins with eleven set bits; the two bits of the layer are 0 in ADTS, which holds AAC."""
    if len(head) < 2 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    return "audio/aac" if head[1] & 0x06 == 0 else "audio/mpeg"


def _page(head: bytes) -> str | None:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return HTML if start.startswith(_PAGES) else None


def _binary_with_magic(mime: str) -> bool:
    """Whether a file of this type would have been known by its bytes: then the name is wrong."""
    return mime in {found for _, found in _MAGIC} | {"image/webp", "video/mp4", "video/3gpp", "audio/aac", "audio/mp4"}


_TESTS: tuple[Callable[[bytes], str | None], ...] = (_riff, _iso_media, _mpeg_audio, _page)
