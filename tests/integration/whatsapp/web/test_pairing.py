"""Linking an account, on the stock neonize wheel."""

import asyncio

import pytest

from tests.support import eventually
from tests.support.whatsapp_web import Node
from tests.support.whatsapp_web.server import SERVER
from tests.support.whatsapp_web.world import CONTACT, USER, WITHIN, Templates, World, text_of
from zapd.model.session import SessionState
from zapd.parts.basis import now_ms
from zapd.whatsapp.transport import NotConnected

S = SessionState


async def test_a_code_is_scanned_and_a_message_leaves(web: World) -> None:
    phone = await web.phone().paired()
    assert phone.upside.states == [S.QR_PENDING, S.STARTING, S.CONNECTED]
    assert phone.worker.pairing is False  # the one that showed the code is gone
    assert phone.credentials.secret
    result = await phone.transport.send(phone.message(text="Olá"))
    [arrived] = await web.arrived()
    assert (arrived.id, text_of(arrived)) == (result.provider_id, "Olá")


async def test_a_code_is_good_for_a_minute_and_has_an_end(web: World) -> None:
    phone = web.phone()
    await phone.start()
    [code] = await eventually(lambda: phone.upside.codes, within=WITHIN)
    assert 50_000 < code.expires_at - now_ms() <= 60_000
    assert not code.typed


async def test_a_code_is_typed_on_the_phone(web: World) -> None:
    phone = web.phone(phone=f"+{USER}")
    await phone.start()
    [code] = await eventually(lambda: phone.upside.codes, within=WITHIN)
    assert code.typed
    assert len(code.text) == len("ABCD-1234")
    await web.server.enter_code(code.text, USER)
    await phone.connected()


async def test_one_may_ask_for_a_code_to_type_after_all(web: World) -> None:
    phone = web.phone()
    await phone.start()
    await eventually(lambda: phone.upside.codes, within=WITHIN)
    await phone.transport.pair(phone=USER)
    [code] = await eventually(lambda: [code for code in phone.upside.codes if code.typed], within=WITHIN)
    await web.server.enter_code(code.text, USER)
    await phone.connected()


async def test_codes_go_on_when_the_library_stops_showing_them(web: World) -> None:
    """It stops after 160 seconds, tells nobody, and cannot be asked for more."""
    phone = web.phone(all_codes=0.2)
    await phone.start()
    await eventually(lambda: len(phone.upside.codes) >= 2, within=WITHIN)
    first, second = phone.upside.codes[:2]
    assert first.text != second.text
    await web.server.scan(phone.upside.codes[-1].text, USER)


async def test_a_pairing_that_is_given_up_is_gone_at_once(web: World) -> None:
    phone = web.phone()
    await phone.start()
    await eventually(lambda: phone.upside.codes, within=WITHIN)
    worker = phone.worker
    async with asyncio.timeout(5):
        await phone.transport.stop()
    assert worker.gone.done()
    assert not phone.files.exist() or phone.credentials.secret is None
    await phone.start()  # and begins anew
    await eventually(lambda: len(phone.upside.codes) >= 2, within=WITHIN)


async def test_where_whatsapp_wants_a_passkey_it_is_said(web: World) -> None:
    phone = web.phone()
    await phone.start()
    await eventually(lambda: phone.upside.codes, within=WITHIN)
    about = {"id": "1", "type": "passkey_prologue_request", "from": SERVER, "t": "1"}
    await web.server.lines[-1].send(Node(tag="notification", attrs=about, content=None))
    await phone.state(S.PASSKEY_REQUIRED)


async def test_before_it_is_linked_nothing_leaves(web: World) -> None:
    phone = web.phone()
    await phone.start()
    await eventually(lambda: phone.upside.codes, within=WITHIN)
    with pytest.raises(NotConnected):
        await phone.transport.send(phone.message())
    with pytest.raises(NotConnected):
        await phone.transport.typing(CONTACT, last=None)


async def test_a_linked_account_is_unlinked_before_it_is_paired_anew(web: World, templates: Templates) -> None:
    phone = await web.phone().linked(templates)
    await phone.transport.pair()
    await eventually(lambda: phone.upside.codes, within=WITHIN)
    assert [node for node in web.server.stanzas if node.get_child("remove-companion-device") is not None]
    assert [reason for _, reason in phone.credentials.aside] == ["paired_anew"]
    await web.server.scan(phone.upside.codes[0].text, USER)
    await phone.connected(times=2)
