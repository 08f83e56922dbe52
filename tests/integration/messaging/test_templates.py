"""Templates that Meta paused or disabled: refused early, visible, and taken again when they are back."""

import orjson
import pytest

from tests.integration.messaging.world import World, data_of
from tests.integration.messaging.world import told as told_of
from tests.support.fake_meta import NUMBER, webhook_body
from zapd.errors import InvalidInput, NotFound
from zapd.jobs.job import Discard, Done, Outcome
from zapd.messaging.submit import Submitted
from zapd.model.message import MessageStatus
from zapd.whatsapp import cloud_webhook
from zapd.whatsapp.cloud_errors import told

HOUR = 3600.0


async def submit(world: World, name: str = "order_ok", language: str = "pt_BR") -> Submitted:
    payload = orjson.dumps({"name": name, "language": language, "components": []})
    return await world.submit(to="5511987654321", type="template", payload=payload)


async def run(world: World, submitted: Submitted) -> Outcome:
    return await world.run(await world.job(submitted))


async def meta_says(world: World, event: str, *, entry_time: int = 0, **more: object) -> None:
    world.wire.parser = lambda _, raw: cloud_webhook.parse(raw, phone_number_id=NUMBER)
    value = {"event": event, "message_template_name": "order_ok", "message_template_language": "pt_BR", **more}
    body = webhook_body(value, field="message_template_status_update")
    del body["entry"][0]["changes"][0]["value"]["metadata"]
    body["entry"][0]["time"] = entry_time or world.clock.now_ms() // 1000
    connection = await world.wire.find("default", "con_1")
    assert connection
    await world.receiver.intake(connection, orjson.dumps(body), world.ids.ulid())
    await world.read()


@pytest.fixture
async def world(world: World) -> World:
    await world.connect()
    return world


async def test_after_132016_messages_with_this_template_are_refused(world: World) -> None:
    waiting, error = await submit(world), told("132016", "Template is disabled")
    assert error
    world.wire.answers.append(error)
    assert await run(world, await submit(world)) == Discard("132016", "Template is disabled")
    with pytest.raises(InvalidInput, match=r"order_ok \(pt_BR\), which is disabled since .*: 132016") as refused:
        await submit(world)
    assert refused.value.fields[0].field == "payload.name"
    sent = len(world.wire.sent)
    outcome = await run(world, waiting)  # accepted before, and not sent into a refusal
    assert isinstance(outcome, Discard)
    assert (outcome.reason, len(world.wire.sent)) == ("template_refused", sent)
    assert (await world.message(waiting.id)).status is MessageStatus.DLQ

    assert await run(world, await submit(world, language="en_US")) == Done()
    assert await run(world, await submit(world, name="other")) == Done()
    (event,) = await world.events.listed("default", type="template.state")
    said = {"name": "order_ok", "language": "pt_BR", "state": "disabled", "reason": "132016", "until": None}
    assert data_of(event) == said


async def test_a_pause_that_a_send_told_ends_by_itself(world: World) -> None:
    error = told("132015", "Template is paused")
    assert error
    world.wire.answers.append(error)
    await run(world, await submit(world))
    with pytest.raises(InvalidInput, match=r"paused since .*; it is tried again from"):
        await submit(world)
    world.clock.advance(3 * HOUR)
    assert await run(world, await submit(world)) == Done()


async def test_a_status_that_says_so_later_is_believed_too(world: World) -> None:
    submitted = await submit(world)
    await run(world, submitted)
    connection = await world.wire.find("default", "con_1")
    assert connection
    failed = told_of(MessageStatus.FAILED, at=world.clock.now_ms(), code="132016", detail="disabled")
    await world.people.heard(connection, [failed])
    with pytest.raises(InvalidInput, match="disabled"):
        await submit(world)


async def test_webhooks_close_a_template_and_open_it_again(world: World) -> None:
    for event in ("DISABLED", "REJECTED", "PAUSED", "DELETED"):
        await meta_says(world, event, reason="NONE")
        with pytest.raises(InvalidInput, match=event.lower()):
            await submit(world)
        world.clock.advance(1)
        await meta_says(world, "APPROVED", reason="NONE")
        await submit(world)
        world.clock.advance(1)
    assert len(await world.events.listed("default", type="account.message_template_status_update")) == 8


async def test_the_second_pause_is_longer(world: World) -> None:
    await meta_says(world, "PAUSED", reason="NONE", other_info={"title": "SECOND_PAUSE", "description": "…"})
    world.clock.advance(5 * HOUR)
    with pytest.raises(InvalidInput, match="SECOND_PAUSE"):
        await submit(world)
    world.clock.advance(HOUR)
    await submit(world)


async def test_a_webhook_that_comes_late_changes_nothing(world: World) -> None:
    now = world.clock.now_ms() // 1000
    await meta_says(world, "APPROVED", entry_time=now - 10)
    await meta_says(world, "DISABLED", entry_time=now - 20)
    await submit(world)
    await meta_says(world, "FLAGGED")  # a warning: Meta sends it still
    await submit(world)


async def test_a_webhook_of_the_same_second_opens_what_a_send_closed(world: World) -> None:
    world.clock.value += 999 - world.clock.value % 1000
    error = told("132016", "Template is disabled")
    assert error
    world.wire.answers.append(error)
    await run(world, await submit(world))
    await meta_says(world, "APPROVED")  # its time is that second's first millisecond
    await submit(world)


async def test_a_pause_that_is_told_late_is_a_pause_still(world: World) -> None:
    await meta_says(world, "PAUSED", entry_time=world.clock.now_ms() // 1000 - 86_400)
    with pytest.raises(InvalidInput, match="paused"):
        await submit(world)


async def test_a_person_can_say_that_it_may_be_tried_again(world: World) -> None:
    await meta_says(world, "DISABLED", reason="NONE")
    connection = await world.wire.find("default", "con_1")
    assert connection
    (known,) = await world.templates.listed(connection, after=None, limit=9)
    assert (known.state, known.reason, world.templates.refused_now(known)) == ("disabled", None, True)
    assert await world.templates.listed(connection, after=("order_ok", "pt_BR"), limit=9) == []
    await world.templates.forget(connection, "order_ok", "pt_BR")
    await submit(world)
    with pytest.raises(NotFound, match="order_ok"):
        await world.templates.forget(connection, "order_ok", "pt_BR")
