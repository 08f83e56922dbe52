"""Events, endpoints, deliveries and attempts on both databases."""

import asyncio
from dataclasses import replace

import pytest

from tests.support.store import NOW, TENANT, attempt, delivery, endpoint, event, message
from zapd.errors import ConfigError
from zapd.model.webhook import SOURCES, BodyFormat, Category, Options, Secret, Severity
from zapd.model.webhook import DeliveryState as D
from zapd.store.database import Database
from zapd.store.deliveries import DeliveryStore
from zapd.store.endpoints import EndpointStore
from zapd.store.events import EventStore, Sent
from zapd.store.messages import MessageStore
from zapd.store.purge import Purge
from zapd.store.reader import Reader
from zapd.store.vault import KEY_BYTES, Vault
from zapd.store.writer import Writer


@pytest.fixture
def events(database: Database, reader: Reader) -> EventStore:
    return EventStore(database=database, reader=reader)


@pytest.fixture
def endpoints(database: Database, reader: Reader, vault: Vault) -> EndpointStore:
    return EndpointStore(database=database, reader=reader, vault=vault)


@pytest.fixture
def deliveries(database: Database, reader: Reader) -> DeliveryStore:
    return DeliveryStore(database=database, reader=reader)


async def test_an_event_gets_its_place_and_keeps_its_bytes(writer: Writer, events: EventStore) -> None:
    assert await events.last_seq() == 0

    await writer.commit(events.recorded(event("evt_1", payload=b'{ "spaces":  1 }')))
    await writer.commit(events.recorded(event("evt_2", category=Category.OWN, severity=Severity.ERROR)))

    stored = await events.get(TENANT, "evt_2")
    assert stored == event("evt_2", category=Category.OWN, severity=Severity.ERROR, seq=2)
    assert [e.payload for e in await events.after(0, 1)] == [b'{ "spaces":  1 }']
    assert [e.id for e in await events.after(1, 10)] == ["evt_2"]
    assert await events.after(0, 10, "other") == []
    assert await events.last_seq() == 2


async def test_what_was_sent_of_late_is_told_in_order(writer: Writer, events: EventStore) -> None:
    told = [("msg_1", NOW - 5), ("msg_2", NOW - 7), ("msg_1", NOW), ("msg_gone", NOW)]
    for peer, name in (("5511900000001", "msg_1"), ("5511900000002", "msg_2")):
        await writer.commit(MessageStore.added(message(name, peer=peer)))
    for number, (name, at) in enumerate(told):
        sent = event(f"evt_{number}", type="message.sent", message_id=name, created_at=at)
        await writer.commit(events.recorded(sent))
    await writer.commit(events.recorded(event("evt_x", type="message.read", message_id="msg_1", created_at=NOW)))

    first = message()
    assert await events.sent_since(NOW - 6) == [
        Sent(TENANT, first.connection_id, "5511900000001", NOW - 5),
        Sent(TENANT, first.connection_id, "5511900000001", NOW),
    ]
    assert await events.sent_since(NOW) == []


async def test_an_event_under_a_known_id_is_not_recorded(writer: Writer, events: EventStore) -> None:
    await writer.commit(events.recorded(event()))

    assert await writer.commit(events.recorded_new(event(type="order.paid"))) is None


async def test_a_place_in_the_log_is_never_given_again(writer: Writer, database: Database, events: EventStore) -> None:
    await writer.commit(events.recorded(event("evt_1")))
    await Purge(database=database, writer=writer).purge("events", NOW + 1)

    await writer.commit(events.recorded(event("evt_2")))

    assert await events.last_seq() == 2


async def test_events_are_found_by_what_they_are_about(writer: Writer, events: EventStore) -> None:
    rows = [
        event("evt_1"),
        event("evt_2", type="message.read"),
        event("evt_3", message_id="msg_2"),
        event("evt_4", category=Category.OWN, connection_id=None, message_id=None),
    ]
    await writer.commit_all([events.recorded(row) for row in rows])

    assert [e.id for e in await events.of_message(TENANT, "msg_1")] == ["evt_1", "evt_2"]
    assert [e.id for e in await events.listed(TENANT, type="message.sent", limit=2)] == ["evt_1", "evt_3"]
    assert [e.id for e in await events.listed(TENANT, category=Category.OWN)] == ["evt_4"]
    assert [e.id for e in await events.listed(TENANT, connection_id="con_1", after="evt_1")] == ["evt_2", "evt_3"]


