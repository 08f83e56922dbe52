"""The life of a linked account, on the stock neonize wheel."""

from pywhats.proto import Message as Content

from tests.support import eventually
from tests.support.whatsapp_web.world import CONTACT, USER, WITHIN, World, data_of, text_of
from zapd.model.message import MessageStatus
from zapd.model.session import SessionState

S = SessionState


async def test_a_code_is_scanned_and_messages_go_both_ways(web: World) -> None:
    phone = await web.phone().paired()
    assert phone.upside.states == [S.QR_PENDING, S.STARTING, S.CONNECTED]
    assert phone.worker.pairing is False  # the worker that showed the code is gone

    result = await phone.transport.send(phone.message(text="Olá"))
    [arrived] = await web.arrived()
    assert (arrived.id, text_of(arrived)) == (result.provider_id, "Olá")
    assert b"biz_bot" not in arrived.plain

    await web.server.receipt(USER, arrived)
    await web.server.receipt(USER, arrived, "read")
    await web.server.write(USER, CONTACT, Content(conversation="oi"), id="IN1")
    await eventually(lambda: len(phone.updates()) == 3, within=WITHIN)
    assert [(r.provider_id, r.message_id, r.status) for r in phone.receipts()] == [
        (result.provider_id, "msg_1", MessageStatus.DELIVERED),
        (result.provider_id, "msg_1", MessageStatus.READ),
    ]
    assert all(abs(r.at - result.accepted_at) < 60_000 for r in phone.receipts())
    [inbound] = phone.inbound()
    assert (inbound.peer, inbound.type, data_of(inbound), inbound.name) == (CONTACT, "text", {"text": "oi"}, "Ana")
    assert inbound.provider_id == f"{CONTACT}/IN1"
    assert inbound.aliases.known() == {
        "phone": CONTACT,
        "wa_id": CONTACT,
        "jid": f"{CONTACT}@s.whatsapp.net",
        "lid": f"{CONTACT}@lid",
    }
    assert abs(inbound.at - result.accepted_at) < 60_000
