"""Bodies at rest, over both databases: sealed where they lie, as they were where they are read."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from tests.support.store import NOW, TENANT, event, message, outbox_row
from zapd.model.message import MessageStatus
from zapd.model.schedule import Schedule, Spec
from zapd.model.webhook import ERASED
from zapd.store.commands import Change, Insert
from zapd.store.database import Database
from zapd.store.events import EventStore
from zapd.store.messages import MessageStore
from zapd.store.outbox import OutboxStore
from zapd.store.reader import Reader
from zapd.store.schedules import ScheduleStore
from zapd.store.sealing import MARK, Sealing
from zapd.store.tables import data_keys, events, messages, schedules
from zapd.store.vault import Vault
from zapd.store.writer import Writer

BODY = b'{"text":"meu CPF \xc3\xa9 123.456.789-00"}'
VAULT = Vault(keys=[b"k" * 32], random_bytes=os.urandom)


class Store:
    """A database whose bodies are sealed."""

    def __init__(self, url: str, *, on: bool = True) -> None:
        self.database = Database(url=url)
        self.sealing = self.database.sealing = Sealing(
            vault=VAULT,
            fetch=self.database.fetch_sealed,
            random_bytes=os.urandom,
            now_ms=lambda: NOW,
            on=on,
        )
        self.writer, self.reader = Writer(database=self.database), Reader(database=self.database)
        self.messages = MessageStore(database=self.database, reader=self.reader)
        self.events = EventStore(database=self.database, reader=self.reader)
        self.outbox = OutboxStore(database=self.database, reader=self.reader)
        self._running: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Store":
        await self.database.migrate()
        await self.sealing.load()
        self._running = [asyncio.create_task(part.run(), name=part.name) for part in (self.writer, self.reader)]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.writer.stop()
        await self.reader.stop()
        await asyncio.gather(*self._running)
        await self.database.close()

    async def lies(self, column: sa.Column[bytes]) -> list[bytes]:
        """What the database holds."""
        return [bytes(row[0]) for row in await self.database.fetch_sealed(sa.select(column))]


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with Store(database_url) as opened:
        yield opened


async def test_a_body_is_read_as_it_was_and_lies_sealed(store: Store) -> None:
    await store.writer.commit(store.messages.added(message(payload=BODY)), store.events.recorded(event(payload=BODY)))

    found = await store.messages.get(TENANT, "msg_1")
    (told,) = await store.events.listed(TENANT)

    assert found is not None
    assert found.payload == told.payload == BODY
    for lying in [*await store.lies(messages.c.payload), *await store.lies(events.c.payload)]:
        assert lying.startswith(MARK)
        assert b"CPF" not in lying


async def test_the_row_that_a_guard_gives_is_opened(store: Store) -> None:
    await store.writer.commit(store.messages.added(message(payload=BODY)))
    row = await store.writer.commit(store.messages.claimed(TENANT, "msg_1", NOW))
    assert row is not None
    assert store.messages.of(row).payload == BODY


async def test_the_rows_of_an_outbox_are_read_as_they_were(store: Store) -> None:
    await store.writer.commit_all([store.outbox.added(replace(outbox_row(), payload=BODY))])
    assert [row.payload for row in await store.outbox.scan(after=None, created_before=NOW + 1, limit=10)] == [BODY]


async def test_the_same_body_never_looks_the_same(store: Store) -> None:
    await store.writer.commit_all([store.messages.added(message(f"msg_{i}", payload=BODY)) for i in range(20)])
    assert len(set(await store.lies(messages.c.payload))) == 20


async def test_a_tenant_has_one_key_however_many_commits_come_first(store: Store) -> None:
    adds = [store.messages.added(message(f"msg_{i}", payload=BODY)) for i in range(50)]
    await asyncio.gather(*[store.writer.commit(change) for change in adds])
    assert len(await store.database.fetch(sa.select(data_keys))) == 1
    assert len(await store.messages.history(TENANT, "con_1", limit=100)) == 50


async def test_each_tenant_has_a_key_of_its_own_and_without_it_nothing_is_left(store: Store) -> None:
    await store.writer.commit(store.messages.added(message(tenant=TENANT, payload=BODY)))
    await store.writer.commit(store.messages.added(message(tenant="t2", payload=BODY)))

    await store.sealing.forget(TENANT, store.sealing.ids_of(TENANT), store.writer.commit)

    erased, kept = await store.messages.get(TENANT, "msg_1"), await store.messages.get("t2", "msg_1")
    assert erased is not None
    assert kept is not None
    assert (erased.payload, kept.payload) == (ERASED, BODY)


async def test_the_next_process_opens_what_this_one_sealed(database_url: str) -> None:
    async with Store(database_url) as first:
        await first.writer.commit(first.messages.added(message(payload=BODY)))
    async with Store(database_url) as second:
        found = await second.messages.get(TENANT, "msg_1")
    assert found is not None
    assert found.payload == BODY


async def test_a_key_that_another_process_made_meanwhile_is_found(database_url: str) -> None:
    async with Store(database_url) as first, Store(database_url) as second:
        await second.writer.commit(second.messages.added(message(payload=BODY)))
        found = await first.messages.get(TENANT, "msg_1")
    assert found is not None
    assert found.payload == BODY


async def test_what_was_stored_before_is_read_and_what_is_switched_off_stays_plain(database_url: str) -> None:
    async with Store(database_url, on=False) as plain:
        await plain.writer.commit(plain.messages.added(message("msg_old", payload=BODY)))
        assert await plain.lies(messages.c.payload) == [BODY]
    async with Store(database_url) as sealing:
        await sealing.writer.commit(sealing.messages.added(message("msg_new", payload=BODY)))
        found = await sealing.messages.history(TENANT, "con_1", limit=10)
    assert [m.payload for m in found] == [BODY, BODY]


async def test_a_changed_body_is_told_as_erased(store: Store) -> None:
    await store.writer.commit(store.messages.added(message(payload=BODY)))
    (lying,) = await store.lies(messages.c.payload)
    changed = lying[:-1] + bytes([lying[-1] ^ 1])
    assert store.sealing.open(changed, b"messages.payload") == ERASED
    assert store.sealing.open(lying, b"events.payload") == ERASED
    assert store.sealing.open(lying, b"messages.payload") == BODY


async def test_a_commit_that_fails_leaves_the_key(store: Store) -> None:
    one = store.messages.added(message(payload=BODY))
    await store.writer.commit(one)
    with pytest.raises(Exception, match=r"."):
        await store.writer.commit(one)
    moved = store.messages.moved(
        TENANT, "msg_1", to=MessageStatus.CANCELED, frm=frozenset({MessageStatus.QUEUED}), at=NOW
    )
    row = await store.writer.commit(moved)
    assert row is not None
    assert store.messages.of(row).payload == BODY


async def _nothing(_: object) -> list[tuple[object, ...]]:
    return []


async def _kept(_: object) -> None: ...


@given(plain=st.binary(max_size=4096))
async def test_every_body_comes_back(plain: bytes) -> None:
    sealing = Sealing(vault=VAULT, fetch=_nothing, random_bytes=os.urandom, now_ms=lambda: NOW, on=True)
    key = await sealing.renew(TENANT, _kept)
    sealed = sealing.seal(plain, b"x.y", key)
    assert sealing.open(sealed, b"x.y") == plain
    assert len(sealed) == len(plain) + len(MARK) + 8 + 12 + 16


async def test_what_a_schedule_fires_with_is_sealed_and_one_without_needs_no_key(store: Store) -> None:
    """zapd's own schedules say nothing of anybody: an idle daemon must do without the library that seals."""
    rows = ScheduleStore(database=store.database, reader=store.reader)
    plain = Spec(cron="0 3 * * *", queue="maintenance:cleanup")
    named = Spec(every=60.0, emit="a.b", payload=BODY)
    one = Schedule(
        tenant=TENANT, id="s", spec=plain, source="zapd", paused=False, last_slot=NOW, created_at=NOW, updated_at=NOW
    )
    await store.writer.commit(rows.added(one))
    assert store.sealing.newest(TENANT) is None

    await store.writer.commit(rows.changed(TENANT, "s", named, NOW, NOW))
    found = await rows.get(TENANT, "s")
    assert found is not None
    assert found.spec == named
    (lying,) = await store.lies(schedules.c.payload)
    assert lying.startswith(MARK)
    assert b"CPF" not in b"".join([lying, *await store.lies(schedules.c.spec)])


async def test_a_schedule_from_before_its_payload_lay_apart_is_read(store: Store) -> None:
    values = {"tenant": TENANT, "id": "s", "source": "api", "paused": False, "fires": 0}
    values |= {"last_slot": NOW, "created_at": NOW, "updated_at": NOW}
    old = b'{"queue":"q","payload":{"text":"hi"}}'
    columns = tuple(schedules.c)
    row = tuple({**values, "spec": old}.get(column.name) for column in columns)
    await store.writer.commit(Change(Insert(table=schedules, columns=columns, when_there="skip"), row))
    found = await ScheduleStore(database=store.database, reader=store.reader).get(TENANT, "s")
    assert found is not None
    assert (found.spec.queue, found.spec.payload) == ("q", b'{"text":"hi"}')
