"""Who gets messages, when and how often: opt-out, new people, one person, quiet hours, the ninth digit."""

from datetime import datetime
from zoneinfo import ZoneInfo

import orjson
import pytest

from tests.integration.messaging.world import World, data_of, receipt
from tests.support.fake_meta import NUMBER, webhook_body
from zapd.errors import InvalidInput
from zapd.jobs.job import Discard, Done, Outcome, Snooze
from zapd.messaging.submit import Submitted
from zapd.model.message import MessageStatus
from zapd.model.pace import DAY, Limits, QuietHours
from zapd.model.session import SessionState
from zapd.parts.accounts import CLOUD
from zapd.store.events import Sent
from zapd.whatsapp import cloud_webhook, sandbox_wire
from zapd.whatsapp.numbers import window_key
from zapd.whatsapp.transport import NotConnected, PauseNewContacts, Permanent, Receipt, RetryAt, SendResult, StateChange

S = MessageStatus
PHONE, OTHER_SPELLING = "5511987654321", "551187654321"


async def wrote(world: World, text: str, peer: str = PHONE, provider_id: str | None = None) -> None:
    told = sandbox_wire.contact_wrote(
        provider_id or world.ids.ulid(), peer=peer, type_="text", payload={"text": text}, at=world.clock.now_ms()
    )
    await world.tell(told)


def waits(seconds: float, *, park_lane: bool = False) -> Snooze:
    """It waits for something else than the pace of its session, which it costs nothing."""
    return Snooze(seconds, park_lane=park_lane, given_back=True)


async def run(world: World, submitted: Submitted) -> Outcome:
    return await world.run(await world.job(submitted))


async def sends(world: World, to: str = PHONE) -> Outcome:
    """Submit one and let the sender have it."""
    return await run(world, await world.submit(to=to))


# --- opt-out ---


@pytest.mark.parametrize("word", ["STOP", "sair", " Parar. ", "STOP!", "SAÍR", "sair 🙏", "ＳＴＯＰ"])
async def test_a_contact_who_says_so_gets_no_more_messages(world: World, word: str) -> None:
    await world.connect()
    await wrote(world, word)
    for spelling in (PHONE, OTHER_SPELLING):
        with pytest.raises(InvalidInput) as refused:
            await world.submit(to=spelling)
        assert refused.value.fields[0].field == "to"
        assert "wants no messages" in refused.value.fields[0].rule
    await world.submit(to="5511911112222")  # others do


@pytest.mark.parametrize("text", ["please stop the music", "sair de casa", "", "🙏", "stop" * 1000])
async def test_a_word_inside_a_text_is_not_a_wish(world: World, text: str) -> None:
    await world.connect()
    await wrote(world, text or "x")
    await world.submit(to=PHONE)


@pytest.mark.parametrize("word", ["START", "voltar"])
async def test_they_can_come_back(world: World, word: str) -> None:
    await world.connect()
    await wrote(world, "SAIR")
    await wrote(world, word)
    await world.submit(to=PHONE)


async def test_what_was_accepted_before_the_wish_does_not_leave(world: World) -> None:
    await world.connect()
    submitted = await world.submit(to=PHONE)
    await wrote(world, "SAIR")
    outcome = await run(world, submitted)
    assert isinstance(outcome, Discard)
    assert (outcome.reason, await world.status(submitted.id), world.wire.sent) == ("opted_out", S.DLQ, [])


async def test_a_provider_that_says_so_is_believed(world: World) -> None:
    await world.connect()
    world.wire.answers.append(Permanent("131050", "opted out of marketing"))
    await sends(world)
    with pytest.raises(InvalidInput):
        await world.submit(to=PHONE)


async def test_a_provider_that_says_so_later_is_believed_too(world: World) -> None:
    await world.connect()
    submitted = await world.submit(to=PHONE)
    await run(world, submitted)
    connection = await world.wire.find("default", "con_1")
    assert connection
    told = Receipt(provider_id="P1", status=S.FAILED, at=world.clock.now_ms(), code="131050")
    await world.people.heard(connection, [told])
    with pytest.raises(InvalidInput):
        await world.submit(to=PHONE)


