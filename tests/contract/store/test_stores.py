"""Keys, connections, the inbox, the ledger and small settings on both databases."""

import asyncio
from dataclasses import replace

import pytest

from tests.support.store import NOW, TENANT, connection
from zapd.errors import ConfigError
from zapd.model.access import ApiKey, Scope
from zapd.model.session import Desired, SessionState
from zapd.store.connections import ConnectionStore
from zapd.store.database import Database
from zapd.store.inbox import PACK_FROM, InboxStore, packed
from zapd.store.keys import KeyStore, TenantStore
from zapd.store.ledger import LedgerEntry, LedgerStore
from zapd.store.reader import Reader
from zapd.store.schedules import ScheduleStore
from zapd.store.settings import SettingStore
from zapd.store.vault import KEY_BYTES, Vault
from zapd.store.writer import Writer


def api_key(id: str = "key_1") -> ApiKey:
    return ApiKey(
        tenant=TENANT,
        id=id,
        hash=id.encode() * 6,
        label="shop",
        scopes=frozenset({Scope.READ, Scope.SEND}),
        connection_id="con_1",
        created_at=NOW,
        expires_at=NOW + 10,
    )


async def test_a_key_is_found_by_its_hash_until_forever(writer: Writer, reader: Reader, database: Database) -> None:
    keys = KeyStore(database=database, reader=reader)
    await writer.commit(keys.added(api_key("key_1")))
    await writer.commit(keys.added(api_key("key_2")))

    assert await keys.by_hash(api_key().hash) == api_key()
    assert await keys.by_hash(b"unknown") is None
    assert await keys.listed(TENANT, after="key_1", limit=5) == [api_key("key_2")]

    await writer.commit(keys.used(TENANT, "key_1", NOW + 5))
    await writer.commit(keys.used(TENANT, "key_1", NOW + 4))
    await writer.commit(keys.revoked(TENANT, "key_1", NOW + 6))
    assert await writer.commit(keys.revoked(TENANT, "key_1", NOW + 7)) is None

    assert await keys.get(TENANT, "key_1") == replace(api_key(), last_used_at=NOW + 5, revoked_at=NOW + 6)


async def test_a_tenant_is_made_once(writer: Writer) -> None:
    assert await writer.commit(TenantStore.ensured("shop", "The shop", NOW)) is not None
    assert await writer.commit(TenantStore.ensured("shop", "Another name", NOW)) is None


@pytest.fixture
def connections(database: Database, reader: Reader, vault: Vault) -> ConnectionStore:
    return ConnectionStore(database=database, reader=reader, vault=vault)


async def test_a_connection_comes_back_whole(writer: Writer, connections: ConnectionStore) -> None:
    await writer.commit(connections.added(connection("con_1", rate_per_minute=30)))
    assert await writer.commit(connections.added(connection("con_1"))) is None
    await writer.commit(connections.added(connection("con_1", tenant="other")))

    assert await connections.get(TENANT, "con_1") == connection("con_1", rate_per_minute=30)
    assert [c.tenant for c in await connections.named("con_1")] == [TENANT, "other"]
    assert await connections.listed(TENANT, after="con_1") == []
    assert len(await connections.wanted()) == 2


async def test_a_connection_changes_what_is_asked(writer: Writer, connections: ConnectionStore) -> None:
    await writer.commit(connections.added(connection()))

    await writer.commit(connections.updated(connection(label="new", config=b"{}", job_id="job_1")))
    await writer.commit(connections.desire(TENANT, "con_1", Desired.PAUSED))

    assert await connections.get(TENANT, "con_1") == connection(
        label="new", config=b"{}", job_id="job_1", desired=Desired.PAUSED
    )
    assert await connections.wanted() == []


async def test_a_session_moves_along_its_states_and_drops_its_code(
    writer: Writer, connections: ConnectionStore
) -> None:
    await writer.commit(connections.added(connection()))

    def moved(to: SessionState, at: int, reason: str | None = None) -> object:
        return writer.commit(connections.moved(TENANT, "con_1", to=to, reason=reason, at=at))

    assert await moved(SessionState.CONNECTED, NOW + 1) is None  # type: ignore[misc]
    assert await moved(SessionState.STARTING, NOW + 1) is not None  # type: ignore[misc]
    assert await moved(SessionState.QR_PENDING, NOW + 2) is not None  # type: ignore[misc]
    await writer.commit(connections.shown(TENANT, "con_1", "2@abc", NOW + 60))
    stored = await connections.get(TENANT, "con_1")
    assert stored == connection(state=SessionState.QR_PENDING, since=NOW + 2, qr="2@abc", qr_expires_at=NOW + 60)

    assert await moved(SessionState.CONNECTED, NOW + 3, "paired") is not None  # type: ignore[misc]
    assert await connections.get(TENANT, "con_1") == connection(
        state=SessionState.CONNECTED, since=NOW + 3, reason="paired"
    )


