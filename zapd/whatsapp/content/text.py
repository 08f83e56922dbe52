"""Text."""

from typing import Annotated

from zapd.whatsapp.content.payload import Mentioning, said


class TextPayload(Mentioning):
    """`preview_url` asks for a preview of the first link."""

    text: Annotated[str, said(4096)]
    preview_url: bool = False
