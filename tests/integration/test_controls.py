"""Limits and pauses that operators change while zapd runs: kept in SQL, over restarts and losses of Redis."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.jobs.engine import Engine
from tests.support.redis_server import RedisServer
from zapd.config import Config, load
from zapd.config.queues import QueueConfig
from zapd.config.sections import JobsConfig
from zapd.controls import Controls
from zapd.errors import InvalidInput, Unavailable
from zapd.jobs.broker import Pauses
from zapd.jobs.client import connect
from zapd.jobs.dispatcher import Dispatcher
from zapd.jobs.scripts import Scripts
from zapd.jobs.settings import SharedLimits, TenantLimits
from zapd.parts.queues import settings_of, shared_of
from zapd.store.commands import Change, Row
from zapd.store.settings import SettingStore

SEND = "message:send"
FILE = '[queues."message:send"]\nconcurrency = 3\nmax_concurrency = 6\n'


class Rows:
    """The settings of all daemons on one database."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.away = False

    async def commit(self, *changes: Change) -> Row | None:
        if self.away:
            raise Unavailable("no database")
        for change in changes:
            _, name, value = change.row
            self.values[name] = value
        return None

    put = staticmethod(SettingStore.put)

    async def get(self, name: str) -> bytes | None:
        return self.values.get(name)


class Daemon:
    """One daemon's controls on that database and a Redis."""

    def __init__(self, rows: Rows, url: str, config: Config) -> None:
        self.engine = Engine(url, *[settings_of(name, config) for name in config.queues])
        self.told: dict[str, QueueConfig] = {}
        self.dispatcher = Dispatcher(broker=self.engine.broker, pools=[])
        self.controls = Controls(
            config=config,
            settings=rows,  # type: ignore[arg-type]
            commit=rows.commit,
            broker=self.engine.broker,
            dispatcher=lambda: self.dispatcher,
            apply=lambda name, queue, _changed: self.told.update({name: queue}),
            apply_all=self._limit,
        )

    def _limit(self, jobs: JobsConfig) -> None:
        self.dispatcher.limit(jobs.max_in_flight)
        self.shared = shared_of(jobs)

    async def look(self) -> None:
        await self.controls._load()
        await self.controls._look()


@pytest.fixture
def config(tmp_path: Path) -> Config:
    path = tmp_path / "zapd.toml"
    path.write_text(FILE)
    return load(path, environ={})


@pytest.fixture
def rows() -> Rows:
    return Rows()


@pytest.fixture
async def daemon(rows: Rows, redis_server: RedisServer, config: Config) -> AsyncIterator[Daemon]:
    redis_server.flush()
    made = Daemon(rows, redis_server.url, config)
    yield made
    await made.engine.close()


async def test_a_changed_limit_wins_over_the_file_until_it_is_given_back(daemon: Daemon, config: Config) -> None:
    await daemon.controls.change(SEND, {"max_concurrency": 20, "rate": "600/min", "timeout": "90s"})
    now = daemon.told[SEND]
    assert (now.concurrency, now.max_concurrency, now.rate, now.timeout) == (3, 20, 600, 90)
    assert daemon.controls.changed(SEND) == {"max_concurrency": 20, "rate": "600/min", "timeout": "90s"}

    other = config.queues[SEND].model_copy(update={"concurrency": 4, "max_concurrency": 9})
    daemon.controls.reload(config.model_copy(update={"queues": {**config.queues, SEND: other}}))
    assert (daemon.told[SEND].concurrency, daemon.told[SEND].max_concurrency) == (4, 20)

    await daemon.controls.change(SEND, {"max_concurrency": None, "rate": None})
    assert (daemon.told[SEND].max_concurrency, daemon.told[SEND].rate, daemon.told[SEND].timeout) == (9, None, 90)


