"""Files of outgoing messages: up to WhatsApp's servers, and what the message then says about them."""

import asyncio
import io
import time
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from neonize.proto.waE2E.WAWebProtobufsE2E_pb2 import Message
from neonize.utils.enum import MediaType
from PIL import Image

from zapd.whatsapp.web.frames import Frame

THUMBNAIL = 96  #: pixels, at most, of the picture that shows before the real one is loaded
_KINDS = {
    "imageMessage": MediaType.MediaImage,
    "stickerMessage": MediaType.MediaImage,
    "videoMessage": MediaType.MediaVideo,
    "audioMessage": MediaType.MediaAudio,
    "documentMessage": MediaType.MediaDocument,
}


async def upload(client: Any, *, path: Path, part: str) -> Frame:
    """Upload a file for one part of a message; what the part then says about it."""
    content = await asyncio.to_thread(path.read_bytes)
    about = getattr(Message(), part)
    if part in ("imageMessage", "stickerMessage"):
        await asyncio.to_thread(_look_at, content, about)
    held = await client.upload(content, _KINDS[part])
    about.URL, about.directPath, about.mediaKey = held.url, held.DirectPath, held.MediaKey
    about.fileSHA256, about.fileEncSHA256, about.fileLength = held.FileSHA256, held.FileEncSHA256, held.FileLength
    about.mediaKeyTimestamp = int(time.time())
    told: Frame = MessageToDict(about, preserving_proto_field_name=True)
    return told


def _look_at(content: bytes, part: Any) -> None:
    """Size and thumbnail. A picture that cannot be read is sent as it is: the receiver decides."""
    try:
        with Image.open(io.BytesIO(content)) as picture:
            size, small = picture.size, picture.convert("RGB")
            small.thumbnail((THUMBNAIL, THUMBNAIL))
    except Exception:  # Pillow has dozens of errors of its own
        return
    part.width, part.height = size
    if part.DESCRIPTOR.name == "ImageMessage":
        out = io.BytesIO()
        small.save(out, format="JPEG", quality=60)
        part.JPEGThumbnail = out.getvalue()