async def test_who_tells_meta_to_stop_or_resume_is_believed(world: World) -> None:
    await world.connect()
    world.wire.parser = lambda _, raw: cloud_webhook.parse(raw, phone_number_id=NUMBER)

    async def tells(value: str) -> None:
        told = {"wa_id": PHONE, "category": "marketing_messages", "value": value, "timestamp": 1731705721}
        body = webhook_body({"user_preferences": [told]}, field="user_preferences")
        connection = await world.wire.find("default", "con_1")
        assert connection
        await world.receiver.intake(connection, orjson.dumps(body), world.ids.ulid())
        await world.read()

    await tells("stop")
    with pytest.raises(InvalidInput, match="user_preferences"):
        await world.submit(to=OTHER_SPELLING)
    await tells("resume")
    await world.submit(to=PHONE)
    assert len(await world.events.listed("default", type="account.user_preferences")) == 2

    world.wire.parser = lambda _, raw: sandbox_wire.parse(raw)
    await wrote(world, "SAIR")
    world.wire.parser = lambda _, raw: cloud_webhook.parse(raw, phone_number_id=NUMBER)
    await tells("resume")  # that word was for us, not for Meta
    with pytest.raises(InvalidInput, match="SAIR"):
        await world.submit(to=PHONE)


async def test_an_event_of_a_message_names_every_id_of_its_writer(world: World) -> None:
    await world.connect()
    await wrote(world, "oi")
    (event,) = await world.events.listed("default", type="message.received")
    contact = data_of(event)["contact"]
    assert contact["id"].startswith("ctc_")
    assert (contact["phone"], contact["lid"], contact["name"]) == (PHONE, None, "Sandbox contact")


async def test_a_restart_gives_nobody_a_new_burst(world: World) -> None:
    world.limits["con_1"] = Limits(recipient_per_minute=10, recipient_burst=3)
    await world.connect()
    assert [await sends(world) for _ in range(3)] == [Done()] * 3
    world.clock.advance(1)

    restarts(world)

    assert await sends(world) == waits(5.0)
    assert await sends(world, OTHER_SPELLING) == waits(11.0)
    assert await sends(world, "5511911112222") == Done()


async def test_what_left_before_is_read_once_and_only_where_it_matters(world: World) -> None:
    asked: list[int] = []

    async def sent_since(since: int) -> list[Sent]:
        asked.append(since)
        return []

    world.pace._sent_since = sent_since
    await world.connect()
    await sends(world)
    assert asked == []
    world.limits["con_1"] = Limits(recipient_per_minute=10, recipient_burst=3)
    for _ in range(3):
        await sends(world)
    assert asked == [world.clock.now_ms() - 3_600_000]


# --- whose turn it is with one person ---


def restarts(world: World) -> None:
    """What the daemon keeps in memory only is gone."""
    world.turns._people.clear()
    world.turns._in_sql.clear()
    world.turns._leaving.clear()
    world.pace._before_start = None


async def test_a_restart_keeps_the_order_to_one_person(world: World) -> None:
    world.limits["con_1"] = Limits(recipient_per_minute=10, recipient_burst=1)
    await world.connect()
    assert await sends(world) == Done()
    waiting = [await world.submit(to=to) for to in (PHONE, OTHER_SPELLING)]
    assert [await run(world, each) for each in waiting] == [waits(6.0), waits(12.0)]

    restarts(world)
    world.clock.advance(20)  # it was down for longer than they had to wait
    later = await world.submit(to=PHONE)
    assert await run(world, later) == waits(1.0)
    assert await sends(world, "5511911112222") == Done()
    assert await run(world, waiting[1]) == waits(1.0)
    assert [await run(world, each) for each in (*waiting, later)] == [Done()] * 3
    assert await world.turns._store.waiting("default", "con_1", window_key(PHONE)) == []


async def test_the_times_that_were_given_are_kept_over_a_restart(world: World) -> None:
    world.limits["con_1"] = Limits(recipient_per_minute=10, recipient_burst=2)
    await world.connect()
    assert [await sends(world) for _ in range(4)] == [Done(), Done(), waits(6.0), waits(12.0)]
    restarts(world)
    world.clock.advance(1)
    assert await sends(world) == waits(17.0)


@pytest.mark.parametrize("restart", [False, True])
async def test_after_463_a_person_gets_messages_in_their_order(world: World, restart: bool) -> None:
    await world.connect()
    world.wire.answers.append(PauseNewContacts("463", "reach-out timelock", wait=60.0))
    first = await world.submit(to=PHONE)
    assert isinstance(await run(world, first), Snooze)
    if restart:
        restarts(world)
    world.limits["con_1"] = Limits(recipient_per_minute=600, recipient_burst=9)
    world.clock.advance(61)
    second = await world.submit(to=PHONE)
    assert await run(world, second) == waits(1.0)
    assert [await run(world, each) for each in (first, second)] == [Done(), Done()]