async def test_a_connections_config_is_sealed_for_its_place(
    writer: Writer, reader: Reader, database: Database, connections: ConnectionStore
) -> None:
    change = connections.added(connection())
    assert not any(b"EAAG-secret" in value for value in change.row if isinstance(value, bytes))
    await writer.commit(change)

    other_key = Vault(keys=[b"k" * KEY_BYTES], random_bytes=bytes)

    with pytest.raises(ConfigError):
        await ConnectionStore(database=database, reader=reader, vault=other_key).get(TENANT, "con_1")


async def test_a_body_that_comes_twice_is_taken_once(writer: Writer, reader: Reader, database: Database) -> None:
    inbox = InboxStore(reader=reader, database=database)
    adds = [inbox.added(TENANT, f"inb_{i}", "con_1", "sha-1", b"\x00raw", NOW) for i in range(4)]

    rows = await asyncio.gather(*[writer.commit(add) for add in adds])

    assert [row is not None for row in rows] == [True, False, False, False]
    await writer.commit(inbox.processed(TENANT, "inb_0", NOW + 1, "not JSON"))
    stored = await inbox.get(TENANT, "inb_0")
    assert stored is not None
    assert (stored.raw, stored.processed_at, stored.error) == (b"\x00raw", NOW + 1, "not JSON")


async def test_the_ledger_knows_what_is_unfinished(writer: Writer, database: Database) -> None:
    ledger = LedgerStore(database=database)
    entries = [
        LedgerEntry(
            tenant=TENANT,
            connection_id="con_1",
            id=f"wamid.{i}",
            message_id=f"msg_{i}",
            peer="5511",
            type="text",
            payload=b"{}",
            at=NOW,
        )
        for i in range(4)
    ]
    await writer.commit_all([ledger.added(entry) for entry in entries])

    await writer.commit_all([ledger.staged(TENANT, "con_1", f"wamid.{i}", i + 1) for i in range(4)])

    assert [e.id for e in await ledger.unfinished(TENANT, "con_1", 3, 10)] == ["wamid.0", "wamid.1"]
    assert [(e.id, e.stage) for e in await ledger.listed(TENANT, "con_1", after="wamid.1", limit=1)] == [("wamid.2", 3)]
    assert await ledger.listed(TENANT, "con_2") == []


async def test_a_slot_of_the_clock_is_claimed_once(writer: Writer) -> None:
    rows = await asyncio.gather(
        *[writer.commit(ScheduleStore.claimed(TENANT, "cleanup", NOW, NOW + i)) for i in range(5)]
    )

    assert sum(row is not None for row in rows) == 1
    assert await writer.commit(ScheduleStore.claimed(TENANT, "cleanup", NOW + 60_000, NOW)) is not None


async def test_a_setting_is_replaced(writer: Writer, reader: Reader) -> None:
    settings = SettingStore(reader=reader)
    assert await settings.get("paused") is None

    await writer.commit(settings.put("paused", b"1"))
    await writer.commit(settings.put("paused", b"2"))

    assert await settings.get("paused") == b"2"
    assert await settings.get("paused", tenant="other") is None


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b"x" * PACK_FROM, b"\x00zlib\x00{}"], ids=["empty", "small", "large", "alike"]
)
async def test_a_body_comes_back_byte_for_byte(writer: Writer, reader: Reader, database: Database, raw: bytes) -> None:
    inbox = InboxStore(reader=reader, database=database)
    await writer.commit(inbox.added(TENANT, "inb_1", "con_1", "sha-1", packed(raw), NOW))
    row = await inbox.get(TENANT, "inb_1")
    listed = await inbox.listed(TENANT, connection_id=None, failed=None, after=None, limit=10)
    assert row is not None
    assert (row.raw, [other.raw for other in listed]) == (raw, [raw])
