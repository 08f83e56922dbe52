"""What is past its retention goes, all of it, and nothing else."""

from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from tests.integration.messaging.world import QUEUES, S, World
from tests.support.store import NOW, event, message
from zapd.errors import Unavailable
from zapd.janitor import Janitor
from zapd.jobs.job import Done, Job
from zapd.model.contact import Alias
from zapd.store import purge as purge_module
from zapd.store.purge import Purge

DAY = 86_400_000
JOB = Job(id="j", queue="maintenance:cleanup", payload=b"{}", priority=1, created_at=NOW)


def a_janitor(world: World, **changes: Any) -> Janitor:
    async def clean_queue(queue: str) -> int:
        return 0

    parts: dict[str, Any] = {
        "retention": dict.fromkeys(sorted(Purge.TABLES), DAY),
        "purge": Purge(database=world.database, writer=world.writer).purge,
        "queues": QUEUES,
        "clean_queue": clean_queue,
        "now_ms": world.clock.now_ms,
        "registry": CollectorRegistry(),
    }
    return Janitor(**(parts | changes))


async def test_only_what_ended_and_is_past_its_retention_goes(world: World) -> None:
    old, young = NOW, NOW + DAY
    world.clock.value = young
    await world.change(
        world.messages.added(message("msg_old", status=S.READ, created_at=old - 1)),
        world.messages.added(message("msg_edge", status=S.READ, created_at=old)),
        world.messages.added(message("msg_young", status=S.READ, created_at=young)),
        world.messages.added(message("msg_waits", status=S.QUEUED, created_at=old - 1)),
        world.messages.added(message("msg_held", status=S.HELD, created_at=old - 1)),
        world.events.recorded(event("evt_old", created_at=old - 1)),
        world.events.recorded(event("evt_young", created_at=young)),
    )

    assert await a_janitor(world).clean(JOB) == Done()

    kept = [found.id for found in await world.messages.history("default", "con_1")]
    assert kept == ["msg_edge", "msg_held", "msg_waits", "msg_young"]
    assert [found.id for found in await world.events.listed("default")] == ["evt_young"]


async def test_it_goes_on_until_nothing_is_left(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purge_module, "SLICE", 7)
    await world.change(*[world.messages.added(message(f"msg_{i:03}", status=S.READ)) for i in range(50)])
    world.clock.value = NOW + 2 * DAY
    await a_janitor(world).clean(JOB)
    assert await world.messages.history("default", "con_1") == []


async def test_each_table_has_its_own_retention(world: World) -> None:
    await world.change(world.messages.added(message(status=S.READ)), world.events.recorded(event(message_id=None)))
    world.clock.value = NOW + 2 * DAY
    await a_janitor(world, retention={"messages": 3 * DAY, "events": DAY}).clean(JOB)
    assert len(await world.messages.history("default", "con_1")) == 1
    assert await world.events.listed("default") == []


async def test_every_queue_is_cleaned_until_nothing_is_left_of_it(world: World) -> None:
    left = {queue: number for number, queue in enumerate(QUEUES)}

    async def clean_queue(queue: str) -> int:
        slice_size = min(2, left[queue])
        left[queue] -= slice_size
        return slice_size

    await a_janitor(world, clean_queue=clean_queue).clean(JOB)
    assert set(left.values()) == {0}


async def test_a_queue_that_cannot_be_cleaned_says_so_after_the_tables_were(world: World) -> None:
    async def away(queue: str) -> int:
        raise Unavailable

    await world.change(world.messages.added(message(status=S.READ)))
    world.clock.value = NOW + 2 * DAY
    with pytest.raises(Unavailable):
        await a_janitor(world, clean_queue=away).clean(JOB)
    assert await world.messages.history("default", "con_1") == []


async def test_contacts_whom_nobody_met_for_long_are_forgotten_and_wishes_for_no_messages_never(world: World) -> None:
    async def meet(number: str) -> str:
        found = await world.contacts.known("default", [Alias("phone", number)])
        assert found is not None
        return found.id

    quiet, faithful, stopped = [await meet(f"551190000000{n}") for n in range(3)]
    await world.contacts.opt_out("default", stopped, by="SAIR")
    for _ in range(9):  # it stays in memory all the time: meeting it must be noted nevertheless
        world.clock.advance(DAY / 1000)
        assert await meet("5511900000001") == faithful

    await a_janitor(world, retention={"contacts": 2 * DAY}).clean(JOB)

    kept = await world.contacts.listed("default", opted_out=None, found=None, after=None, limit=9)
    assert {contact.id for contact in kept} == {faithful, stopped}
    world.clock.advance(1000 * DAY / 1000)
    await a_janitor(world, retention={"contacts": 2 * DAY}).clean(JOB)
    assert await world.contacts.opted_out("default", "5511900000002") is not None
    assert await meet("5511900000000") != quiet  # its ids are free again
