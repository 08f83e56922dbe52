"""Files: images, videos, audio, documents and stickers, and what a file of each kind may be (wire facts §1.2, §1.4)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import StringConstraints

from zapd.errors import FieldError, InvalidInput
from zapd.whatsapp.content.payload import File, Mentioning, said

MIB = 1024 * 1024
MAX_FILE = 100 * MIB  #: bytes, of any kind

Caption = Annotated[str, said(1024)]
Filename = Annotated[str, StringConstraints(min_length=1, max_length=240, pattern=r"^[^/\\\x00-\x1f\x7f]+$")]


class ImagePayload(File, Mentioning):
    """A picture."""

    caption: Caption | None = None


class VideoPayload(File, Mentioning):
    """A video: H.264 and AAC."""

    caption: Caption | None = None


class AudioPayload(File):
    """Sound. `voice` shows it as a voice note: OGG with Opus, mono."""

    voice: bool = False


class DocumentPayload(File, Mentioning):
    """Any file. `filename` is what the receiver sees."""

    filename: Filename | None = None
    caption: Caption | None = None


class StickerPayload(File):
    """A WebP picture of 512 × 512."""


@dataclass(frozen=True)
class FileRule:
    """What a file of one kind may be. No `mimes`: any."""

    mimes: frozenset[str]
    max_bytes: int


FILES: Mapping[str, FileRule] = {
    "image": FileRule(frozenset({"image/jpeg", "image/png"}), 5 * MIB),
    "video": FileRule(frozenset({"video/mp4", "video/3gpp"}), 16 * MIB),
    "audio": FileRule(frozenset({"audio/aac", "audio/amr", "audio/mpeg", "audio/mp4", "audio/ogg"}), 16 * MIB),
    "document": FileRule(frozenset(), MAX_FILE),
    "sticker": FileRule(frozenset({"image/webp"}), 500 * 1024),
}

STILL_STICKER = 100 * 1024  #: bytes of a sticker that does not move
VOICE = frozenset({"audio/ogg"})


def check_file(kind: str, *, mime: str, size: int, field: str, voice: bool = False, moves: bool = True) -> None:
    """Check a file for a payload of `kind`. Raises InvalidInput that names `field`, the rule and the limit."""
    rule = FILES[kind]
    mimes = VOICE if voice else rule.mimes
    if mimes and mime not in mimes:
        what = "a voice note" if voice else f"type {kind}"
        raise InvalidInput(FieldError(field, f"is {mime}; {what} takes {', '.join(sorted(mimes))}"))
    limit = rule.max_bytes if kind != "sticker" or moves else STILL_STICKER
    if size > limit:
        raise InvalidInput(FieldError(field, f"has {size} bytes; type {kind} takes at most {limit}"))
    if size == 0:
        raise InvalidInput(FieldError(field, "is empty"))
