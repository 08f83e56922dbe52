"""Personal data over both databases: export, erase, new keys, bodies past their time."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
import pytest
import sqlalchemy as sa

from tests.contract.store.test_sealing import Store
from tests.support.store import NOW, TENANT, a_file, attempt, delivery, event, message, outbox_row
from zapd.errors import Conflict
from zapd.jobs.job import Done, Job, Snooze
from zapd.model.message import MessageStatus
from zapd.model.webhook import ERASED, DeliveryState
from zapd.privacy import Privacy
from zapd.store.bodies import BodyStore
from zapd.store.deliveries import DeliveryStore
from zapd.store.media import MediaStore
from zapd.store.sealing import MARK
from zapd.store.settings import SettingStore
from zapd.store.subjects import SubjectStore
from zapd.store.tables import attempts, data_keys, deliveries, events, messages

ANA, BRUNO = "5511999998888", "5521988887777"


class World:
    """A privacy whose jobs the test runs."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.jobs: list[Job] = []
        self.closed: list[str] = []
        bodies = BodyStore(database=store.database, writer=store.writer, sealing=store.sealing)
        self.bodies = bodies
        self.privacy = Privacy(
            bodies=bodies,
            subjects=SubjectStore(
                database=store.database,
                writer=store.writer,
                messages=store.messages,
                events=store.events,
                bodies=bodies,
            ),
            sealing=store.sealing,
            settings=SettingStore(reader=store.reader),
            commit=store.writer.commit,
            enqueue=self._enqueue,
            close_connections=self._close,
            now_ms=lambda: NOW,
        )

    async def _enqueue(self, jobs: Sequence[Job]) -> list[bool]:
        self.jobs += jobs
        return [True] * len(jobs)

    async def _close(self, tenant: str) -> None:
        self.closed.append(tenant)

    async def run_jobs(self) -> int:
        """Until the last job is done; returns how many runs it took."""
        runs = 0
        while self.jobs:
            outcome = await self.privacy.work(self.jobs[0])
            runs += 1
            if isinstance(outcome, Done):
                self.jobs.pop(0)
            else:
                assert isinstance(outcome, Snooze)
        return runs

    async def talk(self, peer: str, count: int, *, tenant: str = TENANT, prefix: str = "m") -> None:
        """Messages with an event, a delivery and an attempt each."""
        rows = DeliveryStore(database=self.store.database, reader=self.store.reader)
        changes = []
        for i in range(count):
            id_ = f"{prefix}{i:04}"
            body = orjson.dumps({"text": f"to {peer}"})
            sent = message(
                f"msg_{id_}", tenant=tenant, peer=peer, payload=body, status=MessageStatus.READ, provider_id=None
            )
            told = event(f"evt_{id_}", tenant=tenant, message_id=sent.id, payload=body)
            going = delivery(f"dlv_{id_}", tenant=tenant, event_id=told.id, message_id=sent.id)
            changes += [self.store.messages.added(sent), self.store.events.recorded(told), rows.added(going)]
            changes.append(rows.attempted(attempt(1, tenant=tenant, delivery_id=going.id, response=b"thanks")))
        await self.store.writer.commit_all(changes)

    async def count(self, table: sa.Table, tenant: str = TENANT) -> int:
        query: sa.Select[Any] = sa.select(sa.func.count()).select_from(table).where(table.c.tenant == tenant)
        return int((await self.store.database.fetch(query))[0][0])


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with Store(database_url) as store:
        yield World(store)


async def test_a_persons_export_has_their_messages_and_nobody_elses(world: World) -> None:
    await world.talk(ANA, 3)
    await world.talk(BRUNO, 2, prefix="b")

    given = orjson.loads(orjson.dumps(await world.privacy.export(TENANT, [ANA])))

    assert given["peers"] == [ANA]
    assert [m["payload"] for m in given["messages"]] == [{"text": f"to {ANA}"}] * 3
    assert [len(m["events"]) for m in given["messages"]] == [1, 1, 1]


