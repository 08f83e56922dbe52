"""What stands behind own queues, on both databases: unique keys, dead letters, batches, schedules."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from tests.support.store import NOW, TENANT, outbox_row
from zapd.model.batch import Batch, BatchKind, BatchState, Member, MemberState
from zapd.model.dead_letter import DeadFilter, DeadLetter
from zapd.model.schedule import Schedule, Spec
from zapd.store.batches import BatchStore
from zapd.store.database import Database
from zapd.store.dead_letters import DeadLetterStore, place
from zapd.store.outbox import OutboxStore
from zapd.store.purge import Purge
from zapd.store.reader import Reader
from zapd.store.schedules import ScheduleStore
from zapd.store.writer import Writer


def letter(id: str = "job_1", **changes: Any) -> DeadLetter:
    return replace(
        DeadLetter(
            tenant=TENANT,
            queue="billing",
            id=id,
            kind="due",
            lane="c1",
            priority=5,
            payload=b'{"n":1}',
            reason="attempts",
            error="answered 500",
            attempts=3,
            crashes=0,
            created_at=NOW,
            died_at=NOW + 1,
        ),
        **changes,
    )


def batch(id: str = "bat_1", **changes: Any) -> Batch:
    return replace(
        Batch(
            tenant=TENANT,
            id=id,
            kind=BatchKind.BATCH,
            state=BatchState.OPEN,
            total=2,
            succeeded=0,
            failed=0,
            callback=b'{"queue":"billing"}',
            callback_job=None,
            created_at=NOW,
            ended_at=None,
        ),
        **changes,
    )


def member(job_id: str, position: int, state: MemberState = MemberState.PENDING, **changes: Any) -> Member:
    values: dict[str, Any] = {"tenant": TENANT, "batch_id": "bat_1", "queue": "billing"}
    return Member(job_id=job_id, position=position, state=state, **(values | changes))


# --- unique keys ---


@pytest.fixture
def outbox(database: Database, reader: Reader) -> OutboxStore:
    return OutboxStore(database=database, reader=reader)


async def test_one_of_many_gets_a_key_and_its_end_sets_it_free(writer: Writer, outbox: OutboxStore) -> None:
    rows = [outbox_row(f"job_{n}") for n in range(20)]
    taken = await writer.commit_each([outbox.added_unique(row, "k", None) for row in rows])
    (winner,) = [row for row, result in zip(rows, taken, strict=True) if result is not None]
    held = await outbox.holder(TENANT, winner.queue, "k")
    assert held == winner == await outbox.get(TENANT, winner.id)
    assert await writer.commit(outbox.added_unique(outbox_row("other", queue="q2"), "k", None)) is not None
    await writer.commit(outbox.removed(TENANT, winner.id))
    assert await outbox.holder(TENANT, winner.queue, "k") is None
    assert await writer.commit(outbox.added_unique(outbox_row("job_x"), "k", None)) is not None


async def test_a_key_is_free_after_its_time_and_can_be_passed_on(writer: Writer, outbox: OutboxStore) -> None:
    row = outbox_row("job_1")
    await writer.commit(outbox.added_unique(row, "k", NOW + 10))
    await writer.commit(outbox.freed(TENANT, row.queue, "k", NOW + 9))
    assert await outbox.holder(TENANT, row.queue, "k") == row
    await writer.commit(outbox.freed(TENANT, row.queue, "k", NOW + 10))
    assert await outbox.holder(TENANT, row.queue, "k") is None
    assert await outbox.get(TENANT, "job_1") == row
    await writer.commit(outbox.added_unique(outbox_row("job_2"), "k", None))
    assert await writer.commit(outbox.passed_on(TENANT, "job_1", "k")) is None
    assert await writer.commit(
        outbox.passed_on(TENANT, "job_2", "k"), outbox.added_unique(outbox_row("job_3"), "k", None)
    )
    held = await outbox.holder(TENANT, row.queue, "k")
    assert held is not None
    assert held.id == "job_3"


async def test_many_commits_of_their_own_tell_each_its_fate(writer: Writer, outbox: OutboxStore) -> None:
    changes = [outbox.added(outbox_row(f"job_{n % 1500:05d}")) for n in range(3_000)]
    results = await writer.commit_each(changes)
    assert [result is not None for result in results] == [True] * 1500 + [False] * 1500


# --- dead letters ---


@pytest.fixture
def letters(database: Database, reader: Reader) -> DeadLetterStore:
    return DeadLetterStore(database=database, reader=reader)


async def test_letters_are_found_by_what_they_say(writer: Writer, letters: DeadLetterStore) -> None:
    stored = [
        letter("a", died_at=NOW + 1),
        letter("b", died_at=NOW + 2, kind="late", error="timeout after 30 s"),
        letter("c", died_at=NOW + 2, queue="reports", reason="poison", error="100%_sure"),
        letter("d", tenant="other"),
    ]
    await writer.commit_all([letters.added(one) for one in stored])

    async def ids(**wanted: Any) -> list[str]:
        found = await letters.listed(TENANT, DeadFilter(**wanted), after=None, limit=10)
        assert await letters.count(TENANT, DeadFilter(**wanted)) == len(found)
        return [one.id for one in found]

    assert await ids() == ["c", "b", "a"]
    assert await ids(queue="billing") == ["b", "a"]
    assert await ids(reason="poison") == ["c"]
    assert await ids(kind="late") == ["b"]
    assert await ids(since=NOW + 2) == ["c", "b"]
    assert await ids(until=NOW + 2) == ["a"]
    assert await ids(text="TIMEOUT") == ["b"]
    assert await ids(text="%_s") == ["c"]  # a wildcard is a letter like any other
    assert await ids(ids=("a", "c", "d")) == ["c", "a"]
    many = tuple(f"x{n}" for n in range(600))
    found = await letters.listed(TENANT, DeadFilter(ids=(*many, "a", "b")), after=None, limit=10)
    assert [one.id for one in found] == ["b", "a"]
    assert await letters.by_queue() == {"billing": 3, "reports": 1}
    assert await letters.get(TENANT, "a") == stored[0]
    assert await letters.get(TENANT, "d") is None


async def test_letters_go_page_by_page(writer: Writer, letters: DeadLetterStore) -> None:
    await writer.commit_all([letters.added(letter(f"job_{n}", died_at=NOW + n // 3)) for n in range(10)])
    found: list[str] = []
    after = None
    while page := await letters.listed(TENANT, DeadFilter(), after=after, limit=4):
        found += [one.id for one in page]
        after = place(page[-1])
    assert found == [f"job_{n}" for n in range(9, -1, -1)]


async def test_a_letter_is_edited_replaced_and_removed_once(writer: Writer, letters: DeadLetterStore) -> None:
    await writer.commit(letters.added(letter()))
    assert await writer.commit(letters.edited(TENANT, "billing", "job_1", b"2"))
    await writer.commit(letters.added(letter(queue="reports", died_at=NOW + 5)))
    newest = await letters.get(TENANT, "job_1")
    assert newest is not None
    assert newest.queue == "reports"
    await writer.commit(letters.added(letter(error="again", payload=b"3")))
    (first,) = await letters.listed(TENANT, DeadFilter(queue="billing"), after=None, limit=5)
    assert (first.error, first.payload) == ("again", b"3")
    gone = await asyncio.gather(*[writer.commit(letters.removed(TENANT, "billing", "job_1")) for _ in range(5)])
    assert sum(row is not None for row in gone) == 1
    assert await letters.older("reports", NOW + 6, 10) == [(TENANT, "reports", "job_1")]
    assert await letters.older("reports", NOW + 5, 10) == []


# --- batches ---


@pytest.fixture
def batches(database: Database, reader: Reader) -> BatchStore:
    return BatchStore(database=database, reader=reader)


async def test_each_job_of_a_batch_ends_once(writer: Writer, batches: BatchStore) -> None:
    members = [member("job_a", 0), member("job_b", 1)]
    assert await writer.commit(batches.added(batch()), *map(batches.member_added, members)) is not None
    assert await writer.commit(batches.added(batch())) is None
    assert await batches.any_pending(TENANT, "bat_1")
    ended = [
        batches.member_ended(TENANT, "bat_1", "job_a", MemberState.SUCCEEDED, at=NOW + n, result=b"[1]", error=None)
        for n in range(4)
    ]
    assert sum(row is not None for row in await writer.commit_each(ended)) == 1
    await writer.commit(
        batches.member_ended(TENANT, "bat_1", "job_b", MemberState.FAILED, at=NOW, result=None, error="no")
    )
    assert not await batches.any_pending(TENANT, "bat_1")
    counts = await batches.counts(TENANT, "bat_1")
    assert (counts[MemberState.SUCCEEDED], counts[MemberState.FAILED], counts[MemberState.PENDING]) == (1, 1, 0)
    first, second = await batches.members(TENANT, "bat_1", after=-1, limit=5)
    assert (first.result, second.error) == (b"[1]", "no")
    closed = [batches.closed(batch(), 1, 1, f"job_{n}", NOW + 9) for n in range(3)]
    assert sum(row is not None for row in await asyncio.gather(*map(writer.commit, closed))) == 1
    assert await batches.open(after=None, limit=5) == []
    found = await batches.get(TENANT, "bat_1")
    assert found is not None
    assert (found.state, found.succeeded, found.failed, found.ended_at) == (BatchState.ENDED, 1, 1, NOW + 9)


async def test_a_blocked_step_starts_once_and_the_rest_is_skipped(writer: Writer, batches: BatchStore) -> None:
    steps = [member(f"job_{n}", n, MemberState.BLOCKED, spec=b"{}") for n in range(3)]
    await writer.commit(batches.added(batch(kind=BatchKind.CHAIN)), *map(batches.member_added, steps))
    started = [batches.step_started(TENANT, "bat_1", "job_0") for _ in range(3)]
    assert sum(row is not None for row in await asyncio.gather(*map(writer.commit, started))) == 1
    assert await writer.commit(batches.step_started(TENANT, "bat_1", "job_9")) is None
    first = await batches.at(TENANT, "bat_1", 0)
    assert first is not None
    assert (first.state, first.spec) == (MemberState.PENDING, None)
    await writer.commit_all([batches.rest_skipped(TENANT, "bat_1", NOW)])
    states = [one.state for one in await batches.members(TENANT, "bat_1", after=-1, limit=5)]
    assert states == [MemberState.PENDING, MemberState.SKIPPED, MemberState.SKIPPED]


async def test_a_batch_goes_with_its_jobs_after_its_time(
    writer: Writer, reader: Reader, database: Database, batches: BatchStore
) -> None:
    purge = Purge(database=database, writer=writer)
    for name in ("bat_old", "bat_young", "bat_open"):
        jobs = [member(f"job_{n}", n, batch_id=name) for n in range(3)]
        await writer.commit(batches.added(batch(name)), *map(batches.member_added, jobs))
    for name, at in (("bat_old", NOW), ("bat_young", NOW + 10)):
        await writer.commit(batches.closed(batch(name), 3, 0, None, at))
    assert await purge.purge("batches", NOW + 5) == 1
    assert await batches.get(TENANT, "bat_old") is None
    assert await batches.members(TENANT, "bat_old", after=-1, limit=5) == []
    assert len(await batches.members(TENANT, "bat_young", after=-1, limit=5)) == 3
    assert await batches.get(TENANT, "bat_open") is not None


async def test_batches_are_listed_the_newest_first(writer: Writer, batches: BatchStore) -> None:
    await writer.commit_all([batches.added(batch(f"bat_{n}")) for n in range(3)])
    await writer.commit(batches.closed(batch("bat_1"), 2, 0, None, NOW))
    listed = await batches.listed(TENANT, state=None, after=None, limit=2)
    assert [one.id for one in listed] == ["bat_2", "bat_1"]
    assert [b.id for b in await batches.listed(TENANT, state=None, after="bat_1", limit=5)] == ["bat_0"]
    assert [b.id for b in await batches.listed(TENANT, state=BatchState.ENDED, after=None, limit=5)] == ["bat_1"]
    assert [b.id for b in await batches.open(after="bat_0", limit=5)] == ["bat_2"]


# --- schedules ---


async def test_a_schedule_is_stored_whole(writer: Writer, reader: Reader, database: Database) -> None:
    schedules = ScheduleStore(database=database, reader=reader)
    spec = Spec(cron="0 8 * * *", timezone="America/Sao_Paulo", jitter=1.5, misfire="all(3)", queue="q", payload=b"[1]")
    one = Schedule(
        tenant=TENANT, id="s", spec=spec, source="api", paused=False, last_slot=NOW, created_at=NOW, updated_at=NOW
    )
    assert await writer.commit(schedules.added(one)) is not None
    assert await writer.commit(schedules.added(one)) is None
    assert await schedules.get(TENANT, "s") == one
    await writer.commit(schedules.paused(TENANT, "s", True, NOW + 1))
    await writer.commit(schedules.passed(TENANT, "s", NOW + 2))
    for n in range(2):
        await writer.commit(schedules.fired(TENANT, "s", NOW + n, f"job_{n}"))
    changed = Spec(every=60.0, emit="a.b")
    await writer.commit(schedules.changed(TENANT, "s", changed, NOW + 3, NOW + 4))
    wanted = replace(
        one,
        spec=changed,
        paused=True,
        last_slot=NOW + 3,
        updated_at=NOW + 4,
        fires=2,
        last_fired_at=NOW + 1,
        last_made="job_1",
    )
    assert await schedules.get(TENANT, "s") == wanted
    assert await schedules.all() == [wanted]
    assert list(await schedules.listed(TENANT, after="s", limit=5)) == []
    await writer.commit(schedules.removed(TENANT, "s"))
    assert await schedules.all() == []
