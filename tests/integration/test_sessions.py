"""The life of a connection: what the API asks, what the queues do, what the transport tells."""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
import pytest
from prometheus_client import CollectorRegistry

from tests.integration.messaging.world import World, data_of
from tests.support import eventually
from tests.support.store import message as a_message
from tests.support.whatsapp import ScriptedTransport
from zapd.errors import Conflict, InvalidInput, NotFound
from zapd.jobs.job import Done, Job
from zapd.model.session import Connection, Desired, OnAmbiguous, SessionState, TransportName
from zapd.sessions.kinds import Kind
from zapd.sessions.lives import Sessions
from zapd.sessions.records import Records
from zapd.sessions.requests import CreateConnection, Created
from zapd.sessions.wires import Wires
from zapd.store.commands import Change
from zapd.store.credentials import Login
from zapd.webhooks.endpoints import Endpoints
from zapd.webhooks.guard import Guard
from zapd.webhooks.resolver import Resolver
from zapd.whatsapp import sandbox_wire
from zapd.whatsapp.cloud import CloudConfig
from zapd.whatsapp.credentials import CorruptCredentials, SqlCredentials
from zapd.whatsapp.manager import SessionManager
from zapd.whatsapp.metrics import SessionMetrics
from zapd.whatsapp.transport import NotConnected, QrCode, StateChange

T = SessionState


def check_cloud(config: Mapping[str, Any]) -> None:
    CloudConfig.read(orjson.dumps(dict(config)))


KINDS = {
    TransportName.SANDBOX: Kind(
        capabilities=frozenset({"text", "pair"}),
        on_ambiguous=OnAmbiguous.RESEND,
        check_config=lambda _: None,
        parse=lambda _, raw: sandbox_wire.parse(raw),
    ),
    TransportName.CLOUD: Kind(
        capabilities=frozenset({"text"}),
        on_ambiguous=OnAmbiguous.VERIFY,
        check_config=lambda config: check_cloud(config),
        parse=lambda _, raw: sandbox_wire.parse(raw),
    ),
}


