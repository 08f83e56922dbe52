"""What the group commit promises, on both databases."""

import asyncio
from typing import Literal, TypeVar

import pytest
from prometheus_client import CollectorRegistry

from tests.support import eventually
from tests.support.store import NOW, TENANT, event, message, outbox_row
from zapd.errors import Conflict, InvalidInput, Unavailable
from zapd.model.message import SOURCES
from zapd.model.message import MessageStatus as S
from zapd.store.commands import Change, Row
from zapd.store.database import Database
from zapd.store.events import EventStore
from zapd.store.idempotency import IdempotencyStore
from zapd.store.link import Link, Work
from zapd.store.messages import MessageStore
from zapd.store.metrics import StoreMetrics
from zapd.store.outbox import OutboxStore
from zapd.store.reader import Reader
from zapd.store.settings import SettingStore
from zapd.store.writer import Writer

T = TypeVar("T")


@pytest.fixture
def messages(database: Database, reader: Reader) -> MessageStore:
    return MessageStore(database=database, reader=reader)


@pytest.fixture
def outbox(database: Database, reader: Reader) -> OutboxStore:
    return OutboxStore(database=database, reader=reader)


def claim(message_id: str = "msg_1") -> Change:
    return MessageStore.claimed(TENANT, message_id, NOW + 1)


async def test_a_commit_holds_the_guard_and_what_follows(
    writer: Writer, messages: MessageStore, outbox: OutboxStore
) -> None:
    row = await writer.commit(messages.added(message()), outbox.added(outbox_row()))

    assert row == (TENANT, "msg_1")
    assert await messages.get(TENANT, "msg_1") == message()
    assert await outbox.scan(after=None, created_before=NOW + 1, limit=10) == [outbox_row()]


async def test_nothing_follows_a_guard_that_did_not_match(
    writer: Writer, messages: MessageStore, outbox: OutboxStore
) -> None:
    await writer.commit(messages.added(message(status=S.SENT)))

    assert await writer.commit(claim(), outbox.added(outbox_row())) is None
    assert await outbox.count() == 0


async def test_a_guard_that_did_not_match_does_not_hold_up_its_neighbours(
    writer: Writer, messages: MessageStore, outbox: OutboxStore
) -> None:
    await writer.commit_all([messages.added(message("msg_1")), messages.added(message("msg_2", status=S.CANCELED))])

    rows = await asyncio.gather(
        writer.commit(claim("msg_1"), outbox.added(outbox_row("job_1"))),
        writer.commit(claim("msg_2"), outbox.added(outbox_row("job_2"))),
    )

    assert [row is not None for row in rows] == [True, False]
    assert [row.id for row in await outbox.scan(after=None, created_before=NOW + 1, limit=10)] == ["job_1"]


async def test_one_of_many_concurrent_claims_wins(writer: Writer, messages: MessageStore) -> None:
    await writer.commit(messages.added(message()))

    rows = await asyncio.gather(*[writer.commit(claim(), EventStore.recorded(event(f"evt_{i}"))) for i in range(50)])

    won = [row for row in rows if row is not None]
    assert len(won) == 1
    assert messages.of(won[0]).status is S.SENDING


async def test_one_of_two_writers_wins_a_claim(database: Database, writer: Writer, messages: MessageStore) -> None:
    await writer.commit_all([messages.added(message(f"msg_{i}")) for i in range(20)])
    other = Writer(database=database)
    running = asyncio.create_task(other.run(), name="other-writer")

    rows = await asyncio.gather(*[w.commit(claim(f"msg_{i}")) for i in range(20) for w in (writer, other)])

    assert sum(row is not None for row in rows) == 20
    await other.stop()
    await running


async def test_changes_of_one_row_in_one_batch_all_happen_in_order(
    writer: Writer, reader: Reader, messages: MessageStore
) -> None:
    await writer.commit(messages.added(message()))
    steps = [(S.SENDING, S.QUEUED), (S.SENT, S.SENDING), (S.DELIVERED, S.SENT), (S.READ, S.DELIVERED)]

    rows = await asyncio.gather(
        *[
            writer.commit(messages.moved(TENANT, "msg_1", to=to, frm=frozenset({frm}), at=NOW + i))
            for i, (to, frm) in enumerate(steps)
        ]
    )

    assert all(rows)
    stored = await messages.get(TENANT, "msg_1")
    assert stored is not None
    assert (stored.status, stored.sending_at, stored.sent_at, stored.delivered_at, stored.read_at) == (
        *(S.READ, NOW, NOW + 1, NOW + 2, NOW + 3),
    )


