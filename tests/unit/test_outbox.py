"""What the outbox hands to the broker, whatever happens between a commit and its turn."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from prometheus_client import CollectorRegistry

from tests.support import eventually
from tests.support.store import outbox_row
from zapd import outbox as outbox_module
from zapd.errors import InvalidInput, NotFound, Unavailable
from zapd.jobs.job import Job
from zapd.outbox import Outbox, OutboxMetrics, job_of
from zapd.store.commands import Change
from zapd.store.outbox import OutboxRow, OutboxStore

QUEUE = outbox_row().queue


class Table:
    """The rows, and a writer that changes them. `scanning` is awaited after each look and before its answer."""

    def __init__(self, *rows: OutboxRow) -> None:
        self.rows = {row.id: row for row in rows}
        self.scanning: Callable[[], Awaitable[None]] | None = None
        self.away = False

    added = staticmethod(OutboxStore.added)
    removed = staticmethod(OutboxStore.removed)

    async def scan(self, *, after: str | None, created_before: int, limit: int) -> list[OutboxRow]:
        found = sorted(row.id for row in self.rows.values() if row.created_at < created_before)
        page = [self.rows[id] for id in found if after is None or id > after][:limit]
        if self.scanning is not None:
            act, self.scanning = self.scanning, None
            await act()
        return page

    async def get(self, tenant: str, job_id: str) -> OutboxRow | None:
        row = self.rows.get(job_id)
        return row if row is not None and row.tenant == tenant else None

    async def commit(self, guard: Change, *then: Change) -> tuple[str] | None:
        self._check()
        for change in (guard, *then):
            tenant, id, *_ = change.row
            self.rows[id] = outbox_row(id, tenant=tenant)
        return ("done",)

    async def commit_all(self, changes: Sequence[Change]) -> None:
        self._check()
        for change in changes:
            self.rows.pop(change.row[1], None)

    def _check(self) -> None:
        if self.away:
            raise Unavailable("SQL is away")


class Queues:
    """A broker that only remembers; it refuses what `encode` refuses, and queues that it does not know."""

    queues = (QUEUE,)

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.refills = 0
        self.lost = False

    async def refill(self) -> bool:
        self.refills += 1
        lost, self.lost = self.lost, False
        return lost

    async def enqueue(self, jobs: Sequence[Job], *, after_others: bool = False) -> list[bool]:
        if any(job.queue not in self.queues for job in jobs):
            raise NotFound
        if any("|" in job.lane for job in jobs):
            raise InvalidInput
        self.taken += [job.id for job in jobs]
        return [True for _ in jobs]

    async def locate(self, queue: str, ids: Sequence[str]) -> list[str]:
        if queue not in self.queues:
            raise NotFound
        return ["live" if id in self.taken else "missing" for id in ids]


def an_outbox(table: Table, queues: Queues, **changes: Any) -> Outbox:
    async def nothing(*_: object) -> None:
        pass

    async def whole() -> bool:
        return False

    parts: dict[str, Any] = {
        "writer": table,
        "rows": table,
        "broker": queues,
        "on_dead": nothing,
        "lost_data": whole,
        "on_lost": nothing,
        "now_ms": lambda: outbox_row().created_at + 3_600_000,
    }
    return Outbox(**(parts | changes))


@asynccontextmanager
async def running(outbox: Outbox) -> Any:
    task = asyncio.create_task(outbox.run())
    try:
        yield task
    finally:
        await outbox.stop()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_job_that_the_broker_can_never_take_does_not_hold_up_the_others() -> None:
    rows = [
        outbox_row("job_1"),
        outbox_row("job_2", lane="a|b"),
        outbox_row("job_3", queue="gone"),
        outbox_row("job_4"),
    ]
    table, queues = Table(*rows), Queues()
    outbox = an_outbox(table, queues)

    async with running(outbox) as task:
        await eventually(lambda: queues.taken == ["job_1", "job_4"])
        repaired = await outbox.reconcile()

        assert not task.done()
        assert repaired == 1  # tried again, should a later release take it
        assert set(table.rows) == {"job_1", "job_2", "job_3", "job_4"}


async def test_a_commit_behind_the_scan_is_not_passed_over(monkeypatch: Any) -> None:
    """The id is made before the commit, so the scan may have gone by."""
    monkeypatch.setattr(outbox_module, "PAGE", 2)
    table, queues = Table(outbox_row("job_1"), outbox_row("job_3"), outbox_row("job_5")), Queues()
    outbox = an_outbox(table, queues)

    async def commit_late() -> None:
        late = job_of(outbox_row("job_2"))
        await outbox.commit(OutboxStore.added(late), jobs=[late])

    table.scanning = commit_late
    async with running(outbox):
        await eventually(lambda: "job_5" in queues.taken)

        assert queues.taken == ["job_1", "job_2", "job_3", "job_5"]


async def test_a_job_that_ends_while_its_row_is_read_does_not_run_again() -> None:
    table, queues = Table(outbox_row("job_1"), outbox_row("job_2")), Queues()
    outbox = an_outbox(table, queues)

    async def end() -> None:
        outbox.finished([(outbox_row().tenant, "job_1")])

    table.scanning = end
    async with running(outbox):
        await eventually(lambda: "job_2" in queues.taken)

        assert queues.taken == ["job_2"]


async def test_a_loss_that_is_noticed_during_a_reading_is_read_again() -> None:
    table, queues = Table(outbox_row("job_1")), Queues()
    outbox = an_outbox(table, queues)

    async def lose() -> None:
        outbox.reread()

    table.scanning = lose
    async with running(outbox):
        await eventually(lambda: queues.taken == ["job_1", "job_1"])


async def test_a_row_is_relayed_though_the_clock_was_set_back_since() -> None:
    table, queues = Table(outbox_row("job_1")), Queues()
    outbox = an_outbox(table, queues, now_ms=lambda: outbox_row().created_at - 3_600_000)

    async with running(outbox):
        await eventually(lambda: queues.taken == ["job_1"])


async def test_what_redis_lost_is_put_back_once_the_lanes_limits_are(monkeypatch: Any) -> None:
    monkeypatch.setattr(outbox_module, "CHECK_EVERY", 0.001)
    monkeypatch.setattr(outbox_module, "RETRY_EVERY", 0.001)
    table, queues = Table(outbox_row("job_1")), Queues()
    losses = iter([True])
    told: list[int] = []

    async def lost() -> bool:
        if len(queues.taken) == 0:
            return False
        queues.lost = next(losses, False)
        return queues.lost

    async def away_at_first(_at: int) -> None:
        told.append(len(queues.taken))
        if len(told) < 3:
            raise Unavailable

    async with running(an_outbox(table, queues, lost_data=lost, on_lost=away_at_first)):
        await eventually(lambda: queues.taken == ["job_1", "job_1"])
        assert told == [1, 1, 1]


async def test_stop_waits_for_the_rows_of_ended_jobs() -> None:
    """Else they would run again at the next start."""
    table, queues = Table(outbox_row("job_1")), Queues()
    outbox = an_outbox(table, queues)
    async with running(outbox):
        await eventually(lambda: queues.taken == ["job_1"])
        outbox.finished([(outbox_row().tenant, "job_1")])

        await outbox.stop()

        assert table.rows == {}


async def test_rows_of_ended_jobs_go_with_the_next_ones_when_sql_was_away() -> None:
    table, queues = Table(outbox_row("job_1"), outbox_row("job_2")), Queues()
    outbox = an_outbox(table, queues)
    async with running(outbox):
        await eventually(lambda: queues.taken == ["job_1", "job_2"])
        table.away = True
        outbox.finished([(outbox_row().tenant, "job_1")])
        await outbox.stop()  # nobody waits: this is what a stop without SQL does
        assert len(table.rows) == 2

        table.away = False
        outbox.finished([(outbox_row().tenant, "job_2")])
        await outbox.stop()

        assert table.rows == {}


async def test_while_redis_is_away_the_metrics_tell_since_when_jobs_wait(monkeypatch: Any) -> None:
    monkeypatch.setattr(outbox_module, "RETRY_EVERY", 0.001)
    registry = CollectorRegistry()
    table, queues = Table(outbox_row("job_1")), Queues()
    redis = asyncio.Event()

    async def refill() -> bool:
        if not redis.is_set():
            raise Unavailable("Redis is away")
        return False

    monkeypatch.setattr(queues, "refill", refill)
    outbox = an_outbox(table, queues, now_ms=lambda: 5_000, metrics=OutboxMetrics(registry=registry))

    def waiting_since() -> float | None:
        return registry.get_sample_value("zapd_outbox_oldest_timestamp_seconds")

    async with running(outbox):
        await eventually(lambda: waiting_since() == 5)
        redis.set()
        await eventually(lambda: waiting_since() == 0)
        assert queues.taken == ["job_1"]


async def test_what_the_reconciler_repairs_is_counted() -> None:
    registry = CollectorRegistry()
    table, queues = Table(outbox_row("job_1"), outbox_row("job_2")), Queues()
    outbox = an_outbox(table, queues, metrics=OutboxMetrics(registry=registry))
    assert registry.get_sample_value("zapd_reconciler_repairs_total", {"kind": "dead"}) == 0

    await outbox.reconcile()

    assert registry.get_sample_value("zapd_reconciler_repairs_total", {"kind": "missing"}) == 2