class Desk:
    """Sessions on a real store; their transports do what the test tells them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.transports: dict[tuple[str, str], ScriptedTransport] = {}
        self.woken: list[tuple[str, str]] = []
        self.limited: list[str] = []
        self.forgotten: list[str] = []
        self.progress: list[float] = []
        self.logins = world.credentials
        guard = Guard(allow_loopback=True)
        self.resolver = Resolver(guard=guard)
        endpoints = Endpoints(
            guard=guard, resolver=self.resolver, ids=world.ids, now_ms=world.clock.now_ms, random_bytes=os.urandom
        )
        self.manager = SessionManager(
            transports={TransportName.SANDBOX: self._transport},
            wanted=world.connections.wanted,
            on_state=lambda connection, change: self.sessions.on_state(connection, change),
            on_raw=self._raw,
            on_up=lambda connection: self.sessions.on_up(connection),
            random=lambda: 0.0,
        )
        records = Records(
            connections=world.connections,
            announcer=world.announcer,
            commit=world.outbox.commit,
            now_ms=world.clock.now_ms,
            metrics=SessionMetrics(registry=CollectorRegistry(), transports=list(TransportName)),
        )
        self.wires = Wires(records=records, manager=self.manager, kinds=KINDS)
        self.sessions = Sessions(
            records=records,
            connections=world.connections,
            manager=self.manager,
            kinds=KINDS,
            commit=world.outbox.commit,
            new_endpoint=endpoints.made,
            endpoint_added=world.endpoints.added,
            endpoints_changed=world.fanout.refresh,
            wake_lane=self._woke,
            limit_lane=self._limit,
            credentials=self.credentials,
            progress=lambda _queue, _job, percent: self.progress.append(percent),
            closed=self._forget,
            ids=world.ids,
            now_ms=world.clock.now_ms,
        )

    def credentials(self, connection: Connection) -> SqlCredentials:
        return SqlCredentials(
            tenant=connection.tenant,
            connection_id=connection.id,
            rows=self.logins,
            commit=self.world.writer.commit,
            ids=self.world.ids,
            now_ms=self.world.clock.now_ms,
        )

    def _transport(self, connection: Connection) -> ScriptedTransport:
        transport = self.transports[connection.tenant, connection.id] = ScriptedTransport()
        return transport

    async def _raw(self, connection: Connection, raw: bytes) -> None:
        raise AssertionError("nothing came in")

    async def _woke(self, queue: str, lane: str) -> None:
        self.woken.append((queue, lane))

    async def _limit(self, connection: Connection) -> None:
        self.limited.append(connection.key)

    async def _forget(self, connection: Connection) -> None:
        self.forgotten.append(connection.key)

    async def create(self, connection_id: str | None = "con_1", **changes: Any) -> Created:
        given = {"tenant": "default", "transport": TransportName.SANDBOX, "label": "shop", "config": {}}
        return await self.sessions.create(CreateConnection(**(given | {"id": connection_id} | changes)))

    async def up(self, connection_id: str = "con_1", tenant: str = "default") -> None:
        """A connection that is created, started and connected."""
        await self.create(connection_id, tenant=tenant)
        await self.run("session:init")
        await eventually(lambda: self.wires.connected(tenant, connection_id))

    async def run(self, queue: str) -> list[Job]:
        """Run the jobs of a queue; their rows go."""
        jobs = await self.world.jobs(queue)
        handler = self.sessions.init if queue == "session:init" else self.sessions.finish_close
        for job in jobs:
            assert await handler(job) == Done()
        await self.world.change(*[self.world.outbox_rows.removed(job.tenant, job.id) for job in jobs])
        return jobs

    async def stored(self, connection_id: str = "con_1", tenant: str = "default") -> Connection:
        connection = await self.world.connections.get(tenant, connection_id)
        assert connection is not None
        return connection

    async def state(self, connection_id: str = "con_1", tenant: str = "default") -> SessionState:
        return (await self.stored(connection_id, tenant)).state

    async def told(self, tenant: str = "default") -> list[str]:
        """The states that were announced."""
        events = await self.world.events.listed(tenant, type="connection.state")
        return [data_of(event)["state"] for event in events]


@pytest.fixture
async def desk(world: World) -> AsyncIterator[Desk]:
    built = Desk(world)
    yield built
    await built.manager.stop()
    built.resolver.close()


# --- create ---


async def test_a_new_connection_is_there_with_the_job_that_starts_it(desk: Desk) -> None:
    created = await desk.create(rate_per_minute=30)

    (job,) = await desk.world.jobs("session:init")
    stored = await desk.stored()
    assert (created.connection.id, created.job_id, created.webhook_secret) == ("con_1", job.id, None)
    assert (job.id, job.priority, job.lane) == ("session-init-con_1", 10, "con_1")
    assert (stored.state, stored.desired, stored.rate_per_minute) == (T.CREATED, Desired.CONNECTED, 30)


async def test_an_id_is_made_when_none_is_given(desk: Desk) -> None:
    first, second = await desk.create(None), await desk.create(None)
    assert first.connection.id.startswith("con_")
    assert first.connection.id != second.connection.id


@pytest.mark.parametrize(
    ("transport", "config", "policy"),
    [
        (TransportName.SANDBOX, {}, OnAmbiguous.RESEND),
        (
            TransportName.CLOUD,
            {"phone_number_id": "1", "access_token": "t", "app_secret": "s", "verify_token": "v", "waba_id": "2"},
            OnAmbiguous.VERIFY,
        ),
    ],
)
async def test_doubt_is_met_as_the_transport_says_or_as_the_connection_does(
    desk: Desk, transport: TransportName, config: dict[str, str], policy: OnAmbiguous
) -> None:
    await desk.create(transport=transport, config=config)
    await desk.create("con_2", transport=transport, config=config, on_ambiguous=OnAmbiguous.HOLD)
    assert (await desk.stored()).on_ambiguous is policy
    assert (await desk.stored("con_2")).on_ambiguous is OnAmbiguous.HOLD
    assert orjson.loads((await desk.stored()).config) == config


async def test_the_same_connection_again_while_it_is_pending_gives_the_same_job(desk: Desk) -> None:
    first = await desk.create()
    again = await desk.create()
    assert again.job_id == first.job_id
    assert len(await desk.world.jobs("session:init")) == 1
    await desk.run("session:init")
    await eventually(lambda: desk.wires.connected("default", "con_1"))
    with pytest.raises(Conflict, match="con_1 exists already"):
        await desk.create()


async def test_of_many_who_create_one_connection_at_once_all_get_one_job(desk: Desk) -> None:
    made = await asyncio.gather(*[desk.create(webhook_url="https://127.0.0.1/hook") for _ in range(8)])
    assert {created.job_id for created in made} == {"session-init-con_1"}
    assert len([created for created in made if created.webhook_secret]) == 1
    assert len(await desk.world.endpoints.listed("default")) == 1


async def test_a_webhook_url_becomes_an_endpoint_of_this_connection_and_its_secret_is_shown_once(desk: Desk) -> None:
    created = await desk.create(webhook_url="https://127.0.0.1/hook")
    again = await desk.create(webhook_url="https://127.0.0.1/hook")

    (endpoint,) = await desk.world.endpoints.listed("default")
    assert (endpoint.url, endpoint.connection_id, endpoint.enabled) == ("https://127.0.0.1/hook", "con_1", True)
    assert created.webhook_secret == endpoint.secrets[0].value
    assert again.webhook_secret is None
    await desk.run("session:init")  # it hears of the first state already
    assert await desk.world.jobs("webhook:delivery")


async def test_a_wrong_webhook_url_is_named_and_nothing_is_made(desk: Desk) -> None:
    with pytest.raises(InvalidInput) as refused:
        await desk.create(webhook_url="ftp://example.com")
    assert [field.field for field in refused.value.fields] == ["webhook_url"]
    assert await desk.world.connections.get("default", "con_1") is None


async def test_a_wrong_config_names_every_key(desk: Desk) -> None:
    with pytest.raises(InvalidInput) as refused:
        await desk.create(transport=TransportName.CLOUD, config={"phone_number_id": 7})
    fields = {field.field for field in refused.value.fields}
    assert {"config.phone_number_id", "config.access_token", "config.app_secret"} <= fields
    assert all(field.startswith("config.") for field in fields)


# --- start ---


async def test_starting_announces_each_state_and_wakes_what_waits(desk: Desk) -> None:
    await desk.up()
    assert await desk.told() == ["starting", "connected"]
    assert await desk.state() is T.CONNECTED
    assert desk.woken == [("message:send", "con_1")]
    assert desk.limited == ["con_1"]


async def test_a_start_tells_how_far_it_is(desk: Desk) -> None:
    await desk.up()
    assert desk.progress == [25, 50, 100]


async def test_starting_again_leaves_a_session_that_runs_alone(desk: Desk) -> None:
    await desk.create()
    (job,) = await desk.world.jobs("session:init")
    for _ in range(3):
        assert await desk.sessions.init(job) == Done()
        await eventually(lambda: desk.wires.connected("default", "con_1"))
    assert desk.transports["default", "con_1"].starts == 1
    assert await desk.told() == ["starting", "connected"]


async def test_a_job_of_a_connection_that_is_not_there_is_done(desk: Desk) -> None:
    job = Job(id="j", queue="session:init", payload=b'{"connection_id":"con_9"}', priority=1, created_at=1)
    assert await desk.sessions.init(job) == Done()
    assert await desk.sessions.finish_close(job) == Done()
    await desk.sessions.init_dead(job, "attempts", "no")


async def test_a_session_that_cannot_be_started_has_failed(desk: Desk) -> None:
    await desk.create()
    (job,) = await desk.world.jobs("session:init")
    for _ in range(2):
        await desk.sessions.init_dead(job, "attempts", "no network")
    stored = await desk.stored()
    assert (stored.state, stored.reason) == (T.FAILED, "attempts: no network")
    assert await desk.told() == ["failed"]


async def test_a_code_is_stored_and_announced_and_goes_when_it_was_scanned(desk: Desk) -> None:
    await desk.up()
    connection = await desk.stored()
    await desk.world.subscribe("connection.qr")
    await desk.sessions.on_state(connection, QrCode(text="2@abc", expires_at=99))
    stored = await desk.stored()
    assert (stored.qr, stored.qr_expires_at) == ("2@abc", 99)
    (event,) = await desk.world.events.listed("default", type="connection.qr")
    assert data_of(event) == {"qr": "2@abc"}
    assert len(await desk.world.jobs("webhook:delivery")) == 1

    await desk.sessions.on_state(connection, StateChange(state=T.RECONNECTING))
    assert (await desk.stored()).qr is None


async def test_a_state_that_cannot_follow_is_neither_stored_nor_announced(desk: Desk) -> None:
    await desk.create()
    await desk.sessions.on_state(await desk.stored(), StateChange(state=T.DEGRADED))
    assert await desk.state() is T.CREATED
    assert await desk.told() == []


# --- pause and resume ---


async def test_a_paused_session_sends_nothing_until_it_is_resumed(desk: Desk) -> None:
    await desk.up()
    assert (await desk.sessions.pause("default", "con_1")).state is T.PAUSED
    assert not desk.wires.connected("default", "con_1")
    with pytest.raises(NotConnected):
        await desk.wires.send(a_message())
    assert (await desk.stored()).desired is Desired.PAUSED
    desk.woken.clear()

    assert (await desk.sessions.resume("default", "con_1")).state is T.CONNECTED

    await desk.wires.send(a_message())
    assert desk.transports["default", "con_1"].starts == 1  # the wire stayed up
    assert desk.woken == [("message:send", "con_1")]
    assert (await desk.told())[2:] == ["paused", "connected"]


async def test_a_session_that_is_not_here_is_paused_in_its_record(desk: Desk) -> None:
    await desk.create()
    assert (await desk.sessions.pause("default", "con_1")).state is T.PAUSED
    await desk.run("session:init")  # was waiting: a paused connection is not started
    assert desk.transports == {}
    assert await desk.told() == ["paused"]

    await desk.sessions.resume("default", "con_1")
    await eventually(lambda: desk.wires.connected("default", "con_1"))
    assert (await desk.stored()).desired is Desired.CONNECTED


async def test_a_connection_that_was_paused_before_its_start_keeps_its_own_rate(desk: Desk) -> None:
    await desk.create(rate_per_minute=10)
    await desk.sessions.pause("default", "con_1")
    await desk.run("session:init")
    await desk.sessions.resume("default", "con_1")
    assert "con_1" in desk.limited


async def test_pause_and_resume_twice_are_as_once(desk: Desk) -> None:
    await desk.up()
    for _ in range(2):
        await desk.sessions.pause("default", "con_1")
    for _ in range(2):
        await desk.sessions.resume("default", "con_1")
    assert (await desk.told())[2:] == ["paused", "connected"]


async def test_resume_starts_what_had_trouble(desk: Desk) -> None:
    await desk.up()
    await desk.transports["default", "con_1"].say(T.LOGGED_OUT, "401")
    await eventually(lambda: _is(desk, T.LOGGED_OUT))
    await desk.sessions.resume("default", "con_1")
    await eventually(lambda: _is(desk, T.CONNECTED))


async def _is(desk: Desk, state: SessionState) -> bool:
    return await desk.state() is state


async def test_unknown_connections_are_not_found(desk: Desk) -> None:
    for ask in (desk.sessions.pause, desk.sessions.resume, desk.sessions.close):
        with pytest.raises(NotFound):
            await ask("default", "con_9")
    with pytest.raises(NotConnected):
        await desk.wires.send(a_message())
    assert await desk.wires.find("default", "con_9") is None


# --- close ---


async def test_closing_stops_the_session_and_says_so(desk: Desk) -> None:
    await desk.up()
    job_id = await desk.sessions.close("default", "con_1")
    assert (await desk.state(), (await desk.stored()).desired) == (T.CLOSING, Desired.CLOSED)

    (job,) = await desk.run("session:close")

    assert (job.id, job.priority) == (job_id, 8) == ("session-close-con_1", 8)
    assert await desk.state() is T.CLOSED
    assert desk.transports["default", "con_1"].stops
    assert desk.manager.get("default", "con_1") is None
    assert desk.forgotten == ["con_1"]
    assert (await desk.told())[2:] == ["closing", "closed"]


async def test_closing_again_changes_nothing(desk: Desk) -> None:
    await desk.up()
    assert await desk.sessions.close("default", "con_1") == await desk.sessions.close("default", "con_1")
    (job,) = await desk.run("session:close")
    assert await desk.sessions.finish_close(job) == Done()
    assert await desk.sessions.close("default", "con_1") == job.id
    assert await desk.world.jobs("session:close") == []
    assert (await desk.told())[2:] == ["closing", "closed"]


async def test_a_close_whose_first_step_was_cut_off_is_finished_by_its_job(desk: Desk) -> None:
    """Killed between the commit of the wish and the state `closing`."""
    await desk.up()
    await desk.world.change(desk.world.connections.desire("default", "con_1", Desired.CLOSED))
    job = Job(id="j", queue="session:close", payload=b'{"connection_id":"con_1"}', priority=1, created_at=1)
    await desk.sessions.finish_close(job)
    assert (await desk.told())[2:] == ["closing", "closed"]


async def test_a_closed_connection_is_neither_paused_nor_resumed_nor_created_again(desk: Desk) -> None:
    await desk.up()
    await desk.sessions.close("default", "con_1")
    for _ in range(2):
        for ask in (desk.sessions.pause, desk.sessions.resume):
            with pytest.raises(Conflict):
                await ask("default", "con_1")
        with pytest.raises(Conflict, match="closed: take another id"):
            await desk.create()
        await desk.run("session:close")


async def test_a_start_that_overlaps_a_close_does_not_bring_the_session_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two jobs are in two queues and may run side by side."""
    await desk.create()
    (start,) = await desk.world.jobs("session:init")

    async def close_meanwhile(connection: Connection) -> None:
        await desk.sessions.close("default", "con_1")
        await desk.run("session:close")

    monkeypatch.setattr(desk.sessions, "_limit_lane", close_meanwhile)
    assert await desk.sessions.init(start) == Done()

    assert await desk.state() is T.CLOSED
    assert desk.manager.get("default", "con_1") is None


