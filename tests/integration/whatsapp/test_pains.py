"""What hurts the users of other gateways (whatsapp-gateway-pains.md), each with a test named after it.

Here, by `messages`:
  1  the message reached the socket and no webhook fired      2  dedup drops real messages
  9  the send answers 200 and nothing arrives                12  after a reconnect days-old messages are sent
  14 the same webhook twice, near-simultaneously
  15 Meta redelivers and the bot answers twice               22  the payload's shape changes without notice
  23 media in base64, missing, or by a URL that is gone      25  events race and the first message is lost

Elsewhere:
  3 4 5 6 7 8 10 13 16 17 19 20      sessions: zombies, reconnect loops, QR, logout, @lid, 463, the ninth digit, leaks,
                                     bans and bulk, pools, client_outdated, restarts
  11 18 21 24                        tests/unit/whatsapp/test_pains.py says where, or why not
"""

import asyncio
from typing import Any

import orjson
import pytest

from tests.integration.messaging.test_inbound import FILE, as_meta, meta_tells
from tests.integration.messaging.test_receive import came_in, wrote
from tests.integration.messaging.world import S, World, data_of, receipt
from tests.support.fake_meta import text_message, webhook_body
from zapd.errors import Unavailable
from zapd.jobs.job import Done
from zapd.whatsapp import sandbox_wire
from zapd.whatsapp.transport import Permanent


@pytest.fixture(autouse=True)
async def _connection(world: World) -> None:
    await world.connect()


async def test_pain_1_every_message_that_came_in_has_its_webhook(world: World) -> None:
    """Kept first, with the job that reads it; the message and its delivery then are one commit."""
    await world.subscribe("message.received")
    await world.intake(wrote("IN1"))
    (job,) = await world.jobs("message:receive")
    commit, calls = world.receiver._inbounds._commit, 0

    async def broken(*changes: Any, **more: Any) -> Any:
        nonlocal calls
        calls += 1
        raise Unavailable("SQL is away")

    world.receiver._inbounds._commit = broken
    with pytest.raises(Unavailable):
        await world.receiver.receive(job)
    assert (await came_in(world), await world.jobs("webhook:delivery"), calls) == ([], [], 1)

    world.receiver._inbounds._commit = commit
    await world.read()
    assert (len(await came_in(world)), len(await world.jobs("webhook:delivery"))) == (1, 1)


async def test_pain_2_only_the_same_message_is_a_duplicate(world: World) -> None:
    """Without an id two messages are told apart by their content; one id in two chats of a provider is two keys."""
    nameless = [text_message("", "one"), text_message("", "two"), text_message("undefined", "three")]
    await meta_tells(world, {"messages": nameless})
    assert {orjson.loads(m.payload)["text"] for m in await came_in(world)} == {"one", "two", "three"}
    first = await world.submit()
    await world.run(await world.job(first))
    world.wire.parser = lambda _connection, raw: sandbox_wire.parse(raw)
    await world.tell(receipt("delivered"), receipt("read"))  # two statuses of one message are two facts
    message = await world.message(first.id)
    assert (message.status, bool(message.delivered_at)) == (S.READ, True)


async def test_pain_9_a_provider_s_error_is_on_the_message_and_pushed(world: World) -> None:
    await world.subscribe("message.failed")
    submitted = await world.submit()
    world.wire.answers.append(Permanent("131026", "undeliverable"))
    await world.run(await world.job(submitted))
    message = await world.message(submitted.id)
    assert (message.status, message.error_code, message.error) == (S.DLQ, "131026", "undeliverable")
    assert data_of(await world.event(submitted.id, "message.failed"))["error"]["code"] == "131026"
    assert len(await world.jobs("webhook:delivery")) == 1


