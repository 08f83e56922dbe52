"""Pairing codes as pictures. Drawing takes about 15 ms of CPU, so it runs in a thread."""

import asyncio
import io
from functools import lru_cache

PIXELS = 6  #: of a module of the code


async def png(text: str) -> bytes:
    """A PNG."""
    return await asyncio.to_thread(_draw, text, "png")


async def svg(text: str) -> bytes:
    """An SVG document, UTF-8."""
    return await asyncio.to_thread(_draw, text, "svg")


async def terminal(text: str) -> str:
    """Block characters for a terminal with a dark background."""
    return (await asyncio.to_thread(_draw, text, "terminal")).decode()


@lru_cache(maxsize=32)  # a dashboard asks for the same code again and again
def _draw(text: str, kind: str) -> bytes:
    import segno  # noqa: PLC0415  # 1 MiB that most daemons never use; this is a thread, so nobody waits for it

    code = segno.make(text, micro=False, error="l")
    if kind == "terminal":
        lines = io.StringIO()
        code.terminal(out=lines, compact=True)
        return lines.getvalue().encode()
    picture = io.BytesIO()
    code.save(picture, kind=kind, scale=PIXELS, border=4)
    return picture.getvalue()