# --- login and logout ---


async def test_logout_keeps_the_login_aside_and_the_same_connection_pairs_again(desk: Desk) -> None:
    await desk.up()
    login = desk.credentials(await desk.stored())
    await login.save(b"first")

    out = await desk.sessions.logout("default", "con_1")

    assert (out.state, out.reason, out.desired) == (T.LOGGED_OUT, "asked", Desired.LOGGED_OUT)
    assert desk.transports["default", "con_1"].logouts == 1
    assert await login.load() is None
    (kept,) = await desk.logins.listed("default", "con_1")
    assert (desk.logins.opened(kept), kept.reason) == (b"first", "asked")

    again = await desk.sessions.pair("default", "con_1")
    assert again.desired is Desired.CONNECTED
    await eventually(lambda: desk.wires.connected("default", "con_1"))
    await login.save(b"second")
    assert await login.load() == b"second"
    assert len(await desk.logins.listed("default", "con_1")) == 2


async def test_a_logout_by_the_provider_keeps_the_login_aside_too(desk: Desk) -> None:
    await desk.up()
    login = desk.credentials(await desk.stored())
    await login.save(b"first")
    await desk.transports["default", "con_1"].say(T.RECONNECTING, "401")
    await eventually(lambda: _is(desk, T.LOGGED_OUT))
    await eventually(lambda: desk.logins.listed("default", "con_1"))
    (kept,) = await eventually(lambda: _aside(desk))
    assert kept.reason == "401_logged_out"
    assert await login.load() is None


