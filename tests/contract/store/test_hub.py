"""Definitions, events on their way, actions and the quarantine, on both databases."""

from dataclasses import replace
from typing import Any

import pytest

from tests.support.store import NOW, TENANT, event
from zapd.model.hub import (
    ActionRow,
    ActionState,
    Definition,
    DefinitionKind,
    EventState,
    Inbound,
    Progress,
    Quarantined,
)
from zapd.model.webhook import Category
from zapd.store.actions import ActionStore
from zapd.store.database import Database
from zapd.store.definitions import DefinitionStore
from zapd.store.event_states import EventStateStore
from zapd.store.events import EventStore
from zapd.store.purge import Purge
from zapd.store.quarantine import QuarantineStore
from zapd.store.reader import Reader
from zapd.store.vault import Vault
from zapd.store.writer import Writer


def definition(name: str = "crm", version: int = 1, **changes: Any) -> Definition:
    made = Definition(
        tenant=TENANT,
        kind=DefinitionKind.TARGET,
        name=name,
        version=version,
        given=b'{"base_url":"https://crm","token":"s3cret"}',
        created_at=NOW,
        updated_at=NOW,
        active=version,
    )
    return replace(made, **changes)


def state(event_id: str = "evt_1", **changes: Any) -> EventState:
    made = EventState(
        tenant=TENANT,
        event_id=event_id,
        progress=Progress.PENDING,
        type="lead.created",
        source="shop",
        cause=None,
        depth=0,
        run=1,
        due_at=0,
        created_at=NOW,
        occurred_at=NOW,
    )
    return replace(made, **changes)


def inbound(event_id: str = "evt_1", dedup: str = "d1", **changes: Any) -> Inbound:
    made = Inbound(
        tenant=TENANT,
        event_id=event_id,
        source="shop",
        dedup=dedup,
        raw=b'{ "a" : 1 }\xff',
        content_type="application/json",
        headers="{}",
        received_at=NOW,
    )
    return replace(made, **changes)


def action(id: str = "act_1", **changes: Any) -> ActionRow:
    made = ActionRow(
        tenant=TENANT,
        id=id,
        event_id="evt_1",
        event_type="lead.created",
        run=1,
        route="r@1",
        kind="deliver",
        place="crm",
        state=ActionState.PENDING,
        payload=b"{}",
        max_attempts=3,
        backoff=1000,
        due_at=0,
        created_at=NOW,
    )
    return replace(made, **changes)


@pytest.fixture
def definitions(database: Database, vault: Vault) -> DefinitionStore:
    return DefinitionStore(database=database, vault=vault)


@pytest.fixture
def states(database: Database, reader: Reader) -> EventStateStore:
    return EventStateStore(database=database, reader=reader)


@pytest.fixture
def actions(database: Database, reader: Reader) -> ActionStore:
    return ActionStore(database=database, reader=reader)


async def test_a_definition_has_versions_of_which_one_is_in_force(
    database: Database, writer: Writer, definitions: DefinitionStore
) -> None:
    first, second = definition(), definition(version=2, given=b"{}")
    before = await definitions.stamp()
    assert await writer.commit(definitions.added(first), definitions.version_added(first)) is not None
    assert await writer.commit(definitions.added(first)) is None  # the name is taken
    assert await definitions.stamp() != before
    await writer.commit(definitions.version_added(second))
    assert [(d.version, d.given) for d in await definitions.in_force()] == [(1, first.given)]
    turned = definitions.activated(TENANT, DefinitionKind.TARGET, "crm", 2, expected=1, at=NOW + 1)
    assert await writer.commit(turned) is not None
    assert await writer.commit(turned) is None  # somebody was faster
    assert [d.version for d in await definitions.in_force()] == [2]
    assert [d.version for d in await definitions.versions(TENANT, DefinitionKind.TARGET, "crm")] == [1, 2]
    await writer.commit(*definitions.deleted(TENANT, DefinitionKind.TARGET, "crm"))
    assert await definitions.versions(TENANT, DefinitionKind.TARGET, "crm") == []


async def test_what_is_defined_is_sealed(database: Database, writer: Writer, definitions: DefinitionStore) -> None:
    import sqlalchemy as sa

    from zapd.store.tables import definition_versions

    await writer.commit(definitions.added(definition()), definitions.version_added(definition()))
    ((kept,),) = await database.fetch(sa.select(definition_versions.c.given))
    assert b"s3cret" not in kept


async def test_a_repeat_of_a_webhook_is_dropped_in_the_transaction_that_keeps_it(
    database: Database, reader: Reader, writer: Writer, states: EventStateStore
) -> None:
    events = EventStore(database=database, reader=reader)
    both = [
        writer.commit(
            states.came_in(inbound(f"evt_{i}")),
            events.recorded(event(f"evt_{i}", category=Category.INBOUND)),
            states.added(state(f"evt_{i}")),
        )
        for i in range(5)
    ]
    import asyncio

    kept = [row for row in await asyncio.gather(*both) if row is not None]
    assert len(kept) == 1
    first = await states.first(TENANT, "shop", "d1")
    assert first is not None
    assert first.raw == b'{ "a" : 1 }\xff'
    assert len(await events.listed(TENANT)) == 1
    assert await states.first("other", "shop", "d1") is None