async def test_pain_12_what_expired_while_the_session_was_away_never_leaves(world: World) -> None:
    submitted = await world.submit(expires_at=world.clock.value + 1000)
    world.wire.up = False
    await world.run(await world.job(submitted))
    world.clock.value += 1001
    world.wire.up = True
    assert await world.run(await world.job(submitted)) == Done()
    assert (await world.status(submitted.id), world.wire.sent) == (S.EXPIRED, [])


async def test_pain_14_a_fact_is_one_event_and_one_delivery_whatever_was_subscribed(world: World) -> None:
    """Not a message and a second event for any message; told twice at the same moment, it is told on once."""
    await world.subscribe("message.*", "message.received", "*")
    await asyncio.gather(world.intake(wrote("IN1"), key="a"), world.intake(wrote("IN1"), key="b"))
    jobs = await world.jobs("message:receive")
    assert await asyncio.gather(*[world.receiver.receive(job) for job in jobs]) == [Done(), Done()]
    events = await world.events.listed("default")
    assert [event.type for event in events if event.message_id is not None] == ["message.received"]
    assert len(await world.jobs("webhook:delivery")) == len(events)


async def test_pain_15_what_meta_sends_again_is_taken_once(world: World) -> None:
    """The same body is dropped by its hash; the same message in another body by its id."""
    as_meta(world)
    await world.subscribe("message.received")
    connection = await world.connections.get("default", "con_1")
    assert connection is not None
    raw = orjson.dumps(webhook_body({"messages": [text_message("wamid.1", "oi")]}))
    assert await world.receiver.intake(connection, raw, "sha-1")
    assert not await world.receiver.intake(connection, raw, "sha-1")
    other = webhook_body({"messages": [text_message("wamid.1", "oi"), text_message("wamid.2", "tudo bem?")]})
    assert await world.receiver.intake(connection, orjson.dumps(other), "sha-2")
    await world.read()
    assert [m.provider_id for m in await came_in(world)] == ["wamid.1", "wamid.2"]
    assert len(await world.jobs("webhook:delivery")) == 2


async def test_pain_22_the_shape_of_an_event_only_grows(world: World) -> None:
    """Golden: whoever takes a name away from here breaks receivers."""
    await world.tell(wrote("IN1"))
    (message,) = await came_in(world)
    event = await world.event(message.id, "message.received")
    envelope = orjson.loads(event.payload)
    assert set(envelope) == {"id", "type", "timestamp", "connection_id", "data"}
    named = {"message_id", "from", "name", "type", "payload", "provider_id", "aliases"}
    assert named <= set(envelope["data"])
    submitted = await world.submit()
    await world.run(await world.job(submitted))
    assert set(data_of(await world.event(submitted.id, "message.sent"))) >= {"message_id", "to", "provider_id"}


async def test_pain_23_media_is_a_file_behind_a_link_and_never_in_an_event(world: World) -> None:
    content = b"\xff\xd8\xff" + bytes(500_000)
    item = {key: value for key, value in FILE.items() if key != "sha256"}
    await meta_tells(world, {"messages": [text_message("wamid.P", "") | {"type": "image", "image": item}]})
    (message,) = await came_in(world)
    world.wire.files.append(content)
    (job,) = await world.jobs("media:download")
    assert await world.downloads.run(job) == Done()
    for name in ("message.received", "message.media"):
        event = await world.event(message.id, name)
        assert len(event.payload) < 2000
        assert data_of(event)["media"]["url"].startswith("http://z/media/med_")


async def test_pain_25_a_chat_is_read_in_its_order_beside_the_others(world: World) -> None:
    texts = [text_message(f"wamid.{n}", str(n), sender=f"55119876543{n % 3:02}") for n in range(30)]
    await meta_tells(world, {"messages": texts})
    by_chat: dict[str, list[int]] = {}
    for message in await came_in(world):  # by id: the order in which they were made
        by_chat.setdefault(message.peer, []).append(int(orjson.loads(message.payload)["text"]))
    assert [len(numbers) for numbers in by_chat.values()] == [10, 10, 10]
    assert all(numbers == sorted(numbers) for numbers in by_chat.values())