async def _aside(desk: Desk) -> list[Login]:
    return [login for login in await desk.logins.listed("default", "con_1") if login.archived_at is not None]


async def test_a_login_that_was_tampered_with_is_kept_aside_byte_by_byte(desk: Desk) -> None:
    await desk.up()
    login = desk.credentials(await desk.stored())
    await login.save(b"first")
    (kept,) = await desk.logins.listed("default", "con_1")
    spoilt = kept.sealed[:-1] + bytes([kept.sealed[-1] ^ 1])
    command, row = desk.logins.saved("default", "con_1", kept.id, b"", kept.created_at)
    await desk.world.change(Change(command, (*row[:3], spoilt, *row[4:])))

    with pytest.raises(CorruptCredentials):
        await login.load()

    (aside,) = await _aside(desk)
    assert (aside.sealed, aside.reason) == (
        spoilt,
        "corrupt_credentials: what is sealed for credentials/default/con_1 was changed, or belongs elsewhere",
    )
    assert await login.load() is None  # it can be paired again


async def test_logging_out_what_is_not_here_changes_its_record(desk: Desk) -> None:
    await desk.create()
    assert (await desk.sessions.logout("default", "con_1")).state is T.LOGGED_OUT
    await desk.run("session:init")  # was waiting: nobody wants it connected any more
    assert desk.transports == {}


