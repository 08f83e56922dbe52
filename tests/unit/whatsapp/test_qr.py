"""Pairing codes as pictures."""

from zapd.whatsapp import qr

TEXT = "2@" + "A" * 60 + ",con_1,B"


async def test_a_code_can_be_had_as_png_svg_and_text() -> None:
    assert (await qr.png(TEXT)).startswith(b"\x89PNG\r\n")
    assert b"<svg" in await qr.svg(TEXT)
    assert "█" in await qr.terminal(TEXT)


async def test_two_codes_differ() -> None:
    assert await qr.png(TEXT) != await qr.png(TEXT + "C")
