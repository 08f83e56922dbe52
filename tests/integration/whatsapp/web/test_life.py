"""The life of a linked account, on the stock neonize wheel."""

import os
import signal
import stat

import pytest

from tests.support import eventually
from tests.support.whatsapp_web import Content, Node
from tests.support.whatsapp_web.world import CONTACT, USER, WITHIN, Phone, Templates, World, data_of, text_of
from zapd.model.message import MessageStatus
from zapd.model.session import SessionState
from zapd.whatsapp.credentials import CORRUPT
from zapd.whatsapp.transport import NotConnected, PauseNewContacts, Permanent, RetryAt, Target

S = SessionState


def failure(reason: str) -> Node:
    return Node(tag="failure", attrs={"reason": reason, "code": "101", "expire": "3600"})


async def test_messages_and_receipts_go_both_ways(web: World, phone: Phone) -> None:
    result = await phone.transport.send(phone.message(text="Olá"))
    [arrived] = await web.arrived()
    assert (arrived.id, text_of(arrived)) == (result.provider_id, "Olá")
    assert arrived.stanza.get_child("bot") is None  # else every message says that a bot wrote it

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
    known = {"jid": f"{CONTACT}@s.whatsapp.net", "lid": f"{CONTACT}@lid"}
    assert inbound.aliases.known() == {"phone": CONTACT, "wa_id": CONTACT, **known}
    assert abs(inbound.at - result.accepted_at) < 60_000


async def test_a_line_that_breaks_mends_itself(web: World, phone: Phone) -> None:
    await web.server.drop(USER)
    await phone.connected(times=2)
    assert phone.upside.states[1:] == [S.DEGRADED, S.CONNECTED]
    await phone.transport.send(phone.message())
    await web.arrived()


async def test_a_line_that_does_not_mend_is_started_anew(web: World, templates: Templates) -> None:
    phone = await web.phone(back_within=0.3).linked(templates)
    web.server.greeting = lambda _line: Node(tag="stream:error", attrs={"code": "503"})
    await web.server.drop(USER)
    assert await phone.state(S.RECONNECTING) == "428"
    web.server.greeting = None
    await phone.transport.stop()
    await phone.start()
    await phone.connected(times=2)


async def test_an_unlinked_account_is_logged_out_and_pairs_again(web: World, phone: Phone) -> None:
    removed = Node(tag="conflict", attrs={"type": "device_removed"})
    await web.server.tell(USER, Node(tag="stream:error", attrs={"code": "401"}, content=[removed]))
    assert await phone.state(S.LOGGED_OUT) == "401"
    assert [reason for _, reason in phone.credentials.aside] == ["401"]
    await phone.transport.stop()
    await phone.paired()  # the same connection, with another code
    await phone.transport.send(phone.message())
    await web.arrived()


async def test_what_was_unlinked_while_zapd_was_down_is_logged_out(web: World, templates: Templates) -> None:
    phone = web.phone()
    templates.give(phone)
    web.server.greeting = lambda _line: failure("401")
    await phone.start()
    assert await phone.state(S.LOGGED_OUT) == "401"


async def test_a_session_that_another_process_took_over_does_not_fight_for_it(web: World, phone: Phone) -> None:
    taken = Node(tag="conflict", attrs={"type": "replaced"})
    await web.server.tell(USER, Node(tag="stream:error", attrs={}, content=[taken]))
    assert await phone.state(S.PAUSED) == "440"


@pytest.mark.parametrize(
    ("reason", "state"), [("402", S.BANNED), ("405", S.CLIENT_OUTDATED), ("406", S.BANNED), ("503", S.RECONNECTING)]
)
async def test_whatsapp_may_refuse_an_account(
    web: World, templates: Templates, reason: str, state: SessionState
) -> None:
    phone = web.phone(connect_within=1.0 if state is S.RECONNECTING else WITHIN)  # the library goes on in silence there
    templates.give(phone)
    web.server.greeting = lambda _line: failure(reason)
    await phone.start()
    assert await phone.state(state) in (reason, "408")


async def test_logging_out_unlinks_at_whatsapp_and_takes_the_keys_out_of_use(web: World, phone: Phone) -> None:
    await phone.transport.logout()
    await phone.transport.stop()
    told = [node for node in web.server.stanzas if node.get_child("remove-companion-device") is not None]
    assert len(told) == 1
    assert not phone.files.exist()


async def test_with_463_new_contacts_wait_and_replies_go_on(web: World, phone: Phone) -> None:
    web.server.troubles.append("463")
    with pytest.raises(PauseNewContacts) as refused:
        await phone.transport.send(phone.message())
    assert (refused.value.code, refused.value.wait) == ("463", 86_400.0)
    assert await phone.transport.send(phone.message("msg_2"))


async def test_what_whatsapp_answers_decides(web: World, phone: Phone) -> None:
    web.server.troubles.extend(["400", "429", "500"])
    with pytest.raises(Permanent):
        await phone.transport.send(phone.message())
    with pytest.raises(RetryAt) as limited:
        await phone.transport.send(phone.message())
    assert (limited.value.wait, limited.value.whole_session) == (60.0, True)
    with pytest.raises(RetryAt) as failed:
        await phone.transport.send(phone.message())
    assert failed.value.wait is None
    assert web.server.arrived == []


