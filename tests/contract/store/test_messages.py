"""Messages on both databases: duplicates, compare-and-set, history, receipts that come early."""

import asyncio

import pytest

from tests.support.store import NOW, TENANT, message
from zapd.errors import Conflict, InvalidInput
from zapd.model.message import Direction, receipt_from
from zapd.model.message import MessageStatus as S
from zapd.store.database import Database
from zapd.store.messages import MessageStore
from zapd.store.reader import Reader
from zapd.store.writer import Writer


@pytest.fixture
def messages(database: Database, reader: Reader) -> MessageStore:
    return MessageStore(database=database, reader=reader)


async def test_every_field_comes_back(writer: Writer, messages: MessageStore) -> None:
    stored = message(provider_id="wamid.1", reply_to="msg_0", send_at=NOW + 1, expires_at=NOW + 2)

    await writer.commit(messages.added(stored))

    assert await messages.get(TENANT, stored.id) == stored
    assert await messages.get("other", stored.id) is None


async def test_a_known_id_is_a_conflict_or_no_row(writer: Writer, messages: MessageStore) -> None:
    await writer.commit(messages.added(message()))

    with pytest.raises(Conflict):
        await writer.commit(messages.added(message()))
    assert await writer.commit(messages.added_new(message())) is None
    assert await writer.commit(messages.added_new(message(tenant="other"))) is not None


async def test_a_known_provider_id_drops_an_inbound_message(writer: Writer, messages: MessageStore) -> None:
    def inbound(id: str, **changes: object) -> object:
        return messages.added_new(
            message(id, direction=Direction.INBOUND, status=S.RECEIVED, **{"provider_id": "wamid.1"} | changes)
        )

    twins = await asyncio.gather(*[writer.commit(inbound(f"msg_{i}")) for i in range(3)])  # type: ignore[arg-type]
    later = await writer.commit(inbound("msg_8"))  # type: ignore[arg-type]
    elsewhere = await writer.commit(inbound("msg_9", connection_id="con_2"))  # type: ignore[arg-type]

    assert [row is not None for row in (*twins, later, elsewhere)] == [True, False, False, False, True]
    found = await messages.by_provider_id(TENANT, "con_1", Direction.INBOUND, "wamid.1")
    assert found is not None
    assert found.id == "msg_0"
    assert await messages.by_provider_id(TENANT, "con_1", Direction.OUTBOUND, "wamid.1") is None


async def test_messages_without_a_provider_id_do_not_collide(writer: Writer, messages: MessageStore) -> None:
    await writer.commit_all([messages.added(message("msg_1")), messages.added(message("msg_2"))])

    assert len(await messages.history(TENANT, "con_1")) == 2


async def test_a_move_sets_what_is_given_and_keeps_the_rest(writer: Writer, messages: MessageStore) -> None:
    await writer.commit(messages.added(message(status=S.SENDING, expires_at=NOW + 9)))

    failed = messages.moved(
        TENANT, "msg_1", to=S.FAILED, frm=frozenset({S.SENDING}), at=NOW + 1, error_code="131000", error="oops"
    )
    row = await writer.commit(failed)
    assert row is not None
    assert messages.of(row) == message(
        status=S.FAILED, expires_at=NOW + 9, failed_at=NOW + 1, error_code="131000", error="oops"
    )

    queued = messages.moved(
        TENANT, "msg_1", to=S.QUEUED, frm=frozenset({S.FAILED}), at=NOW + 2, job_id="job_2", expires_at=None
    )
    row = await writer.commit(queued)
    assert row is not None
    assert messages.of(row) == message(status=S.QUEUED, failed_at=NOW + 1, job_id="job_2")


async def test_only_a_waiting_message_is_claimed(writer: Writer, messages: MessageStore) -> None:
    await writer.commit_all([messages.added(message(f"msg_{status}", status=status)) for status in S])

    rows = await asyncio.gather(*[writer.commit(messages.claimed(TENANT, f"msg_{status}", NOW)) for status in S])

    assert {status for status, row in zip(S, rows, strict=True) if row is not None} == {S.QUEUED, S.FAILED}


async def test_a_receipt_never_lowers_the_rank(writer: Writer, messages: MessageStore) -> None:
    await writer.commit(messages.added(message(status=S.SENT)))

    def receipt(status: S, at: int) -> object:
        return writer.commit(messages.moved(TENANT, "msg_1", to=status, frm=receipt_from(status), at=at))

    assert await receipt(S.READ, NOW + 1) is not None  # type: ignore[misc]
    assert await receipt(S.DELIVERED, NOW + 2) is None  # type: ignore[misc]


async def test_history_pages_by_id(writer: Writer, messages: MessageStore) -> None:
    ids = [f"msg_{i:02}" for i in range(10)]
    await writer.commit_all([messages.added(message(id)) for id in reversed(ids)])
    await writer.commit_all([messages.added(message("msg_05x", connection_id="con_2"))])

    async def page(**where: object) -> list[str]:
        return [m.id for m in await messages.history(TENANT, "con_1", **where)]  # type: ignore[arg-type]

    assert await page(limit=4) == ids[:4]
    assert await page(after="msg_03", limit=4) == ids[4:8]
    assert await page(after="msg_09", limit=4) == []
    assert await page(direction=Direction.INBOUND) == []
    assert await page(status=S.QUEUED, after="msg_07") == ids[8:]


async def test_messages_are_counted_by_status(writer: Writer, messages: MessageStore) -> None:
    await writer.commit_all([messages.added(message(f"msg_{i}")) for i in range(3)])
    await writer.commit(messages.claimed(TENANT, "msg_1", NOW))
    await writer.commit(messages.claimed(TENANT, "msg_2", NOW + 100))

    assert await messages.counts(TENANT) == {S.QUEUED: 1, S.SENDING: 2}


async def test_readers_at_one_time_each_get_their_own_row(
    writer: Writer, reader: Reader, messages: MessageStore
) -> None:
    await writer.commit_all([messages.added(message(f"msg_{i}")) for i in range(300)])

    found = await asyncio.gather(*[messages.get(TENANT, f"msg_{i}") for i in range(310)], messages.get(TENANT, "msg_1"))

    assert [m and m.id for m in found] == [*[f"msg_{i}" for i in range(300)], *[None] * 10, "msg_1"]


async def test_a_key_that_sql_cannot_hold_fails_its_reader_only(writer: Writer, messages: MessageStore) -> None:
    await writer.commit(messages.added(message()))

    bad, good = await asyncio.gather(
        messages.get(TENANT, "\ud800"), messages.get(TENANT, "msg_1"), return_exceptions=True
    )

    assert isinstance(bad, InvalidInput)
    assert good == message()
    with pytest.raises(InvalidInput):
        await messages.history(TENANT, "con_1", after="\ud800")


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(TypeError, match="tenant_id"):
        MessageStore.moved(TENANT, "msg_1", to=S.SENT, frm=frozenset({S.SENDING}), at=NOW, tenant_id="x")