@pytest.mark.parametrize("restart", [False, True])
async def test_a_pair_rate_of_the_provider_holds_up_the_later_ones_too(world: World, restart: bool) -> None:
    await world.connect()
    world.wire.answers.append(RetryAt("131056", wait=4.0))
    first = await world.submit(to=PHONE)
    assert await run(world, first) == Snooze(4.0)
    if restart:
        restarts(world)
    second = await world.submit(to=PHONE)
    assert await run(world, second) == waits(1.0 if restart else 4.0)  # the queue knows the time, SQL only the order
    assert await sends(world, "5511911112222") == Done()
    world.clock.advance(5)
    assert [await run(world, each) for each in (first, second)] == [Done()] * 2
    assert await sends(world) == Done()


async def test_of_more_people_than_are_remembered_those_who_wait_keep_their_order(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zapd.messaging.turns.MAX_PEOPLE", 1)
    await world.connect()
    world.wire.answers += [RetryAt("131056", wait=4.0)] * 2
    assert await sends(world) == Snooze(4.0)
    assert await sends(world, "5511911112222") == Snooze(4.0)
    assert await sends(world) == waits(1.0)


async def test_an_answer_does_not_wait_for_what_waits_until_new_people_may_be_written_to(world: World) -> None:
    await world.connect()
    world.wire.answers.append(PauseNewContacts("463", "reach-out timelock", wait=3600.0))
    assert isinstance(await sends(world), Snooze)
    assert await sends(world) == waits(3600.0)
    world.clock.advance(1)
    await wrote(world, "oi")
    assert await sends(world) == Done()


async def test_a_message_about_one_that_has_not_left_holds_up_nobody(world: World) -> None:
    await world.connect()
    later = await world.submit(to=PHONE, send_at=world.clock.now_ms() + DAY)
    assert isinstance(await run(world, await world.submit(to=PHONE, reply_to=later.id)), Snooze)
    assert await sends(world) == Done()


async def test_one_that_waits_no_more_holds_up_nobody(world: World) -> None:
    world.limits["con_1"] = Limits(recipient_per_minute=10, recipient_burst=1)
    await world.connect()
    assert await sends(world) == Done()
    first = await world.submit(to=PHONE)
    assert await run(world, first) == waits(6.0)
    world.clock.advance(20)
    second = await world.submit(to=PHONE)
    assert await run(world, second) == waits(1.0)
    await world.messaging.cancel("default", first.id)
    assert await run(world, second) == Done()


async def test_what_a_person_sends_again_goes_ahead(world: World) -> None:
    world.limits["con_1"] = Limits(recipient_per_minute=10, recipient_burst=1)
    await world.connect()
    assert await sends(world) == Done()
    assert await sends(world) == waits(6.0)
    urgent = await world.submit(to=PHONE, priority=9)
    world.clock.advance(12)
    assert await run(world, urgent) == Done()


async def test_a_closed_connection_is_not_kept_in_memory(world: World) -> None:
    world.limits["con_1"] = Limits(recipient_per_minute=10, recipient_burst=1, new_contacts_per_day=5)
    await world.connect()
    await world.connect("con_2")
    world.wire.lookups, world.wire.on_whatsapp = True, {PHONE}
    for connection_id in ("con_1", "con_2"):
        await run(world, await world.submit(to=PHONE, connection_id=connection_id))
    for connection_id in ("con_1", "con_2"):
        connection = await world.wire.find("default", connection_id)
        assert connection
        world.pace.forget(connection)
        world.spelling.forget(connection)
    kept = (world.pace._written_to, world.pace._new, world.turns._people, world.spelling._known)
    assert not any(kept)
    assert (world.pace._remembered, world.spelling._remembered) == (0, 0)


# --- new people ---


async def test_new_people_are_few_a_day_and_those_who_are_known_go_on(world: World) -> None:
    world.limits["con_1"] = Limits(new_contacts_per_day=2, new_contacts_first_day=0)
    await world.connect()
    await wrote(world, "oi", peer="5511900000009")
    assert [await sends(world, f"551190000000{n}") for n in (1, 2)] == [Done(), Done()]
    third = await world.submit(to="5511900000003")
    outcome = await run(world, third)
    assert isinstance(outcome, Snooze)
    assert (outcome.park_lane, await world.status(third.id)) == (False, S.QUEUED)
    for known in ("5511900000001", "5511900000009"):  # written to before; wrote first
        assert await sends(world, known) == Done()
    world.clock.advance(DAY / 1000 + 1)
    assert await run(world, third) == Done()


async def test_the_day_is_counted_over_a_restart(world: World) -> None:
    world.limits["con_1"] = Limits(new_contacts_per_day=1, new_contacts_first_day=0)
    await world.connect()
    assert await sends(world, "5511900000001") == Done()
    for memory in (world.pace._new, world.pace._written_to, world.turns._people):
        memory.clear()
    assert isinstance(await sends(world, "5511900000002"), Snooze)


async def test_after_463_new_people_wait_and_replies_flow(world: World) -> None:
    await world.connect()
    await wrote(world, "oi")
    world.wire.answers.append(PauseNewContacts("463", "reach-out timelock", wait=3600.0))
    first = await world.submit(to="5511900000001")
    assert await run(world, first) == Snooze(3600.0)
    assert world.held == [("con_1", world.clock.now_ms() + 3_600_000)]
    another = await world.submit(to="5511900000002")
    assert isinstance(await run(world, another), Snooze)
    assert world.wire.sent == world.wire.sent[:1]  # it was not even tried
    assert await sends(world) == Done()  # this one wrote
    world.clock.advance(3601)
    assert await run(world, another) == Done()


def refused(world: World, code: str, *, age: int = 0) -> Receipt:
    return Receipt(provider_id="P1", status=S.FAILED, at=world.clock.now_ms() - age, code=code)


@pytest.mark.parametrize("code", ["131048", "131064", "shadow_ban", "rejected"])
async def test_a_restriction_that_comes_as_a_receipt_counts_too(world: World, code: str) -> None:
    connection = await world.connect()
    await world.people.heard(connection, [refused(world, code)])
    assert [name for name, _ in world.held] == ["con_1"]


@pytest.mark.parametrize(("code", "reason"), [("131042", "payment"), ("131031", "restricted")])
async def test_an_account_in_trouble_is_paused_by_a_receipt_too(world: World, code: str, reason: str) -> None:
    connection = await world.connect()
    await world.people.heard(connection, [refused(world, code)])
    assert world.troubles == [StateChange(state=SessionState.PAUSED, reason=reason)]


@pytest.mark.parametrize("code", ["131042", "131048"])
async def test_what_was_told_long_ago_says_nothing_of_now(world: World, code: str) -> None:
    """Meta repeats its webhooks for a week: a person may have mended it since."""
    connection = await world.connect()
    await world.people.heard(connection, [refused(world, code, age=3_600_001)])
    assert (world.held, world.troubles) == ([], [])


# --- one person ---


async def test_one_person_is_not_written_to_too_often_and_others_go_on(world: World) -> None:
    world.limits["con_1"] = Limits(recipient_per_minute=10, recipient_burst=2)
    await world.connect()
    assert [await sends(world) for _ in range(2)] == [Done(), Done()]
    third, fourth = await world.submit(to=PHONE), await world.submit(to=PHONE)
    assert await run(world, third) == waits(6.0)
    assert await run(world, fourth) == waits(12.0)
    assert await sends(world, "5511911112222") == Done()
    world.clock.advance(6)
    assert await run(world, third) == Done()  # its own time was kept for it
    assert await run(world, fourth) == waits(6.0)
    world.clock.advance(6)
    assert await run(world, fourth) == Done()


async def test_one_contact_of_the_cloud_api_gets_45_at_once_and_then_one_every_six_seconds(world: World) -> None:
    """Meta's pair rate, so that a chatty flow does not run into 131056."""
    world.limits["con_1"] = CLOUD.limits
    await world.connect()
    outcomes = [await sends(world) for _ in range(48)]
    assert outcomes == [*[Done()] * 45, waits(6.0), waits(12.0), waits(18.0)]
    assert not any(outcome.park_lane for outcome in outcomes if isinstance(outcome, Snooze))


async def test_a_burst_comes_back_with_time(world: World) -> None:
    world.limits["con_1"] = Limits(recipient_per_minute=60, recipient_burst=3)
    await world.connect()
    for _ in range(2):
        assert [await sends(world) for _ in range(3)] == [Done()] * 3
        world.clock.advance(3)


# --- quiet hours ---


async def test_in_quiet_hours_only_answers_leave(world: World) -> None:
    zone = ZoneInfo("America/Sao_Paulo")
    world.limits["con_1"] = Limits(quiet_hours=QuietHours(begin=22 * 60, end=8 * 60, time_zone=zone.key))
    world.clock.value = round(datetime(2026, 3, 1, 23, 0, tzinfo=zone).timestamp() * 1000)
    await world.connect()
    waiting = await world.submit(to="5511911112222")
    assert await run(world, waiting) == waits(900.0)
    assert await sends(world) == waits(900.0)
    world.clock.advance(1)
    await wrote(world, "oi")
    assert await sends(world) == Done()
    world.clock.advance(3700)
    assert isinstance(await sends(world), Snooze)  # that was an hour ago
    world.clock.advance(7 * 3600 + 3000)
    assert await run(world, waiting) == waits(499.0)
    world.clock.advance(499)
    assert await run(world, waiting) == Done()


@pytest.mark.parametrize("restart", [False, True])
async def test_an_answer_does_not_wait_for_what_met_quiet_hours_after_its_pace(world: World, restart: bool) -> None:
    zone = ZoneInfo("America/Sao_Paulo")
    quiet = QuietHours(begin=22 * 60, end=8 * 60, time_zone=zone.key)
    world.limits["con_1"] = Limits(recipient_per_minute=10, recipient_burst=1, quiet_hours=quiet)
    world.clock.value = round(datetime(2026, 3, 1, 21, 59, 58, tzinfo=zone).timestamp() * 1000)
    await world.connect()
    assert await sends(world) == Done()
    waiting = await world.submit(to=PHONE)
    assert await run(world, waiting) == waits(6.0)
    world.clock.advance(6)
    assert await run(world, waiting) == waits(900.0)
    if restart:
        restarts(world)
    world.clock.advance(60)
    await wrote(world, "oi")
    assert await sends(world) == Done()


async def test_quiet_hours_that_are_taken_back_end_soon(world: World) -> None:
    world.limits["con_1"] = Limits(quiet_hours=QuietHours(begin=0, end=24 * 60 - 1, time_zone="UTC"))
    await world.connect()
    waiting = await world.submit(to=PHONE)
    assert await run(world, waiting) == waits(900.0)
    world.limits["con_1"] = Limits()
    world.clock.advance(900)
    assert await run(world, waiting) == Done()


# --- the ninth digit ---


async def test_a_brazilian_number_is_looked_up_once_and_sent_to_as_whatsapp_spells_it(world: World) -> None:
    world.wire.lookups, world.wire.on_whatsapp = True, {OTHER_SPELLING}
    await world.connect()
    for _ in range(2):
        assert await sends(world) == Done()
    assert world.wire.asked == [(PHONE, OTHER_SPELLING)]
    assert [message.peer for message in world.wire.sent] == [OTHER_SPELLING] * 2
    history = await world.messages.history("default", "con_1")
    assert {message.peer for message in history} == {PHONE}  # as it was asked for


async def test_a_number_that_is_in_no_spelling_on_whatsapp_is_told(world: World) -> None:
    world.wire.lookups = True
    await world.connect()
    submitted = await world.submit(to=PHONE)
    outcome = await run(world, submitted)
    assert isinstance(outcome, Discard)
    assert (outcome.reason, world.wire.sent) == ("not_on_whatsapp", [])


async def test_lookups_are_few_a_minute(world: World) -> None:
    world.limits["con_1"] = Limits(lookups_per_minute=6)
    world.wire.lookups, world.wire.on_whatsapp = True, {"5511988880001", "5511988880002"}
    await world.connect()
    assert await sends(world, "5511988880001") == Done()
    second = await world.submit(to="5511988880002")
    assert await run(world, second) == waits(10.0, park_lane=True)
    world.clock.advance(10)
    assert await run(world, second) == Done()


async def test_a_lookup_that_fails_does_not_cost_the_message(world: World) -> None:
    world.wire.lookups, world.wire.lookup_trouble = True, Permanent("refused")
    await world.connect()
    assert await sends(world) == Done()
    world.wire.lookup_trouble = NotConnected("gone")
    assert isinstance(await sends(world, "5511988880001"), Snooze)


async def test_the_spelling_in_the_answer_becomes_an_id_of_the_contact(world: World) -> None:
    await world.connect()
    world.wire.answers.append(SendResult(provider_id="P1", accepted_at=world.clock.now_ms(), peer=OTHER_SPELLING))
    await sends(world)
    (contact,) = await world.contacts.listed("default", opted_out=None, found=PHONE, after=None, limit=9)
    assert (contact.aliases["phone"], contact.aliases["wa_id"]) == ((PHONE,), (OTHER_SPELLING,))


async def test_receipts_of_other_failures_hold_nothing(world: World) -> None:
    await world.connect()
    submitted = await world.submit(to=PHONE)
    await run(world, submitted)
    await world.tell(receipt(S.DELIVERED))
    assert world.held == []
    assert await world.status(submitted.id) is S.DELIVERED
