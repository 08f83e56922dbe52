"""Retention on both databases: the old goes, what something waits for stays."""

from collections.abc import Sequence

import pytest

from tests.support.store import NOW, TENANT, a_file, attempt, delivery, event, message, outbox_row
from zapd.model.message import MessageStatus as S
from zapd.model.webhook import DeliveryState as D
from zapd.store.commands import Change
from zapd.store.database import Database
from zapd.store.deliveries import DeliveryStore
from zapd.store.events import EventStore
from zapd.store.idempotency import IdempotencyStore
from zapd.store.inbox import InboxStore
from zapd.store.ledger import LedgerEntry, LedgerStore
from zapd.store.media import MediaStore
from zapd.store.messages import MessageStore
from zapd.store.outbox import OutboxStore
from zapd.store.parked import ParkedReceipt, ParkedStore
from zapd.store.purge import SLICE, Purge
from zapd.store.reader import Reader
from zapd.store.schedules import ScheduleStore
from zapd.store.writer import Writer

OLD, LIMIT = NOW, NOW + 1


@pytest.fixture
def purge(database: Database, writer: Writer) -> Purge:
    return Purge(database=database, writer=writer)


async def test_only_messages_that_came_to_an_end_go(
    writer: Writer, reader: Reader, database: Database, purge: Purge
) -> None:
    messages = MessageStore(database=database, reader=reader)
    await writer.commit_all([messages.added(message(f"msg_{status}", status=status)) for status in S])
    await writer.commit_all([messages.added(message("msg_young", status=S.READ, created_at=LIMIT))])

    await purge.purge("messages", LIMIT)

    left = {m.id for m in await messages.history(TENANT, "con_1")}
    waiting = {S.QUEUED, S.PROCESSING, S.SENDING, S.FAILED, S.HELD}
    assert left == {*(f"msg_{status}" for status in waiting), "msg_young"}


async def test_an_event_stays_while_a_delivery_needs_it(
    writer: Writer, reader: Reader, database: Database, purge: Purge
) -> None:
    events, deliveries = EventStore(database=database, reader=reader), DeliveryStore(database=database, reader=reader)
    for state in D:
        await writer.commit(
            events.recorded(event(f"evt_{state}")),
            deliveries.added(delivery(f"dlv_{state}", event_id=f"evt_{state}", state=state)),
        )
    await writer.commit(events.recorded(event("evt_young", created_at=LIMIT)))

    assert await purge.purge("events", LIMIT) == 3

    assert {e.id for e in await events.listed(TENANT)} == {"evt_pending", "evt_retrying", "evt_young"}


async def test_a_delivery_goes_with_its_attempts_once_it_is_finished(
    writer: Writer, reader: Reader, database: Database, purge: Purge
) -> None:
    deliveries = DeliveryStore(database=database, reader=reader)
    for i, state in enumerate((D.DELIVERED, D.DEAD, D.CANCELED, D.RETRYING)):
        dlv = delivery(f"dlv_{state}", event_id=f"evt_{i}")
        await writer.commit(deliveries.added(dlv), deliveries.attempted(attempt(delivery_id=dlv.id)))
        await writer.commit(deliveries.moved(TENANT, dlv.id, to=state, frm=frozenset({D.PENDING}), at=OLD))

    assert await purge.purge("deliveries", LIMIT) == 3

    assert [d.id for d in await deliveries.listed(TENANT)] == ["dlv_retrying"]
    assert await deliveries.attempts(TENANT, "dlv_dead") == []
    assert len(await deliveries.attempts(TENANT, "dlv_retrying")) == 1


async def test_a_body_stays_until_it_was_processed(
    writer: Writer, reader: Reader, database: Database, purge: Purge
) -> None:
    inbox = InboxStore(reader=reader, database=database)
    await writer.commit_all([inbox.added(TENANT, f"inb_{i}", "con_1", f"sha-{i}", b"", OLD) for i in range(2)])
    await writer.commit(inbox.processed(TENANT, "inb_0", OLD))

    assert await purge.purge("inbox", LIMIT) == 1

    assert await inbox.get(TENANT, "inb_1") is not None


def _aged(waiting: ParkedStore, at: int) -> Sequence[tuple[str, Change]]:
    parked = ParkedReceipt(
        tenant=TENANT,
        connection_id="con_1",
        provider_id=f"wamid.{at}",
        status=S.READ,
        at=at,
        error_code=None,
        error=None,
        created_at=at,
    )
    entry = LedgerEntry(
        tenant=TENANT,
        connection_id="con_1",
        id=f"wamid.{at}",
        message_id="msg_1",
        peer="5511",
        type="text",
        payload=b"",
        at=at,
    )
    return (
        ("idempotency", IdempotencyStore.claimed(TENANT, "send:con_1", f"key-{at}", b"", b"", at)),
        ("parked_receipts", waiting.added(parked)),
        ("sandbox_ledger", LedgerStore.added(entry)),
        ("cron_fires", ScheduleStore.claimed(TENANT, "cleanup", at, at)),
    )


async def test_what_is_only_remembered_goes_by_age(
    writer: Writer, reader: Reader, database: Database, purge: Purge
) -> None:
    waiting = ParkedStore(database=database, reader=reader)
    await writer.commit_all([change for at in (OLD, LIMIT) for _, change in _aged(waiting, at)])

    for table, _ in _aged(waiting, OLD):
        assert await purge.purge(table, LIMIT) == 1
        assert await purge.purge(table, LIMIT) == 0


async def test_a_long_table_goes_slice_by_slice(
    writer: Writer, reader: Reader, database: Database, purge: Purge
) -> None:
    events = EventStore(database=database, reader=reader)
    await writer.commit_all([events.recorded(event(f"evt_{i}")) for i in range(SLICE + 5)])

    assert [await purge.purge("events", LIMIT) for _ in range(3)] == [SLICE, 5, 0]


async def test_the_outbox_is_not_for_the_purge(writer: Writer, database: Database, reader: Reader) -> None:
    await writer.commit(OutboxStore.added(outbox_row()))

    assert "outbox" not in Purge.TABLES
    assert await OutboxStore(database=database, reader=reader).oldest() == NOW


async def test_a_file_stays_while_a_message_that_waits_needs_it(
    writer: Writer, reader: Reader, database: Database, purge: Purge
) -> None:
    files, messages = MediaStore(database=database, reader=reader), MessageStore(database=database, reader=reader)
    for status in (S.QUEUED, S.READ):
        await writer.commit(
            messages.added(message(f"msg_{status}", status=status)),
            files.added(a_file(f"med_{status}")),
            files.used(TENANT, f"msg_{status}", f"med_{status}"),
        )
    await writer.commit_all([files.added(a_file("med_free")), files.added(a_file("med_kept"))])
    await writer.commit(files.kept(TENANT, "med_kept", LIMIT))

    assert await purge.purge("media", LIMIT) == 2

    left = [i for i in ("med_queued", "med_read", "med_free", "med_kept") if await files.get(TENANT, i)]
    assert left == ["med_queued", "med_kept"]
    await purge.purge("messages", LIMIT)
    assert await files.of_message(TENANT, "msg_read") == []
    assert await files.of_message(TENANT, "msg_queued") == ["med_queued"]
