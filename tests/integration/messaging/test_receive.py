"""What comes from the network: kept first, read after, and no harm done when it is read again."""

from dataclasses import replace
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from tests.integration.messaging.world import S, World, data_of, receipt
from zapd.jobs.job import Done
from zapd.model.message import Direction, Message
from zapd.store.tables import inbox
from zapd.whatsapp.sandbox_wire import contact_wrote


def wrote(provider_id: str = "IN1", peer: str = "5511977776666", **changes: Any) -> dict[str, Any]:
    """A contact wrote."""
    written: dict[str, Any] = contact_wrote(
        provider_id, peer=peer, type_="text", payload={"text": "Olá"}, at=1_750_000_000_123
    )
    return written | changes


async def came_in(world: World, tenant: str = "default") -> list[Message]:
    return await world.messages.history(tenant, "con_1", direction=Direction.INBOUND)


@pytest.fixture(autouse=True)
async def _connection(world: World) -> None:
    await world.connect()


async def test_what_a_contact_writes_is_a_message_and_an_event(world: World) -> None:
    await world.subscribe("message.received")

    assert await world.tell(wrote(reply_to="wamid.1")) == [Done()]

    (message,) = await came_in(world)
    assert (message.status, message.peer, message.provider_id) == (S.RECEIVED, "5511977776666", "IN1")
    assert (message.payload, message.reply_to, message.created_at) == (
        b'{"text":"Ol\xc3\xa1"}',
        "wamid.1",
        1750000000123,
    )
    received = data_of(await world.event(message.id, "message.received"))
    contact = received.pop("contact")
    assert (contact["phone"], contact["name"]) == ("5511977776666", "Sandbox contact")
    assert received == {
        "message_id": message.id,
        "from": "5511977776666",
        "name": "Sandbox contact",
        "type": "text",
        "payload": {"text": "Olá"},
        "provider_id": "IN1",
        "aliases": {"phone": "5511977776666", "wa_id": "5511977776666"},
        "reply_to": {"provider_id": "wamid.1", "message_id": None},
    }
    assert len(await world.jobs("webhook:delivery")) == 1


async def test_the_bytes_are_kept_with_the_jobs_that_read_them(world: World) -> None:
    await world.intake(wrote(), receipt(S.SENT))

    (reader,), (status,) = await world.jobs("message:receive"), await world.jobs("message:status")
    assert (reader.priority, reader.lane, status.priority, status.lane) == (7, "con_1/5511977776666", 4, "")
    assert orjson.loads(reader.payload) == orjson.loads(status.payload)
    row = await world.inbox.get("default", orjson.loads(reader.payload)["inbox_id"])
    assert row is not None
    assert (orjson.loads(row.raw)["network"], row.processed_at) == ("sandbox", None)
    await world.read()
    row = await world.inbox.get("default", row.id)
    assert row is not None
    assert row.processed_at == world.clock.now_ms()


async def test_a_body_that_comes_twice_is_kept_once(world: World) -> None:
    assert await world.intake(wrote(), key="k") is True
    assert await world.intake(wrote(), key="k") is False
    assert len(await world.jobs("message:receive")) == 1


async def test_two_tenants_may_get_the_same_body(world: World) -> None:
    other = await world.connect(tenant="other")
    assert await world.intake(wrote(), key="k") is True
    assert await world.intake(wrote(), key="k", connection=other) is True
    await world.read()
    assert len(await came_in(world)) == len(await came_in(world, "other")) == 1


async def test_a_message_that_comes_in_two_bodies_is_one(world: World) -> None:
    await world.subscribe("message.received")
    await world.tell(wrote("IN1"), wrote("IN2"))
    await world.tell(wrote("IN2"), wrote("IN3"))
    assert [message.provider_id for message in await came_in(world)] == ["IN1", "IN2", "IN3"]
    assert len(await world.jobs("webhook:delivery")) == 3


async def test_reading_a_body_again_changes_nothing(world: World) -> None:
    submitted = await world.submit()
    await world.run(await world.job(submitted))
    await world.intake(wrote(), receipt(S.DELIVERED))
    jobs = [*await world.jobs("message:receive"), *await world.jobs("message:status")]
    for _ in range(3):
        for job in jobs:
            assert await world.receiver.receive(job) == Done()
    assert len(await came_in(world)) == 1
    assert await world.story(submitted.id) == ["sending", "sent", "delivered"]


async def test_a_body_without_updates_is_processed_as_it_comes(world: World) -> None:
    """Nothing would ever mark it, and what is not marked is kept for ever."""
    assert await world.intake(key="k")
    assert await world.jobs("message:receive") == await world.jobs("message:status") == []
    rows = await world.database.fetch(sa.select(inbox.c.processed_at))
    assert rows == [(world.clock.now_ms(),)]


async def test_foreign_bytes_are_refused_and_nothing_is_kept(world: World) -> None:
    connection = await world.wire.find("default", "con_1")
    assert connection is not None
    with pytest.raises(ValueError):
        await world.receiver.intake(connection, b'{"object":"page"}', "k")
    assert await world.jobs("message:receive") == []


async def test_a_body_that_is_past_its_retention_is_done_with(world: World) -> None:
    await world.intake(wrote())
    (job,) = await world.jobs("message:receive")
    gone = replace(job, payload=orjson.dumps({"inbox_id": "inb_gone", "connection_id": "con_1"}))
    assert await world.receiver.receive(gone) == Done()


@pytest.mark.parametrize(
    ("peers", "lane"),
    [
        (["5511977776666", "5511977776666"], "con_1/5511977776666"),
        (["5511977776666", "5511955554444"], "con_1"),
        (["123@g.us"], "con_1/123@g.us"),
        (["a|b\n"], "con_1"),
        (["9" * 400], "con_1"),
    ],
)
async def test_a_conversation_is_a_lane_whatever_a_stranger_calls_himself(
    world: World, peers: list[str], lane: str
) -> None:
    await world.intake(*[wrote(f"IN{i}", peer) for i, peer in enumerate(peers)])
    (job,) = await world.jobs("message:receive")
    assert job.lane == lane
    assert await world.engine.broker.enqueue([job]) == [True]  # Redis takes it
    await world.read()
    assert sorted(message.peer for message in await came_in(world)) == sorted(peers)
