"""Any receipts, in any order, bodies and doubles, before and after the answer: the model says where they lead."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.messaging.world import S, World, receipt, world_on
from zapd.model.message import RANK

STEPS = ("sent", "delivered", "read", "played")
bodies = st.lists(
    st.lists(st.sampled_from([S.SENT, S.DELIVERED, S.READ, S.PLAYED]), min_size=1, max_size=4), max_size=5
)


async def lead(world: World, early: list[list[S]], late: list[list[S]], *, named: bool) -> None:
    submitted = await world.submit()
    provider_id = f"P{len(world.wire.sent) + 1}"
    names: dict[str, Any] = {"message_id": submitted.id} if named else {}

    async def tell_early(_: object) -> None:
        for body in early:
            await world.tell(*[receipt(status, provider_id, **names) for status in body])

    world.wire.before_answer = tell_early
    await world.run(await world.job(submitted))
    for body in late:
        await world.intake(*[receipt(status, provider_id, **names) for status in body])
    jobs = await world.jobs("message:status")
    await asyncio.gather(*[world.receiver.receive(job) for job in jobs])  # side by side, as the pool runs them
    await world.change(*[world.outbox_rows.removed(job.tenant, job.id) for job in jobs])

    highest = max([S.SENT, *[status for body in early + late for status in body]], key=RANK.__getitem__)
    assert await world.status(submitted.id) is highest
    assert await world.story(submitted.id) == ["sending", *STEPS[: RANK[highest]]]
    assert await world.parked.of("default", "con_1", provider_id) == []


def test_receipts_lead_to_the_highest_rank_and_each_step_is_told_once_in_order(
    migrated: Path, tmp_path: Path, redis_url: str
) -> None:
    shutil.copy(migrated, tmp_path / "zapd.db")
    with asyncio.Runner() as runner:
        open_world = world_on(f"sqlite+aiosqlite:///{tmp_path}/zapd.db", redis_url)
        world = runner.run(open_world.__aenter__())
        runner.run(world.connect())

        @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
        @given(early=bodies, late=bodies, named=st.booleans())
        def leads(early: list[list[S]], late: list[list[S]], named: bool) -> None:
            runner.run(lead(world, early, late, named=named))

        try:
            leads()
        finally:
            runner.run(open_world.__aexit__(None, None, None))
