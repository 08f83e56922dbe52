"""Messages about earlier messages: named by our ids or the provider's, found when they leave."""

from typing import Any

import orjson
import pytest

from tests.integration.messaging.test_receive import wrote
from tests.integration.messaging.world import S, World
from zapd.errors import InvalidInput
from zapd.jobs.job import Discard, Done, Snooze
from zapd.messaging.submit import Submitted
from zapd.whatsapp.transport import SendResult


@pytest.fixture(autouse=True)
async def _connection(world: World) -> None:
    await world.connect()


async def sent(world: World, provider_id: str) -> Submitted:
    """A message of ours that left."""
    submitted = await world.submit()
    world.wire.answers.append(SendResult(provider_id=provider_id, accepted_at=world.clock.now_ms()))
    await world.run(await world.job(submitted))
    return submitted


async def about(world: World, type_: str, ref: str, **more: Any) -> Submitted:
    return await world.submit(type=type_, payload=orjson.dumps({"message_id": ref, **more}))


@pytest.mark.parametrize("by", ["ours", "provider's"])
async def test_a_message_about_one_of_ours_names_it_either_way(world: World, by: str) -> None:
    first = await sent(world, "wamid.A")

    reaction = await about(world, "reaction", first.id if by == "ours" else "wamid.A", emoji="❤")
    assert await world.run(await world.job(reaction)) == Done()

    target = world.wire.enclosed[-1].target
    assert target is not None
    assert (target.provider_id, target.from_me, target.type) == ("wamid.A", True, "text")
    assert orjson.loads(target.payload) == {"text": "Oi"}


async def test_a_reply_to_what_a_contact_wrote_names_it_by_our_id(world: World) -> None:
    await world.tell(wrote("IN7"))
    (theirs,) = await world.messages.history("default", "con_1")

    reply = await world.submit(reply_to=theirs.id)
    await world.run(await world.job(reply))

    target = world.wire.enclosed[-1].target
    assert target is not None
    assert (target.provider_id, target.from_me, target.peer) == ("IN7", False, "5511977776666")


async def test_an_id_that_only_the_provider_knows_is_handed_on(world: World) -> None:
    """Somebody may quote what is past its retention here."""
    reply = await world.submit(reply_to="wamid.OLD")
    await world.run(await world.job(reply))
    target = world.wire.enclosed[-1].target
    assert target is not None
    assert (target.provider_id, target.peer) == ("wamid.OLD", "5511999998888")


async def test_a_message_waits_for_its_target_and_dies_with_it(world: World) -> None:
    first = await world.submit()
    edit = await about(world, "edit", first.id, text="Ola")
    outcome = await world.run(await world.job(edit))
    assert isinstance(outcome, Snooze)
    assert not outcome.park_lane  # the target may be behind it in the same lane
    assert (await world.status(edit.id), world.wire.sent) == (S.QUEUED, [])

    await world.messaging.cancel("default", first.id)
    assert isinstance(await world.run(await world.job(edit)), Discard)
    assert await world.status(edit.id) is S.DLQ


@pytest.mark.parametrize("type_", ["edit", "revoke"])
async def test_only_our_own_messages_are_edited_or_revoked(world: World, type_: str) -> None:
    await world.tell(wrote("IN7"))
    with pytest.raises(InvalidInput, match=r"payload\.message_id: is a message of the contact"):
        await about(world, type_, "IN7", **({"text": "x"} if type_ == "edit" else {}))


@pytest.mark.parametrize(("type_", "more"), [("edit", {"text": "x"}), ("revoke", {}), ("reaction", {"emoji": "❤"})])
async def test_a_message_to_somebody_else_is_not_changed_here(world: World, type_: str, more: dict[str, str]) -> None:
    await sent(world, "wamid.A")
    payload = orjson.dumps({"message_id": "wamid.A", **more})
    with pytest.raises(InvalidInput, match=r"payload\.message_id: is a message from or to somebody else"):
        await world.submit(to="5511911112222", type=type_, payload=payload)


@pytest.mark.parametrize(
    ("type_", "more"), [("edit", {"text": "x"}), ("revoke", {}), ("forward", {})], ids=["edit", "revoke", "forward"]
)
async def test_what_zapd_must_know_to_change_it_is_refused_when_it_does_not(
    world: World, type_: str, more: dict[str, str]
) -> None:
    with pytest.raises(InvalidInput, match=r"there is no message wamid\.NO on this connection"):
        await about(world, type_, "wamid.NO", **more)


async def test_an_id_of_ours_that_is_not_on_this_connection_is_refused(world: World) -> None:
    await world.connect("con_2")
    other = await world.submit(connection_id="con_2")
    with pytest.raises(InvalidInput, match=f"reply_to: there is no message {other.id}"):
        await world.submit(reply_to=other.id)
