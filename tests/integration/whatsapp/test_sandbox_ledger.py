"""The sandbox on a real database: what it answered is there, also for the next process."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support import eventually, make_ids
from tests.support.whatsapp import LOGIN, MemoryCredentials, Upside, a_connection, a_message, no_files
from zapd.errors import Unavailable
from zapd.store.database import Database
from zapd.store.ledger import LedgerStore
from zapd.store.writer import Writer
from zapd.whatsapp.sandbox import SandboxTransport
from zapd.whatsapp.sandbox_ledger import SqlLedger
from zapd.whatsapp.sandbox_network import SandboxNetwork


class Process:
    """One life of zapd's sandbox on a database."""

    def __init__(self, database: Database, writer: Writer, latency: float) -> None:
        self.upside = Upside()
        self.writer = writer
        self.ledger = SqlLedger(store=LedgerStore(database=database), writer=writer)
        self.network = SandboxNetwork(
            ledger=self.ledger, now_ms=lambda: time.time_ns() // 1_000_000, ids=make_ids(), latency=latency
        )
        self.transport = SandboxTransport(
            connection=a_connection(), network=self.network, credentials=MemoryCredentials(LOGIN), read=no_files
        )

    async def connect(self) -> None:
        await self.transport.start(on_state=self.upside.on_state, on_raw=self.upside.on_raw)
        await eventually(lambda: self.upside.states)

    def told(self) -> list[str]:
        return [update.provider_id for raw in self.upside.raws for update in self.transport.parse(raw)]


@asynccontextmanager
async def process(url: str, latency: float = 0.0) -> AsyncIterator[Process]:
    database = Database(url=url)
    await database.migrate()
    writer = Writer(database=database)
    running = asyncio.create_task(writer.run(), name="writer")
    life = Process(database, writer, latency)
    await life.connect()
    yield life
    await life.transport.stop()
    await writer.stop()
    await running
    await database.close()


async def test_every_update_of_many_messages_is_told_and_counted(database_url: str) -> None:
    async with process(database_url) as life:
        results = await asyncio.gather(*(life.transport.send(a_message(f"msg_{n}")) for n in range(300)))
        await eventually(lambda: len(life.told()) == 1200, within=60)
        entries = await life.network.ledger("default", "con_1", after=None, limit=1000)
        assert {e.id for e in entries} == {r.provider_id for r in results}

        async with asyncio.timeout(30):
            while await life.ledger.unfinished("default", "con_1", 4, 1):
                pass


async def test_the_next_process_tells_what_the_last_one_did_not(database_url: str) -> None:
    async with process(database_url, latency=0.2) as first:
        results = await asyncio.gather(*(first.transport.send(a_message(f"msg_{n}")) for n in range(80)))
    async with process(database_url) as second:
        await eventually(lambda: len(set(second.told())) == 160)
        assert {r.provider_id for r in results} <= set(second.told())


async def test_a_message_is_in_the_database_when_its_send_is_answered(database_url: str) -> None:
    async with process(database_url) as life:
        result = await life.transport.send(a_message())
        other = Database(url=database_url)
        [entry] = await LedgerStore(database=other).listed("default", "con_1")
        assert (entry.id, entry.message_id, entry.payload) == (result.provider_id, "msg_1", a_message().payload)
        await other.close()


async def test_the_ledger_pages_in_the_order_of_arrival(database_url: str) -> None:
    async with process(database_url) as life:
        for n in range(5):
            await life.transport.send(a_message(f"msg_{n}"))
        first = await life.network.ledger("default", "con_1", after=None, limit=3)
        rest = await life.network.ledger("default", "con_1", after=first[-1].id, limit=3)
        assert [e.message_id for e in [*first, *rest]] == [f"msg_{n}" for n in range(5)]


async def test_what_the_database_cannot_keep_is_not_answered(sqlite_url: str) -> None:
    async with process(sqlite_url) as life:
        await life.writer.stop()
        with pytest.raises(Unavailable):
            await life.transport.send(a_message())
