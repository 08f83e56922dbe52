"""The pains of other gateways' users (whatsapp-gateway-pains.md) that are about sessions, each with a test of its name.

The others are listed at the head of test_pains.py. 10 (the ninth digit), 16 and 17 (bans, bulk) end in
tests/integration/messaging/test_people.py, 18 (the database at many sessions) in tests/bench/sessions.py.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.integration.messaging.test_people import PHONE, sends, wrote
from tests.integration.messaging.world import World, data_of
from tests.integration.test_sessions import Desk
from tests.support import eventually
from zapd.jobs.job import Done, Snooze
from zapd.model.contact import Alias
from zapd.model.pace import Limits
from zapd.model.session import Connection, Desired, SessionState
from zapd.whatsapp.transport import PauseNewContacts, QrCode

T = SessionState


@pytest.fixture
async def desk(world: World) -> AsyncIterator[Desk]:
    built = Desk(world)
    yield built
    await built.manager.stop()
    built.resolver.close()


async def is_(desk: Desk, state: SessionState, connection_id: str = "con_1") -> None:
    async def there() -> bool:
        return await desk.state(connection_id) is state

    await eventually(there)


async def test_pain_3_a_session_that_is_deaf_and_mute_does_not_say_connected(desk: Desk) -> None:
    await desk.up()
    session, wire = desk.manager.get("default", "con_1"), desk.transports["default", "con_1"]
    assert session
    wire.mute = True
    await session.look(timeout=0.01)
    await is_(desk, T.DEGRADED)
    await session.look(timeout=0.01)
    wire.mute = False
    await is_(desk, T.CONNECTED)
    assert wire.starts == 2


async def test_pain_4_a_session_that_was_replaced_does_not_fight_and_tells_once(desk: Desk) -> None:
    await desk.up()
    wire = desk.transports["default", "con_1"]
    await wire.say(T.RECONNECTING, "440")
    await is_(desk, T.PAUSED)
    assert (wire.starts, (await desk.stored()).reason) == (1, "440_replaced")
    assert (await desk.told())[2:] == ["paused"]


async def test_pain_5_a_code_is_there_with_its_expiry_or_the_reason_why_not(desk: Desk) -> None:
    created = await desk.create()
    assert created.connection.state is T.CREATED
    await desk.sessions.on_state(created.connection, QrCode(text="2@abc", expires_at=99))
    stored = await desk.stored()
    assert (stored.qr, stored.qr_expires_at) == ("2@abc", 99)


async def test_pain_6_after_a_logout_the_same_connection_pairs_again_with_its_history(desk: Desk) -> None:
    await desk.up()
    await desk.sessions.logout("default", "con_1")
    paired = await desk.sessions.pair("default", "con_1")
    assert (paired.id, paired.desired) == ("con_1", Desired.CONNECTED)
    await is_(desk, T.CONNECTED)


async def test_pain_7_a_hidden_number_and_a_phone_are_one_contact_and_the_reply_goes_where_it_came_from(
    world: World,
) -> None:
    await world.connect()
    await wrote(world, "oi", peer="81891234@lid")
    (event,) = await world.events.listed("default", type="message.received")
    told = data_of(event)
    assert (told["from"], told["contact"]["lid"], told["contact"]["phone"]) == ("81891234@lid", "81891234@lid", None)
    contact = await world.contacts.known("default", [Alias("lid", "81891234@lid"), Alias("phone", PHONE)])
    assert contact is not None
    assert contact.id == told["contact"]["id"]
    assert await sends(world, "81891234@lid") == Done()
    assert world.wire.sent[-1].peer == "81891234@lid"


async def test_pain_8_463_holds_new_people_and_lets_replies_go(world: World) -> None:
    await world.connect()
    await wrote(world, "oi")
    world.wire.answers.append(PauseNewContacts("463", "reach-out timelock", wait=600.0))
    assert await sends(world, "5511911112222") == Snooze(600.0)
    assert isinstance(await sends(world, "5511933334444"), Snooze)
    assert await sends(world) == Done()


async def test_pain_10_a_brazilian_number_is_sent_to_as_whatsapp_spells_it(world: World) -> None:
    world.wire.lookups, world.wire.on_whatsapp = True, {"551187654321"}
    await world.connect()
    assert await sends(world) == Done()
    assert world.wire.sent[-1].peer == "551187654321"


async def test_pain_13_a_closed_session_leaves_no_task(desk: Desk) -> None:
    for _ in range(3):
        await desk.manager.start(await _stored_or_new(desk))
        await is_(desk, T.CONNECTED)
        await desk.manager.close("default", "con_1")
    left = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("session:")]
    assert left == []  # with 200 sessions, 20 times, and memory and files too: tests/integration/test_soak.py


async def _stored_or_new(desk: Desk) -> Connection:
    if await desk.world.connections.get("default", "con_1") is None:
        await desk.create()
    return await desk.stored()


async def test_pain_16_new_people_are_few_on_the_first_days_of_a_number(world: World) -> None:
    world.limits["con_1"] = Limits(new_contacts_per_day=100, new_contacts_first_day=2)
    await world.connect(created_at=world.clock.now_ms())
    outcomes = [await sends(world, f"551191111000{n}") for n in range(3)]
    assert outcomes[:2] == [Done(), Done()]
    assert isinstance(outcomes[2], Snooze)


async def test_pain_17_a_bulk_to_new_people_does_not_hold_up_a_reply(world: World) -> None:
    world.limits["con_1"] = Limits(new_contacts_per_day=1, new_contacts_first_day=0)
    await world.connect()
    await wrote(world, "oi")
    for n in range(5):
        await sends(world, f"551191111000{n}")
    assert len(world.wire.sent) == 1
    assert await sends(world) == Done()


async def test_pain_19_an_outdated_client_stops_and_keeps_its_queue(desk: Desk) -> None:
    await desk.up()
    await desk.transports["default", "con_1"].say(T.RECONNECTING, "405")
    await is_(desk, T.CLIENT_OUTDATED)
    assert desk.transports["default", "con_1"].starts == 1
    assert not desk.wires.connected("default", "con_1")


async def test_pain_20_after_a_restart_what_was_wanted_comes_back_by_itself(desk: Desk, world: World) -> None:
    for name in ("con_1", "con_2"):
        await desk.up(name)
    await desk.sessions.pause("default", "con_2")
    await desk.manager.stop()
    again = Desk(world)
    running = asyncio.create_task(again.manager.run(), name="manager")
    await eventually(lambda: again.wires.connected("default", "con_1"))
    assert again.manager.get("default", "con_2") is None
    await again.manager.stop()
    await running
    again.resolver.close()