async def test_the_last_of_many_writes_to_one_row_stays(writer: Writer, reader: Reader) -> None:
    settings = SettingStore(reader=reader)

    await asyncio.gather(*[writer.commit(settings.put("paused", str(i).encode())) for i in range(30)])

    assert await settings.get("paused") == b"29"


async def test_a_failing_change_fails_its_caller_only(
    writer: Writer, messages: MessageStore, outbox: OutboxStore
) -> None:
    await writer.commit(messages.added(message("msg_3")))

    results = await asyncio.gather(
        *[
            writer.commit(messages.added(message(f"msg_{i}")), outbox.added(outbox_row(f"job_{i}", created_at=NOW)))
            for i in range(6)
        ],
        return_exceptions=True,
    )

    assert [type(result) for result in results] == [tuple, tuple, tuple, Conflict, tuple, tuple]
    assert [row.id for row in await outbox.scan(after=None, created_before=NOW + 1, limit=10)] == [
        *("job_0", "job_1", "job_2", "job_4", "job_5"),
    ]


async def test_a_value_that_sql_cannot_hold_fails_its_caller_only(writer: Writer, messages: MessageStore) -> None:
    bad, good = await asyncio.gather(
        writer.commit(messages.added(message("msg_1", peer="\ud800"))),
        writer.commit(messages.added(message("msg_2"))),
        return_exceptions=True,
    )

    assert isinstance(bad, InvalidInput)
    assert good == (TENANT, "msg_2")


async def test_an_insert_that_meets_a_row_has_no_row_and_changes_nothing(
    writer: Writer, reader: Reader, outbox: OutboxStore
) -> None:
    store = IdempotencyStore(reader=reader)
    claims = [store.claimed(TENANT, "send:con_1", "key-1", b"f", str(i).encode(), NOW) for i in range(5)]

    rows = await asyncio.gather(
        *[writer.commit(claim, outbox.added(outbox_row(f"job_{i}"))) for i, claim in enumerate(claims)]
    )

    assert [row is not None for row in rows] == [True, False, False, False, False]
    assert await outbox.count() == 1
    assert await store.answer(TENANT, "send:con_1", "key-1", b"f") == b"0"
    with pytest.raises(Conflict, match="another body"):
        await store.answer(TENANT, "send:con_1", "key-1", b"g")


async def test_a_cancelled_callers_change_is_committed(database: Database, outbox: OutboxStore) -> None:
    writer = Writer(database=database)
    caller = asyncio.create_task(writer.commit(outbox.added(outbox_row())), name="caller")
    await eventually(lambda: writer.waiting == 1)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller

    await writer.stop()

    assert await outbox.count() == 1


async def test_more_rows_than_one_statement_holds(writer: Writer, messages: MessageStore, outbox: OutboxStore) -> None:
    await writer.commit_all([outbox.added(outbox_row(f"job_{i:04}")) for i in range(1_000)])
    assert await outbox.count() == 1_000

    await writer.commit_all([outbox.removed(TENANT, f"job_{i:04}") for i in range(999)])
    assert [row.id for row in await outbox.scan(after=None, created_before=NOW + 1, limit=10)] == ["job_0999"]


async def test_rows_are_inserted_in_the_order_of_their_commit(
    writer: Writer, reader: Reader, database: Database
) -> None:
    events = EventStore(database=database, reader=reader)

    await asyncio.gather(*[writer.commit(events.recorded(event(f"evt_{i:03}"))) for i in range(150)])

    stored = await events.after(0, 1_000)
    assert [e.id for e in stored] == [f"evt_{i:03}" for i in range(150)]
    assert [e.seq for e in stored] == sorted(e.seq for e in stored)


async def test_more_callers_than_the_queue_holds_are_all_served(writer: Writer, outbox: OutboxStore) -> None:
    await asyncio.gather(*[writer.commit(outbox.added(outbox_row(f"job_{i}"))) for i in range(5_000)])

    assert await outbox.count() == 5_000


async def test_stop_commits_what_waits_and_then_refuses(database: Database, outbox: OutboxStore) -> None:
    writer = Writer(database=database)
    waiting = [
        asyncio.create_task(writer.commit(outbox.added(outbox_row(f"job_{i}"))), name="caller") for i in range(3)
    ]
    await eventually(lambda: writer.waiting == 3)

    await writer.stop()

    assert await asyncio.gather(*waiting) == [(TENANT, f"job_{i}") for i in range(3)]
    assert await outbox.count() == 3
    with pytest.raises(Unavailable):
        await writer.commit(outbox.added(outbox_row("job_9")))
    await writer.stop()
    await writer.run()  # ends at once