async def test_erasing_a_person_leaves_nothing_of_them_and_everything_of_others(world: World) -> None:
    await world.talk(ANA, 250)
    await world.talk(BRUNO, 5, prefix="b")
    stray = event("evt_stray", payload=b'{"type":"lead.created","data":{"phone":"5511999998888"}}', message_id=None)
    await world.store.writer.commit_all([world.store.events.recorded(stray)])

    removed = await world.privacy.erase(TENANT, [ANA])

    assert {name: removed[name] for name in ("messages", "deliveries", "attempts")} == {
        "messages": 250,
        "deliveries": 250,
        "attempts": 250,
    }
    assert removed["events"] == 251
    assert await world.count(messages) == await world.count(deliveries) == await world.count(events) == 5
    assert (await world.privacy.export(TENANT, [BRUNO]))["messages"] != []
    assert sum((await world.privacy.erase(TENANT, [ANA])).values()) == 0


@pytest.mark.parametrize(
    ("written", "hers"),
    [
        ("+55 (11) 99999-8888", True),
        ("11 99999-8888", True),
        ("11999998888", True),
        ("+551199998888", True),  # without the ninth digit
        ("55119999988881", False),  # a longer number
        ("21999998888", False),  # another area
        ("99999-8888", False),  # could be anybody's
    ],
)
async def test_a_number_is_found_as_people_write_it(world: World, written: str, hers: bool) -> None:
    stray = event("evt_stray", payload=orjson.dumps({"data": {"phone": written}}), message_id=None)
    await world.store.writer.commit_all([world.store.events.recorded(stray)])
    peers = [ANA, "551199998888"]
    given = orjson.loads(orjson.dumps(await world.privacy.export(TENANT, peers)))
    assert [told["payload"] for told in given["events"]] == ([{"data": {"phone": written}}] if hers else [])
    assert (await world.privacy.erase(TENANT, peers))["events"] == int(hers)


async def test_what_came_of_an_event_that_names_them_goes_with_it(world: World) -> None:
    rows = DeliveryStore(database=world.store.database, reader=world.store.reader)
    hers = event("evt_hers", payload=orjson.dumps({"data": {"phone": ANA}}), message_id=None)
    going = delivery("dlv_hers", event_id=hers.id, message_id=None)
    echo = attempt(1, delivery_id=going.id, response=b"saved: Ana Maria, Rua das Flores 7")
    await world.store.writer.commit_all([world.store.events.recorded(hers), rows.added(going), rows.attempted(echo)])
    removed = await world.privacy.erase(TENANT, [ANA])
    assert (removed["events"], removed["deliveries"], removed["attempts"]) == (1, 1, 1)
    assert await world.count(deliveries) == await world.count(attempts) == 0


async def test_their_files_go_unless_another_message_uses_them(world: World) -> None:
    await world.talk(ANA, 1)
    await world.talk(BRUNO, 1, prefix="b")
    rows = MediaStore(database=world.store.database, reader=world.store.reader)
    files = [rows.added(a_file(id_)) for id_ in ("med_hers", "med_shared")]
    uses = [("msg_m0000", "med_hers"), ("msg_m0000", "med_shared"), ("msg_b0000", "med_shared")]
    await world.store.writer.commit_all([*files, *[rows.used(TENANT, *use) for use in uses]])

    removed = await world.privacy.erase(TENANT, [ANA])

    assert removed["media"] == 1
    assert await rows.get(TENANT, "med_hers") is None
    assert await rows.get(TENANT, "med_shared") is not None


async def test_one_tenants_erasure_touches_no_other_tenant(world: World) -> None:
    await world.talk(ANA, 2)
    await world.talk(ANA, 2, tenant="acme", prefix="a")
    await world.privacy.erase("acme", [ANA])
    assert (await world.count(messages), await world.count(messages, "acme")) == (2, 0)


async def test_an_erased_tenant_is_unreadable_at_once_and_gone_after_the_job(world: World) -> None:
    await world.talk(ANA, 300, tenant="acme", prefix="a")
    await world.talk(BRUNO, 1)

    await world.privacy.erase_tenant("acme")

    left = await world.store.messages.get("acme", "msg_a0000")
    assert left is not None
    assert left.payload == ERASED
    assert world.closed == ["acme"]
    await world.run_jobs()
    assert await world.count(messages, "acme") == await world.count(events, "acme") == 0
    assert await world.count(data_keys, "acme") == 0
    assert await world.count(messages) == 1