async def test_what_is_linked_or_has_no_login_or_is_closed_is_not_paired(desk: Desk) -> None:
    await desk.up()
    with pytest.raises(Conflict, match="log it out first"):
        await desk.sessions.pair("default", "con_1")
    config = {"phone_number_id": "1", "access_token": "t", "app_secret": "s", "verify_token": "v"}
    await desk.create("cloudy", transport=TransportName.CLOUD, config=config)
    for ask in (desk.sessions.pair, desk.sessions.logout):
        with pytest.raises(Conflict, match="cloud"):
            await ask("default", "cloudy")
    await desk.sessions.close("default", "con_1")
    for ask in (desk.sessions.pair, desk.sessions.logout):
        with pytest.raises(Conflict, match="closing"):
            await ask("default", "con_1")


async def test_a_code_to_type_stands_beside_the_one_to_scan(desk: Desk) -> None:
    await desk.create()
    paired = await desk.sessions.pair("default", "con_1", phone="5511999998888")
    assert (paired.pairing_code, paired.pairing_code_expires_at) == ("ABCD-EFGH", 99)
    assert desk.transports["default", "con_1"].paired_with == ["5511999998888"]
    (event,) = await desk.world.events.listed("default", type="connection.qr")
    assert data_of(event) == {"pairing_code": "ABCD-EFGH"}
    await desk.transports["default", "con_1"].say(T.RECONNECTING)
    await eventually(lambda: _no_code(desk))