async def test_an_endpoint_comes_back_whole(writer: Writer, endpoints: EndpointStore) -> None:
    await writer.commit(endpoints.added(endpoint()))
    assert await endpoints.get(TENANT, "end_1") == endpoint()
    assert await endpoints.all_enabled() == [endpoint()]

    changed = endpoint(enabled=False, disabled_reason="410", secrets=(Secret(value="x"),), format=BodyFormat.ZAPHUB)
    assert await writer.commit(endpoints.updated(changed)) is not None

    assert await endpoints.listed(TENANT) == [changed]
    assert await endpoints.all_enabled() == []
    assert await writer.commit(endpoints.deleted(TENANT, "end_1")) is not None
    assert await writer.commit(endpoints.deleted(TENANT, "end_1")) is None
    assert await endpoints.get(TENANT, "end_1") is None


async def test_an_endpoint_is_disabled_once_and_only_with_the_url_that_was_seen(
    writer: Writer, endpoints: EndpointStore
) -> None:
    await writer.commit(endpoints.added(endpoint()))

    assert await writer.commit(endpoints.disabled(endpoint(url="https://elsewhere.example"), "410")) is None
    assert await writer.commit(endpoints.disabled(endpoint(), "410")) is not None
    assert await writer.commit(endpoints.disabled(endpoint(), "again")) is None

    assert await endpoints.get(TENANT, "end_1") == endpoint(enabled=False, disabled_reason="410")


async def test_secrets_are_sealed_and_need_their_key(
    writer: Writer, reader: Reader, database: Database, endpoints: EndpointStore
) -> None:
    change = endpoints.added(endpoint())
    assert not any(b"whsec" in value or b"X-Shop" in value for value in change.row if isinstance(value, bytes))
    await writer.commit(change)

    other_key = Vault(keys=[b"k" * KEY_BYTES], random_bytes=bytes)

    with pytest.raises(ConfigError):
        await EndpointStore(database=database, reader=reader, vault=other_key).get(TENANT, "end_1")


async def test_an_event_goes_to_an_endpoint_once(writer: Writer, deliveries: DeliveryStore) -> None:
    assert await writer.commit(deliveries.added(delivery("dlv_1"))) is not None
    assert await writer.commit(deliveries.added(delivery("dlv_2"))) is None
    assert await writer.commit(deliveries.added(delivery("dlv_3", endpoint_id="end_2"))) is not None

    assert [d.id for d in await deliveries.of_message(TENANT, "msg_1")] == ["dlv_1", "dlv_3"]


async def test_a_delivery_is_loaded_with_its_event(
    writer: Writer, events: EventStore, deliveries: DeliveryStore
) -> None:
    await writer.commit(events.recorded(event(created_at=NOW + 7)), deliveries.added(delivery()))

    loaded = await deliveries.load(TENANT, "dlv_1")

    assert loaded is not None
    assert (loaded.delivery, loaded.payload, loaded.happened_at) == (delivery(seq=1), event().payload, NOW + 7)
    assert await deliveries.load(TENANT, "dlv_2") is None


async def test_a_delivery_moves_along_its_states(writer: Writer, deliveries: DeliveryStore) -> None:
    await writer.commit(deliveries.added(delivery()))

    def moved(to: D, **fields: object) -> object:
        return writer.commit(deliveries.moved(TENANT, "dlv_1", to=to, frm=SOURCES[to], at=NOW + 1, **fields))  # type: ignore[arg-type]

    await moved(D.RETRYING, attempts=1, last_status=500, last_error="oops", next_at=NOW + 5)  # type: ignore[misc]
    assert await deliveries.get(TENANT, "dlv_1") == delivery(
        seq=1, state=D.RETRYING, attempts=1, last_status=500, last_error="oops", next_at=NOW + 5
    )
    await moved(D.DELIVERED, attempts=2, last_status=200)  # type: ignore[misc]
    assert await deliveries.get(TENANT, "dlv_1") == delivery(
        seq=1, state=D.DELIVERED, attempts=2, last_status=200, finished_at=NOW + 1
    )
    assert await moved(D.DEAD) is None  # type: ignore[misc]
    await moved(D.PENDING)  # type: ignore[misc]
    again = await deliveries.get(TENANT, "dlv_1")
    assert again == delivery(seq=1, attempts=2, last_status=200)
    assert await deliveries.listed(TENANT, endpoint_id="end_1", state=D.PENDING) == [again]
    assert await deliveries.listed(TENANT, state=D.PENDING, after="dlv_1") == []


