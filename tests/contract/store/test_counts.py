"""What is counted for the metrics: over all tenants, and without reading whole tables that grow."""

import sqlite3
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from tests.support.store import connection, delivery, endpoint, message
from zapd.model.message import MessageStatus
from zapd.model.session import Desired, SessionState, TransportName
from zapd.model.webhook import DeliveryState
from zapd.store.connections import ConnectionStore
from zapd.store.database import Database
from zapd.store.deliveries import DeliveryStore
from zapd.store.endpoints import EndpointStore
from zapd.store.messages import MessageStore
from zapd.store.parked import ParkedReceipt, ParkedStore
from zapd.store.reader import Reader
from zapd.store.tables import ATTENTION, UNDELIVERED, deliveries, messages
from zapd.store.vault import Vault
from zapd.store.writer import Writer


async def test_connections_are_counted_by_transport_state_and_wish(
    writer: Writer, database: Database, reader: Reader, vault: Vault
) -> None:
    store = ConnectionStore(database=database, reader=reader, vault=vault)
    for number, state in enumerate([SessionState.CONNECTED, SessionState.BANNED, SessionState.CONNECTED]):
        same = {"transport": TransportName.CLOUD, "desired": Desired.CONNECTED, "state": state}
        await writer.commit(store.added(connection(f"con_{number}", tenant=f"t{number}", **same)))

    assert sorted(await store.counts()) == [
        (TransportName.CLOUD, SessionState.BANNED, Desired.CONNECTED, 1),
        (TransportName.CLOUD, SessionState.CONNECTED, Desired.CONNECTED, 2),
    ]


async def test_held_messages_and_parked_receipts_are_counted(
    writer: Writer, database: Database, reader: Reader
) -> None:
    store = MessageStore(database=database, reader=reader)
    for number, status in enumerate([MessageStatus.HELD, MessageStatus.DLQ, MessageStatus.READ, MessageStatus.HELD]):
        await writer.commit(store.added(message(f"msg_{number}", tenant=f"t{number}", status=status)))
    waiting = ParkedStore(database=database, reader=reader)
    parked = ParkedReceipt(
        tenant="t1",
        connection_id="con_1",
        provider_id="P1",
        status=MessageStatus.READ,
        at=1,
        error_code=None,
        error=None,
        created_at=1,
    )
    await writer.commit(waiting.added(parked))

    assert await store.held_count() == 2
    assert await waiting.count() == 1


async def test_deliveries_are_counted_but_the_delivered_ones(
    writer: Writer, database: Database, reader: Reader
) -> None:
    store = DeliveryStore(database=database, reader=reader)
    for number, state in enumerate([DeliveryState.DEAD, DeliveryState.DELIVERED, DeliveryState.DEAD]):
        await writer.commit(store.added(delivery(f"dlv_{number}", event_id=f"evt_{number}", state=state)))

    assert await store.unfinished_counts() == {DeliveryState.DEAD: 2}


async def test_endpoints_that_are_off_are_counted(
    writer: Writer, database: Database, reader: Reader, vault: Vault
) -> None:
    store = EndpointStore(database=database, reader=reader, vault=vault)
    for number, enabled in enumerate([True, False, False]):
        await writer.commit(store.added(endpoint(f"end_{number}", tenant=f"t{number}", enabled=enabled)))

    assert await store.disabled_count() == 2


async def test_sqlite_counts_from_the_small_indexes(tmp_path: Path) -> None:
    database = Database(url=f"sqlite:///{tmp_path}/zapd.db")
    await database.migrate()
    for table, rare, index in (
        (messages, ATTENTION, "messages_attention"),
        (deliveries, UNDELIVERED, "deliveries_undelivered"),
    ):
        query = sa.select(sa.func.count()).select_from(table).where(rare)
        with closing(sqlite3.connect(tmp_path / "zapd.db")) as connected:
            plan = connected.execute(f"EXPLAIN QUERY PLAN {query}").fetchall()
        assert any(index in str(row) for row in plan), plan
    await database.close()