@pytest.mark.parametrize(
    ("changes", "field", "rule"),
    [
        ({"concurrency": 0}, "concurrency", "1 to 10,000"),
        ({"max_concurrency": -4}, "max_concurrency", "1 to 10,000"),
        ({"concurrency": 7}, "concurrency", "at most max_concurrency (6)"),
        ({"max_concurrency": 2}, "max_concurrency", "leave concurrency (3)"),
        ({"max_in_flight": 0}, "max_in_flight", "1"),
        ({"rate": "fast"}, "rate", "10/s"),
        ({"rate": "0/s"}, "rate", "10/s"),
        ({"backoff_factor": 0.5}, "backoff_factor", "1 to 10"),
        ({"timeout": "0s"}, "timeout", "greater than 0"),
        ({"priority": 11}, "priority", "1 to 10"),
        ({"action": "noop"}, "action", "one of priority"),
    ],
)
async def test_what_cannot_be_is_refused_with_what_is_allowed(
    daemon: Daemon, rows: Rows, changes: dict[str, object], field: str, rule: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await daemon.controls.change(SEND, changes)

    assert refused.value.fields[0].field == field
    assert rule in refused.value.fields[0].rule
    assert rows.values == {}
    assert daemon.told == {}


async def test_a_second_daemon_and_a_new_start_hold_the_same(
    daemon: Daemon, rows: Rows, redis_server: RedisServer, config: Config
) -> None:
    await daemon.controls.change(SEND, {"concurrency": 6})
    await daemon.controls.change_all({"max_in_flight": 77, "tenants": {"acme": {"max_in_flight": 3}}})
    await daemon.controls.pause(SEND, lane="con_1")
    await daemon.controls.pause("message:status", kind="slow")
    await daemon.controls.pause("session:init")

    other = Daemon(rows, redis_server.url, config)
    await other.look()

    assert other.told[SEND].concurrency == 6
    assert other.controls.of_all.max_in_flight == other.dispatcher._max_in_flight == 77
    assert other.shared.own == {"acme": TenantLimits(max_in_flight=3)}
    assert other.controls.pauses() == {
        SEND: Pauses(lanes=frozenset({"con_1"})),
        "message:status": Pauses(kinds=frozenset({"slow"})),
        "session:init": Pauses(paused=True),
    }
    await other.controls.pause(SEND, lane="con_1", paused=False)
    await other.controls.pause("message:status", kind="slow", paused=False)
    await other.controls.pause("session:init", paused=False)
    await daemon.look()
    assert daemon.controls.pauses() == {}
    assert not any([(await daemon.engine.broker.pauses(name)).any for name in config.queues])
    await other.engine.close()


async def test_pauses_outlive_a_loss_of_redis_that_came_with_a_restart(
    daemon: Daemon, rows: Rows, redis_server: RedisServer, config: Config
) -> None:
    await daemon.controls.pause(SEND, kind="k")
    await daemon.controls.pause("session:init")
    redis_server.flush()

    new = Daemon(rows, redis_server.url, config)
    await new.controls.restore()  # what the outbox calls before it adds the first job

    assert await new.engine.broker.pauses(SEND) == Pauses(kinds=frozenset({"k"}))
    assert await new.engine.broker.pauses("session:init") == Pauses(paused=True)
    await new.engine.close()


async def test_redis_is_made_to_agree_but_not_while_another_daemon_is_at_it(daemon: Daemon) -> None:
    broker = daemon.engine.broker
    await daemon.controls.pause(SEND)
    await broker.resume(SEND)  # somebody did that past SQL, or has only begun
    await daemon.look()
    assert not (await broker.pauses(SEND)).paused
    await daemon.look()
    assert (await broker.pauses(SEND)).paused


async def test_a_pause_is_taken_while_redis_is_away(rows: Rows, redis_server: RedisServer, config: Config) -> None:
    daemon = Daemon(rows, "unix:///nowhere.sock", config)
    await daemon.controls.pause(SEND)
    await daemon.controls.pause_all()
    assert daemon.dispatcher._paused  # here at once
    await daemon.engine.close()

    redis_server.flush()
    back = connect(redis_server.url, name="back")
    daemon.engine.broker._call = Scripts(client=back, metrics=daemon.engine.metrics).call
    await daemon.look()
    await daemon.look()

    assert all([(await daemon.engine.broker.pauses(name)).paused for name in config.queues])
    await back.aclose()


async def test_pause_all_without_a_database_holds_here_and_is_tried_again(daemon: Daemon, rows: Rows) -> None:
    rows.away = True
    with pytest.raises(Unavailable):
        await daemon.controls.pause_all()
    assert daemon.dispatcher._paused

    rows.away = False
    await daemon.controls._switch_all(paused=True)

    assert not daemon.dispatcher._paused  # Redis holds it now
    assert (await daemon.engine.broker.pauses(SEND)).paused
    await daemon.controls.pause_all(paused=False)
    assert daemon.controls.pauses() == {}


@pytest.mark.parametrize(
    ("changes", "field", "rule"),
    [
        ({"max_in_flight": 0}, "max_in_flight", "1 to 1,000,000"),
        ({"max_in_flight": -1}, "max_in_flight", "1 to 1,000,000"),
        ({"max_in_flight": 1_000_001}, "max_in_flight", "1 to 1,000,000"),
        ({"rate": "0/s"}, "rate", "10/s"),
        ({"burst": 0}, "burst", "1 to 10,000"),
        ({"tenant_max_in_flight": 0}, "tenant_max_in_flight", "1"),
        ({"tenants": {"acme": {"rate": "much"}}}, "tenants.acme.rate", "10/s"),
        ({"tenants": {"acme": {"burst": 0}}}, "tenants.acme.burst", "1 to 10,000"),
        ({"tenants": {"acme": {"speed": 1}}}, "tenants.acme.speed", "rate, burst, max_in_flight"),
    ],
)
async def test_an_impossible_limit_over_all_queues_is_refused(
    daemon: Daemon, rows: Rows, changes: dict[str, Any], field: str, rule: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        await daemon.controls.change_all(changes)
    assert [(found.field, rule in found.rule) for found in refused.value.fields] == [(field, True)]
    assert rows.values == {}


async def test_limits_over_all_queues_are_changed_one_by_one_and_given_back(daemon: Daemon, config: Config) -> None:
    acme = {"rate": "60/min", "max_in_flight": 2}
    await daemon.controls.change_all({"rate": "6000/min", "tenants": {"acme": acme, "zeta": {"burst": 2}}})
    await daemon.controls.change_all({"tenant_max_in_flight": 9, "tenants": {"zeta": None}})

    assert daemon.shared == SharedLimits(
        rate_per_minute=6000,
        tenant=TenantLimits(max_in_flight=9),
        own={"acme": TenantLimits(rate_per_minute=60, max_in_flight=2)},
    )
    assert daemon.controls.changed_of_all["tenants"] == {"acme": acme}

    file = config.jobs.model_copy(update={"rate": 300.0, "burst": 7})
    daemon.controls.reload(config.model_copy(update={"jobs": file}))
    assert (daemon.shared.rate_per_minute, daemon.shared.burst) == (6000, 7)

    await daemon.controls.change_all({"rate": None, "tenant_max_in_flight": None, "tenants": None})
    assert daemon.shared == SharedLimits(rate_per_minute=300, burst=7)


async def test_a_limit_that_the_file_makes_impossible_is_dropped_not_fatal(daemon: Daemon, config: Config) -> None:
    await daemon.controls.change(SEND, {"concurrency": 6})
    other = config.queues[SEND].model_copy(update={"max_concurrency": 4})

    daemon.controls.reload(config.model_copy(update={"queues": {**config.queues, SEND: other}}))

    assert (daemon.told[SEND].concurrency, daemon.told[SEND].max_concurrency) == (3, 4)


@pytest.mark.parametrize("what", ["kind", "lane"])
async def test_the_number_of_pauses_is_bounded(daemon: Daemon, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr("zapd.controls.MOST_PAUSED", 2)

    async def pause(name: str) -> None:
        await daemon.controls.pause(SEND, kind=name if what == "kind" else None, lane=name if what == "lane" else None)

    for name in ("a", "b"):
        await pause(name)
    with pytest.raises(InvalidInput, match="at most 2"):
        await pause("c")