async def test_attempts_are_kept_in_order(writer: Writer, deliveries: DeliveryStore) -> None:
    await writer.commit_all([deliveries.attempted(attempt(2, owner=None)), deliveries.attempted(attempt(1))])
    await writer.commit(deliveries.attempted(attempt(1, status=200)))  # the same POST once more, after a crash

    stored = await deliveries.attempts(TENANT, "dlv_1")

    assert [replace(a, phases=dict(a.phases)) for a in stored] == [attempt(1, status=200), attempt(2, owner=None)]


async def test_the_deliveries_of_an_endpoint_are_numbered_without_gaps(
    writer: Writer, deliveries: DeliveryStore
) -> None:
    """Also those of one batch that is larger than a statement, and those that a doubled event leaves out."""
    await asyncio.gather(
        *[writer.commit(deliveries.added(delivery(f"dlv_{i:03}", event_id=f"evt_{i:03}"))) for i in range(300)],
        *[writer.commit(deliveries.added(delivery(f"dlv_x{i}", event_id=f"evt_{i:03}"))) for i in range(50)],
        *[writer.commit(deliveries.added(delivery(f"dlv_y{i}", endpoint_id="end_2"))) for i in range(1)],
    )

    stored = await deliveries.listed(TENANT, endpoint_id="end_1", limit=1000)
    assert sorted(d.seq or 0 for d in stored) == list(range(1, 301))
    (other,) = await deliveries.listed(TENANT, endpoint_id="end_2")
    assert other.seq == 1


async def test_a_number_never_comes_again_after_its_delivery_went(
    writer: Writer, deliveries: DeliveryStore, database: Database
) -> None:
    await writer.commit(deliveries.added(delivery("dlv_1", state=D.PENDING)))
    await writer.commit(deliveries.moved(TENANT, "dlv_1", to=D.DELIVERED, frm=SOURCES[D.DELIVERED], at=NOW))
    await Purge(database=database, writer=writer).purge("deliveries", NOW + 1)
    assert await deliveries.get(TENANT, "dlv_1") is None

    await writer.commit(deliveries.added(delivery("dlv_2", event_id="evt_2")))
    second = await deliveries.get(TENANT, "dlv_2")
    assert second is not None
    assert second.seq == 2


async def test_failures_are_counted_and_who_enables_it_forgives_them(writer: Writer, endpoints: EndpointStore) -> None:
    await writer.commit(endpoints.added(endpoint()))
    assert await writer.commit(endpoints.failed(endpoint(url="https://elsewhere.example"), NOW)) is None
    for at in (NOW, NOW + 5):
        row = await writer.commit(endpoints.failed(endpoint(), at))
    assert row is not None
    assert row[2:] == (2, NOW, 0)
    assert await writer.commit(endpoints.told(TENANT, "end_1", 50)) is not None
    assert await writer.commit(endpoints.told(TENANT, "end_1", 50)) is None

    await writer.commit(endpoints.updated(endpoint()))  # a change of something else leaves them
    stored = await endpoints.get(TENANT, "end_1")
    assert stored == endpoint(failures=2, failing_since=NOW, alerted=50)
    await writer.commit(endpoints.disabled(endpoint(), "why"))
    await writer.commit(endpoints.updated(endpoint()))
    assert await endpoints.get(TENANT, "end_1") == endpoint()

    await writer.commit(endpoints.failed(endpoint(), NOW))
    await writer.commit(endpoints.works(TENANT, "end_1"))
    assert await endpoints.get(TENANT, "end_1") == endpoint()


async def test_options_come_back_as_they_were(writer: Writer, endpoints: EndpointStore) -> None:
    options = Options(channels=("con_1",), filter="data.a", transform="data", batch_size=5, batch_wait=1.5)
    await writer.commit(endpoints.added(endpoint(options=options)))
    stored = await endpoints.get(TENANT, "end_1")
    assert stored is not None
    assert stored.options == options
