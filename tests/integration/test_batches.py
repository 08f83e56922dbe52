"""Batches and chains: every end is counted once and what follows happens once, whatever dies in between."""

import asyncio
from typing import Any

import orjson
import pytest
from prometheus_client import CollectorRegistry

from tests.integration.messaging.world import SEND, World
from zapd.actions.envelope import opened
from zapd.announce import Announcer
from zapd.batches import Batches, BatchMetrics, callback_of
from zapd.errors import Conflict, Unavailable
from zapd.jobs.job import Job
from zapd.model.access import DEFAULT_TENANT as TENANT
from zapd.model.batch import Batch, BatchKind, BatchState, MemberState
from zapd.store.batches import BatchStore


class Crash(BaseException):
    """The process dies here."""


class Life:
    """One daemon's batches. `dies_after` commits it crashes, before or after the last one took effect."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rows = BatchStore(database=world.database, reader=world.reader)
        self.announcer = Announcer(events=world.events, fan_out=lambda _event, _also: ((), ()), ids=world.ids)

    def batches(self, commit: Any = None) -> Batches:
        return Batches(
            rows=self.rows,
            commit=commit or self.world.outbox.commit,
            announce=self.announcer.announce,
            ids=self.world.ids,
            now_ms=self.world.clock.now_ms,
            metrics=BatchMetrics(registry=CollectorRegistry()),
        )

    def job(self, payload: bytes = b"{}") -> Job:
        now = self.world.clock.now_ms()
        return Job(id=self.world.ids.new("job"), queue=SEND, payload=payload, priority=5, created_at=now)

    async def make(self, kind: BatchKind, count: int) -> tuple[Batch, list[Job]]:
        callback = callback_of(self.job(b'{"mine":1}'), None)
        jobs = [self.job(b"%d" % n) for n in range(count)]
        return await self.batches().create(TENANT, None, kind, jobs, callback), jobs

    async def live(self) -> list[Job]:
        jobs: list[Job] = await self.world.jobs(SEND)
        return jobs

    async def callbacks(self) -> list[Any]:
        payloads = [orjson.loads(opened(job.payload).payload) for job in await self.live()]
        return [payload for payload in payloads if isinstance(payload, dict) and "batch_id" in payload]

    async def state(self, batch: Batch) -> Batch:
        found = await self.rows.get(TENANT, batch.id)
        assert found is not None
        return found


@pytest.fixture
def life(world: World) -> Life:
    return Life(world)


async def test_a_batch_ends_when_its_last_job_did(life: Life) -> None:
    batch, jobs = await life.make(BatchKind.BATCH, 30)
    assert [opened(job.payload).batch for job in await life.live()] == [batch.id] * 30
    batches = life.batches()
    for job in jobs[1:]:
        await batches.ended(job, batch.id, error=None, result=None)
    assert (await life.state(batch)).state is BatchState.OPEN
    await asyncio.gather(*[batches.ended(jobs[0], batch.id, error="no", result=None) for _ in range(3)])
    ended = await life.state(batch)
    assert (ended.state, ended.succeeded, ended.failed) == (BatchState.ENDED, 29, 1)
    (told,) = await life.callbacks()
    assert told == {
        "batch_id": batch.id,
        "kind": "batch",
        "total": 30,
        "succeeded": 29,
        "failed": 1,
        "data": {"mine": 1},
    }


async def test_two_daemons_that_end_the_last_jobs_together_call_back_once(life: Life) -> None:
    for _ in range(10):
        batch, jobs = await life.make(BatchKind.BATCH, 6)
        daemons = [life.batches() for _ in range(3)]
        await asyncio.gather(
            *[daemons[n % 3].ended(job, batch.id, error=None, result=None) for n, job in enumerate(jobs)]
        )
        for daemon in daemons:
            await daemon.sweep()
        assert (await life.state(batch)).succeeded == 6
    assert len(await life.callbacks()) == 10


@pytest.mark.parametrize("kind", list(BatchKind))
@pytest.mark.parametrize("after_it", [False, True], ids=["before-commit", "after-commit"])
@pytest.mark.parametrize("number", range(1, 12))
async def test_a_kill_at_any_commit_loses_no_step_and_doubles_none(
    life: Life, kind: BatchKind, after_it: bool, number: int
) -> None:
    """The jobs run as a queue runs them: what did not come to its end runs again, at the next daemon."""
    batch, _ = await life.make(kind, 4)
    commits = 0

    async def commit(*changes: Any, **more: Any) -> Any:
        nonlocal commits
        commits += 1
        if commits == number and not after_it:
            raise Crash
        result = await life.world.outbox.commit(*changes, **more)
        if commits == number:
            raise Crash
        return result

    ran: list[str] = []
    ended: set[str] = set()
    batches = life.batches(commit)
    for _ in range(12):
        todo = [job for job in await life.live() if opened(job.payload).batch and job.id not in ended]
        if not todo and (await life.state(batch)).state is BatchState.ENDED:
            break
        try:
            for job in todo:
                ran.append(job.id)
                await batches.ended(job, batch.id, error=None, result=opened(job.payload).payload)
                ended.add(job.id)
        except Crash:
            batches = life.batches(commit)  # the next start
        await batches.sweep()
    over = await life.state(batch)
    assert (over.state, over.succeeded, over.failed) == (BatchState.ENDED, 4, 0)
    assert len(await life.callbacks()) == 1
    members = await life.rows.members(TENANT, batch.id, after=-1, limit=10)
    assert [(one.state, one.result) for one in members] == [(MemberState.SUCCEEDED, b"%d" % n) for n in range(4)]
    if kind is BatchKind.CHAIN:
        steps = {opened(job.payload).payload: opened(job.payload).previous for job in await life.live()}
        assert [steps[b"%d" % n] for n in range(4)] == [None, b"0", b"1", b"2"]


async def test_an_id_that_is_taken_makes_no_jobs(life: Life) -> None:
    batches = life.batches()
    await batches.create(TENANT, "mine", BatchKind.BATCH, [life.job()], None)
    with pytest.raises(Conflict):
        await batches.create(TENANT, "mine", BatchKind.BATCH, [life.job()], None)
    assert len(await life.live()) == 1


async def test_an_end_that_cannot_be_counted_is_no_end(life: Life) -> None:
    batch, jobs = await life.make(BatchKind.BATCH, 1)

    async def away(*_changes: Any, **_more: Any) -> Any:
        raise Unavailable

    with pytest.raises(Unavailable):
        await life.batches(away).ended(jobs[0], batch.id, error=None, result=None)
    assert (await life.state(batch)).state is BatchState.OPEN