class _Failing:
    """A connection that does with its next work what it was told, and then works again."""

    def __init__(self, link: Link) -> None:
        self.own_thread = link.own_thread
        self._link = link
        self.fate: Literal["", "no connection", "lost", "hangs"] = ""

    async def run(self, work: Work[T]) -> T:
        fate, self.fate = self.fate, ""
        if not fate:
            return await self._link.run(work)
        if fate == "no connection":
            raise Unavailable("away")
        next(work)  # a transaction has begun
        if fate == "lost":
            work.throw(Unavailable("away"))
        await asyncio.Event().wait()
        raise AssertionError("nothing ends the wait")

    async def close(self) -> None:
        await self._link.close()


@pytest.mark.parametrize("fate", ["no connection", "lost"])
async def test_whoever_was_in_a_transaction_that_failed_hears_of_it_and_the_next_goes_on(
    fate: Literal["no connection", "lost"], writer: Writer, outbox: OutboxStore
) -> None:
    writer._link = link = _Failing(writer._link)
    link.fate = fate

    failed = await asyncio.gather(
        *[writer.commit(outbox.added(outbox_row(f"job_{i}"))) for i in range(3)], return_exceptions=True
    )

    assert [type(error) for error in failed] == [Unavailable] * 3
    assert await outbox.count() == 0
    assert await writer.commit(outbox.added(outbox_row("job_9"))) is not None


async def test_a_killed_writer_tells_who_was_under_way_and_the_next_run_serves_the_others(
    database: Database, outbox: OutboxStore
) -> None:
    writer = Writer(database=database)
    writer._link = link = _Failing(writer._link)
    link.fate = "hangs"
    first = asyncio.create_task(writer.commit(outbox.added(outbox_row("job_1"))), name="first")
    run = asyncio.create_task(writer.run(), name="run")
    await eventually(lambda: not link.fate)
    later = asyncio.create_task(writer.commit(outbox.added(outbox_row("job_2"))), name="later")
    await eventually(lambda: writer.waiting == 1)

    run.cancel()

    with pytest.raises(Unavailable, match="killed"):
        await first
    await writer.stop()
    assert await later is not None
    assert [row.id for row in await outbox.scan(after=None, created_before=NOW + 1, limit=10)] == ["job_2"]


async def test_a_connection_that_fails_when_all_that_waited_were_taken_meanwhile_leaves_the_writer_alive(
    database: Database, outbox: OutboxStore
) -> None:
    """As when the thread of a writer that was killed and started again still serves those who wait."""
    writer = Writer(database=database)
    served: list[asyncio.Future[Row | None]] = []

    class Late(_Failing):
        async def run(self, work: Work[T]) -> T:
            if not served:
                served.extend(caller.done for caller in writer._queue)
                writer._queue.clear()
                raise Unavailable("away")
            return await self._link.run(work)

    writer._link = Late(writer._link)
    first = asyncio.create_task(writer.commit(outbox.added(outbox_row("job_1"))), name="first")
    run = asyncio.create_task(writer.run(), name="run")
    await eventually(lambda: served)
    served[0].set_result(None)
    await first

    async with asyncio.timeout(10):
        assert await writer.commit(outbox.added(outbox_row("job_2"))) is not None

    await writer.stop()
    await run


async def test_illegal_moves_do_not_match(writer: Writer, messages: MessageStore) -> None:
    await writer.commit(messages.added(message(status=S.READ)))

    moved = messages.moved(TENANT, "msg_1", to=S.QUEUED, frm=SOURCES[S.QUEUED], at=NOW)

    assert await writer.commit(moved) is None


async def test_commits_are_measured(database: Database, outbox: OutboxStore) -> None:
    registry = CollectorRegistry()
    writer = Writer(database=database, metrics=StoreMetrics(registry=registry))
    running = asyncio.create_task(writer.run(), name="writer")

    await writer.commit(MessageStore.added(message()))
    with pytest.raises(Conflict):
        await writer.commit(MessageStore.added(message()))
    await writer.stop()
    await running

    assert registry.get_sample_value("zapd_sql_commit_duration_seconds_count") == 2
    assert registry.get_sample_value("zapd_sql_errors_total", {"kind": "conflict"}) == 1
    assert registry.get_sample_value("zapd_sql_writer_waiting") == 0