async def test_the_operators_tenant_is_not_erased(world: World) -> None:
    with pytest.raises(Conflict):
        await world.privacy.erase_tenant(TENANT)


async def test_new_keys_seal_everything_and_the_old_ones_go(world: World) -> None:
    await world.talk(ANA, 250)
    old = world.store.sealing.newest(TENANT)

    await world.privacy.rotate()
    await world.run_jobs()

    standing = await world.privacy.rotation()
    assert (standing["state"], standing["rows"]) == ("done", 250 * 3)  # message, event, attempt
    assert world.store.sealing.ids_of(TENANT) == [world.store.sealing.newest(TENANT)] != [old]
    assert await world.count(data_keys) == 1
    lying = await world.store.lies(messages.c.payload)
    assert {world.store.sealing.sealed_under(body) for body in lying} == {world.store.sealing.newest(TENANT)}
    assert (await world.store.messages.history(TENANT, "con_1", limit=1))[0].payload == orjson.dumps(
        {"text": f"to {ANA}"}
    )


async def test_a_rotation_goes_on_where_a_killed_one_stood(world: World) -> None:
    await world.talk(ANA, 250)
    await world.privacy.rotate()
    other = World(world.store)  # the next process
    await other.privacy.rotate()  # asked again: goes on, makes no third key
    assert len(world.store.sealing.ids_of(TENANT)) == 2
    await other.run_jobs()
    assert (await other.privacy.rotation())["state"] == "done"


async def test_bodies_that_were_stored_plain_are_sealed_by_a_rotation(database_url: str) -> None:
    async with Store(database_url, on=False) as plain:
        await plain.writer.commit(plain.messages.added(message("msg_old")))
    async with Store(database_url) as sealing:
        await sealing.writer.commit(sealing.messages.added(message("msg_new")))
        world = World(sealing)
        await world.privacy.rotate()
        await world.run_jobs()
        assert all(body.startswith(MARK) for body in await sealing.lies(messages.c.payload))


async def test_a_body_that_was_written_during_the_walk_is_kept(world: World) -> None:
    await world.store.writer.commit_all([world.store.outbox.added(outbox_row(payload=b'{"n":1}'))])
    bodies = world.bodies._bodies["outbox"]
    (row,) = await world.store.database.fetch_sealed(bodies.page(None))
    stale = (*row[:-1], b"something older")
    await world.store.writer.commit_all([bodies.change(stale, [b"lost"])])
    left = await world.store.outbox.scan(after=None, created_before=NOW + 1, limit=5)
    assert [row.payload for row in left] == [b'{"n":1}']


async def test_bodies_past_their_time_are_emptied_and_what_is_under_way_is_not(world: World) -> None:
    ended = message("msg_ended", status=MessageStatus.READ)
    waits = message("msg_waits", status=MessageStatus.QUEUED)
    young = message("msg_young", status=MessageStatus.READ, created_at=NOW + 10)
    await world.store.writer.commit_all([world.store.messages.added(m) for m in (ended, waits, young)])

    assert await world.bodies.emptied(NOW + 5) == 1
    assert await world.bodies.emptied(NOW + 5) == 0

    left = {m.id: m.payload for m in await world.store.messages.history(TENANT, "con_1", limit=10)}
    assert left == {"msg_ended": ERASED, "msg_waits": waits.payload, "msg_young": young.payload}


@pytest.mark.parametrize("state", DeliveryState)
async def test_an_event_keeps_its_body_until_it_is_delivered(world: World, state: DeliveryState) -> None:
    rows = DeliveryStore(database=world.store.database, reader=world.store.reader)
    told = event("evt_told", message_id=None)
    going = delivery("dlv_told", event_id=told.id, message_id=None, state=state)
    made = attempt(1, delivery_id=going.id, response=b"thanks")
    await world.store.writer.commit_all([world.store.events.recorded(told), rows.added(going), rows.attempted(made)])
    over = state in (DeliveryState.DELIVERED, DeliveryState.CANCELED)

    assert await world.bodies.emptied(NOW + 5, but=["attempts"]) == int(over)
    assert await world.bodies.emptied(NOW + 5) == 1  # the answer
    assert await world.bodies.emptied(NOW + 5) == 0

    kept = await world.store.events.get(TENANT, told.id)
    assert kept is not None
    assert kept.erased == over
