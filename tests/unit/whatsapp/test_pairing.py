"""How long a pairing may take."""

import asyncio

from tests.support import eventually
from zapd.model.session import SessionState as S
from zapd.whatsapp.pairing import PairingClock


async def test_a_pairing_that_nobody_finishes_ends_with_its_reason() -> None:
    told: list[str] = []
    clock = PairingClock(within=0.01)
    clock.follow(S.QR_PENDING, give_up=told.append)
    await eventually(lambda: told == ["qr_timeout"])


async def test_a_passkey_does_not_begin_the_time_anew_but_names_the_reason() -> None:
    told: list[str] = []
    clock = PairingClock(within=0.02)
    clock.follow(S.QR_PENDING, give_up=told.append)
    timer = clock._timer
    clock.follow(S.PASSKEY_REQUIRED, give_up=told.append)
    assert clock._timer is timer
    await eventually(lambda: told == ["passkey_timeout"])


async def test_an_account_that_is_linked_is_not_given_up() -> None:
    told: list[str] = []
    clock = PairingClock(within=0.0)
    clock.follow(S.QR_PENDING, give_up=told.append)
    clock.follow(S.CONNECTED, give_up=told.append)
    clock.stop()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert told == []
