"""A send that was answered is recorded, though SQL is away when the answer comes."""

from typing import Any

from tests.integration.messaging.world import S, World
from zapd.errors import Unavailable
from zapd.messaging import send as send_module
from zapd.model.message import Message
from zapd.store.commands import Change, Row


async def test_an_answer_that_came_while_sql_was_away_is_not_forgotten(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr(send_module, "RECORD_AGAIN", 0.001)
    await world.connect()
    submitted = await world.submit()
    commit = world.writer.commit
    refusals: list[Change] = []

    async def flapping(guard: Change, *then: Change) -> Row | None:
        if world.wire.sent and len(refusals) < 3:
            refusals.append(guard)
            raise Unavailable
        return await commit(guard, *then)

    async def away(_message: Message) -> None:
        monkeypatch.setattr(world.writer, "commit", flapping)

    world.wire.before_answer = away
    job = await world.job(submitted)

    await world.run(job)
    await world.run(job)  # the job comes again, as after a crash

    assert len(refusals) == 3
    assert await world.status(submitted.id) is S.SENT
    assert len(world.wire.sent) == 1