async def test_an_event_is_settled_once_for_each_run(writer: Writer, states: EventStateStore) -> None:
    await writer.commit(states.added(state()))
    settled = states.settled(state(), Progress.FAILED, at=NOW, trace=b"{}", error="no")
    assert await writer.commit(settled) is not None
    assert await writer.commit(states.settled(state(), Progress.DONE, at=NOW, trace=b"{}")) is None
    assert [s.event_id for s in await states.unprocessed(Progress.FAILED, due_before=NOW, limit=5)] == ["evt_1"]
    assert await writer.commit(states.again(state(), due_at=NOW)) is not None
    assert await writer.commit(states.again(state(), due_at=NOW)) is None
    again = await states.get(TENANT, "evt_1")
    assert again is not None
    assert (again.progress, again.run, again.error) == (Progress.PENDING, 2, None)
    assert await writer.commit(states.settled(state(), Progress.DONE, at=NOW, trace=b"{}")) is None  # the run before
    assert await writer.commit(states.settled(again, Progress.DONE, at=NOW, trace=b"{}")) is not None


async def test_events_are_found_by_type_family_source_and_time(writer: Writer, states: EventStateStore) -> None:
    await writer.commit_all(
        [
            states.added(state("evt_1")),
            states.added(state("evt_2", type="lead.lost", created_at=NOW + 10)),
            states.added(state("evt_3", type="leads.x", source=None)),
            states.added(state("evt_4", tenant="other")),
        ]
    )

    async def found(**which: Any) -> list[str]:
        return [s.event_id for s in await states.matching(TENANT, **which)]

    assert await found() == ["evt_1", "evt_2", "evt_3"]
    assert await found(types=("lead.*",)) == ["evt_1", "evt_2"]
    assert await found(types=("leads.x", "lead.lost")) == ["evt_2", "evt_3"]
    assert await found(source="shop", since=NOW + 1, until=NOW + 11) == ["evt_2"]
    assert await found(newest=True, limit=1) == ["evt_3"]
    assert await found(after="evt_2") == ["evt_3"]


async def test_an_action_moves_along_its_table(writer: Writer, actions: ActionStore) -> None:
    await writer.commit(actions.added(action()))
    row = await actions.get(TENANT, "act_1")
    assert row == action()
    moved = actions.moved(action(), ActionState.RETRYING, at=NOW, attempts=1, due_at=NOW + 5, error="503")
    assert await writer.commit(moved) is not None
    assert await actions.unfinished(None, [ActionState.RETRYING], due_before=NOW, limit=5) == []
    assert len(await actions.unfinished(None, [ActionState.RETRYING], due_before=NOW + 5, limit=5)) == 1
    assert await writer.commit(actions.moved(action(), ActionState.DONE, at=NOW, attempts=2)) is not None
    assert await writer.commit(actions.moved(action(), ActionState.DEAD, at=NOW, attempts=3)) is None
    assert [a.state for a in await actions.of_event(TENANT, "evt_1")] == [ActionState.DONE]


async def test_the_quarantine_seals_and_counts(
    database: Database, reader: Reader, vault: Vault, writer: Writer
) -> None:
    rows = QuarantineStore(database=database, reader=reader, vault=vault)
    refused = Quarantined(
        tenant=TENANT, id="q1", source="shop", check="signature", detail="no", size=3, sealed=b"raw", received_at=NOW
    )
    await writer.commit_all([rows.kept(replace(refused, id=f"q{i}")) for i in range(4)])
    got = await rows.get(TENANT, "q2")
    assert got is not None
    assert got.sealed == b"raw"
    assert await rows.beyond(TENANT, "shop", 3) == ["q0"]
    assert await rows.count() == 4
    assert [q.id for q in await rows.listed(TENANT, source="shop", after="q1")] == ["q2", "q3"]


async def test_an_event_that_waits_or_has_open_actions_is_never_purged(
    database: Database, reader: Reader, writer: Writer, states: EventStateStore, actions: ActionStore
) -> None:
    events, purge = EventStore(database=database, reader=reader), Purge(database=database, writer=writer)
    for i, progress in enumerate((Progress.PENDING, Progress.DONE, Progress.DONE)):
        await writer.commit(
            events.recorded(event(f"evt_{i}")),
            states.added(state(f"evt_{i}", progress=progress, processed_at=NOW if progress is Progress.DONE else None)),
        )
    await writer.commit(actions.added(action(event_id="evt_1")))
    for table in ("events", "event_states", "actions", "inbound", "quarantine"):
        await purge.purge(table, NOW + 1)
    assert [e.id for e in await events.listed(TENANT)] == ["evt_0", "evt_1"]
    assert len(await actions.of_event(TENANT, "evt_1")) == 1