async def test_reading_typing_and_looking_up(web: World, phone: Phone) -> None:
    read = Target(provider_id=f"{CONTACT}/IN1", peer=CONTACT, from_me=False, type="text", payload=b"{}", at=1)
    await phone.transport.mark_read(read)
    await phone.transport.typing(CONTACT, last=None)
    web.server.nobody.add("551187654321")
    found = await phone.transport.resolve_number(["551187654321", CONTACT])
    assert found
    assert (found.peer, found.aliases.jid) == (CONTACT, f"{CONTACT}@s.whatsapp.net")
    web.server.nobody.add(CONTACT)
    assert await phone.transport.resolve_number(["551187654321", CONTACT]) is None
    told = await eventually(
        lambda: [n for n in web.server.stanzas if n.tag == "receipt" and n.get_str("type") == "read"], within=WITHIN
    )
    assert told[0].get_str("id") == "IN1"
    assert [n for n in web.server.stanzas if n.tag == "chatstate" and n.get_child("composing") is not None]
    health = await phone.transport.health()
    assert health.alive
    assert health.last_frame_at


async def test_a_message_to_a_group(web: World, phone: Phone) -> None:
    sent = await phone.transport.send(phone.message(peer="120363000000000001@g.us"))
    assert sent.provider_id
    arrived = await web.arrived(2)
    assert {message.to for message in arrived} == {"120363000000000001@g.us"}  # a key for the group, to each member
    assert arrived[0].stanza.get_child("enc").get_str("type") == "skmsg"
    await web.server.write(USER, CONTACT, Content(conversation="oi"), id="IN2", group="120363000000000001", name="Ana")
    [inbound] = await eventually(phone.inbound, within=WITHIN)
    assert (inbound.peer, inbound.sender) == ("120363000000000001@g.us", CONTACT)
    assert inbound.provider_id == f"120363000000000001@g.us/{CONTACT}/IN2"


async def test_what_cannot_be_read_is_said(web: World, phone: Phone) -> None:
    await web.server.garble(USER, CONTACT, id="BAD1")
    [notice] = await eventually(phone.notices, within=WITHIN)
    assert (notice.kind, notice.provider_id, notice.warning) == ("undecryptable", "undecryptable/BAD1", True)


# --- its files ---


async def test_its_files_are_nobody_elses(web: World, phone: Phone) -> None:
    folder = web.directory / "con_1"
    assert stat.S_IMODE(web.directory.stat().st_mode) == 0o700
    await phone.transport.send(phone.message())
    files = [file for file in folder.iterdir() if file.name != "lock"]
    assert {"store.db", "trace.key", "spool.jsonl"} <= {file.name for file in files}
    assert {stat.S_IMODE(file.stat().st_mode) & 0o077 for file in files} == {0}


async def test_a_corrupt_database_fails_its_account_and_is_kept_aside(web: World, templates: Templates) -> None:
    well, ill = web.phone("con_2", USER), web.phone("con_1", USER)
    templates.give(ill)
    (web.directory / "con_1" / "store.db").write_bytes(b"not a database" * 1000)
    await ill.start()
    assert await ill.state(S.FAILED) == CORRUPT
    [aside] = (web.directory / "aside").iterdir()
    assert aside.name.startswith("con_1-")
    assert aside.name.endswith(f"-{CORRUPT}.sealed")
    assert [reason for _, reason in ill.credentials.aside] == [CORRUPT]
    await well.linked(templates)
    await ill.transport.stop()
    await ill.start()
    await eventually(lambda: ill.upside.codes, within=WITHIN)  # it can be paired again


async def test_keys_that_are_not_here_fail_the_account_and_what_is_known_of_them_stays(web: World) -> None:
    """They may be on another machine, or come back with a backup."""
    phone = web.phone()
    phone.credentials.secret = b"{}"
    await phone.start()
    assert await phone.state(S.FAILED) == "keys_missing"
    assert phone.credentials.secret == b"{}"


# --- what comes in is not lost ---


async def test_what_could_not_be_committed_comes_again(web: World, phone: Phone) -> None:
    phone.upside.away = True
    await web.server.write(USER, CONTACT, Content(conversation="oi"), id="IN1")
    await eventually(lambda: phone.upside.refused, within=WITHIN)
    os.kill(phone.worker.pid, signal.SIGKILL)
    phone.upside.away = False
    await phone.state(S.RECONNECTING)
    assert phone.inbound() == []
    await phone.transport.stop()
    await phone.start()
    [inbound] = await eventually(phone.inbound, within=WITHIN)
    assert data_of(inbound) == {"text": "oi"}
    await eventually(lambda: (web.directory / "con_1" / "spool.jsonl").stat().st_size == 0, within=WITHIN)


async def test_nothing_leaves_after_a_stop(phone: Phone) -> None:
    await phone.transport.stop()
    with pytest.raises(NotConnected):
        await phone.transport.send(phone.message())
    with pytest.raises(NotConnected):
        await phone.transport.trace(phone.message())