async def _no_code(desk: Desk) -> bool:
    return (await desk.stored()).pairing_code is None


# --- tenants ---


async def test_connections_of_two_tenants_with_one_id_do_not_meet(desk: Desk) -> None:
    await desk.up()
    await desk.up(tenant="other")
    assert len(desk.transports) == 2
    assert desk.limited == ["con_1", "other/con_1"]
    await desk.sessions.pause("default", "con_1")
    assert [await desk.state(), await desk.state(tenant="other")] == [T.PAUSED, T.CONNECTED]
    await desk.wires.send(a_message(tenant="other"))
    assert len(desk.transports["other", "con_1"].sent) == 1
    await desk.sessions.close("other", "con_1")
    (job,) = await desk.run("session:close")
    assert job.id == "session-close-other/con_1"
    assert [await desk.state(), await desk.state(tenant="other")] == [T.PAUSED, T.CLOSED]
    assert await desk.told("other") == ["starting", "connected", "closing", "closed"]


# --- what is remembered ---


async def test_a_connection_is_remembered_and_a_change_here_is_seen_at_once(desk: Desk) -> None:
    await desk.up()
    first = await desk.wires.find("default", "con_1")
    assert await desk.wires.find("default", "con_1") is first  # no look at SQL
    await desk.sessions.close("default", "con_1")
    found = await desk.wires.find("default", "con_1")
    assert found is not None
    assert found.state is T.CLOSING
    assert desk.wires.capabilities(found) == {"text", "pair"}


async def test_a_closed_connection_is_not_kept_in_memory(desk: Desk) -> None:
    """They only become more and more."""
    await desk.up()
    await desk.sessions.close("default", "con_1")
    await desk.run("session:close")
    found = await desk.wires.find("default", "con_1")
    assert found is not None
    assert found.state is T.CLOSED
    assert desk.sessions._records.remembered("default", "con_1") is None
