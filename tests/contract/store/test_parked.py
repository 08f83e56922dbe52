"""Receipts that wait for their message, on both databases, and what is remembered of them."""

import pytest

from zapd.model.message import MessageStatus as S
from zapd.store import parked as module
from zapd.store.database import Database
from zapd.store.parked import ParkedReceipt, ParkedStore
from zapd.store.reader import Reader
from zapd.store.writer import Writer

NOW = 1_700_000_000_000
TENANT = "default"


def receipt(status: S = S.READ, at: int = NOW, provider_id: str = "wamid.1") -> ParkedReceipt:
    return ParkedReceipt(
        tenant=TENANT,
        connection_id="con_1",
        provider_id=provider_id,
        status=status,
        at=at,
        error_code=None,
        error=None,
        created_at=NOW,
    )


@pytest.fixture
def parked(database: Database, reader: Reader) -> ParkedStore:
    return ParkedStore(database=database, reader=reader)


async def waiting(store: ParkedStore, provider_id: str = "wamid.1") -> list[tuple[str, int]]:
    return [(r.status, r.at) for r in await store.of(TENANT, "con_1", provider_id)]


async def test_early_receipts_wait_for_their_message(writer: Writer, parked: ParkedStore) -> None:
    await writer.commit(parked.added(receipt(S.READ, NOW + 2)))
    await writer.commit(parked.added(receipt(S.DELIVERED, NOW + 1)))
    assert await writer.commit(parked.added(receipt(S.READ, NOW + 9))) is None
    assert await waiting(parked) == [("delivered", NOW + 1), ("read", NOW + 2)]

    await writer.commit_all([parked.removed(TENANT, "con_1", "wamid.1", status) for status in (S.DELIVERED, S.READ)])
    assert await waiting(parked) == []
    await writer.commit(parked.added(receipt(S.PLAYED)))
    assert await waiting(parked) == [("played", NOW)]


async def test_a_restart_finds_what_waited_before_it(
    writer: Writer, database: Database, reader: Reader, parked: ParkedStore
) -> None:
    await writer.commit(parked.added(receipt()))
    restarted = ParkedStore(database=database, reader=reader)
    await writer.commit(restarted.added(receipt(provider_id="wamid.2")))  # before anybody asked for the first
    assert await waiting(restarted) == [("read", NOW)]
    assert await waiting(restarted, "wamid.2") == [("read", NOW)]


async def test_what_another_daemon_parks_is_found_where_there_can_be_one(
    writer: Writer, database: Database, reader: Reader, parked: ParkedStore
) -> None:
    if not database.shared:
        pytest.skip("one daemon holds a SQLite file")
    assert await waiting(parked) == []
    await writer.commit(ParkedStore(database=database, reader=reader).added(receipt()))
    assert await waiting(parked) == [("read", NOW)]


async def test_very_many_that_wait_are_not_kept_in_memory_and_are_found(
    writer: Writer, parked: ParkedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 3)
    assert await waiting(parked) == []
    await writer.commit_all([parked.added(receipt(provider_id=f"wamid.{n}")) for n in range(5)])
    assert len(parked._waiting) <= 3
    assert [await waiting(parked, f"wamid.{n}") for n in range(5)] == [[("read", NOW)]] * 5
