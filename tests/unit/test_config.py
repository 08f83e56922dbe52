"""The configuration: where values come from, what is refused and how, and that the example tells the truth."""

import json
import re
import tomllib
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path

import pytest

from zapd.config import BUILT_IN, Config, QueueConfig, load
from zapd.config.load import GATHERED, NAMED
from zapd.config.schedules import ScheduleConfig
from zapd.errors import ConfigError

EXAMPLE = Path(__file__).parents[2] / "config.toml.example"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "zapd.toml"


def problems(file: Path, text: str = "", environ: Mapping[str, str] | None = None) -> list[str]:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, environ=environ or {})
    return list(caught.value.problems)


# --- the example


def test_example_holds_the_defaults() -> None:
    assert load(EXAMPLE, environ={}) == load(None, environ={}) == Config()


def test_example_names_every_key_of_every_section() -> None:
    document = tomllib.loads(EXAMPLE.read_text())
    for name, field in Config.model_fields.items():
        if name not in {*NAMED, *GATHERED}:
            fields = type(field.default).model_fields
            assert list(document[name]) == [field.alias or key for key, field in fields.items()], name
    assert set(document["queues"]) == set(BUILT_IN)


def test_example_shows_a_whole_queue_of_the_operators_own() -> None:
    text = EXAMPLE.read_text()
    own = text[text.index('# [queues."billing:check"]') : text.index("# A schedule, with every key")]
    document = tomllib.loads(re.sub(r"^# ?", "", own, flags=re.MULTILINE))
    shown = document["queues"]["billing:check"]
    assert list(shown) == list(QueueConfig.model_fields)
    assert QueueConfig.model_validate(shown) == QueueConfig(action="noop")


def test_example_shows_a_whole_schedule() -> None:
    text = EXAMPLE.read_text()
    own = text[text.index('# [schedules."invoices"]') : text.index("# Outbound webhooks")]
    shown = tomllib.loads(re.sub(r"^# ?", "", own, flags=re.MULTILINE))["schedules"]["invoices"]
    assert list(shown) == list(ScheduleConfig.model_fields)
    assert ScheduleConfig.model_validate(shown) == ScheduleConfig(cron="0 8 * * MON-FRI", queue="billing:check")


def test_example_explains_each_key_in_the_words_of_the_model() -> None:
    text = EXAMPLE.read_text()
    for name, field in Config.model_fields.items():
        for key, value in type(field.default).model_fields.items() if name not in {*NAMED, *GATHERED} else ():
            assert value.description, f"{name}.{key} has no sentence"
            assert f"# {value.description}\n{value.alias or key} = " in text, f"{name}.{key}"
    for kind in NAMED.values():
        for key, value in kind.model_fields.items():
            assert f"# # {value.description}\n# {key} = " in text, key


# --- what values become


def test_durations_rates_sizes_and_networks(file: Path) -> None:
    file.write_text(
        """
        [http]
        body_limit = "64KiB"
        trusted_proxies = ["10.0.0.0/8", "fd00::/8"]
        [sandbox]
        pair_after = "1.5s"
        latency = "250ms"
        [retention]
        inbox = "2d"
        completed_jobs = "90m"
        [queues."billing:check"]
        action = "noop"
        rate = "10/s"
        lane_rate = "120/h"
        lane_cap = 4
        """
    )
    config = load(file, environ={})
    queue = config.queues["billing:check"]
    assert config.http.body_limit == 65_536
    assert config.http.trusted_proxies == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert (config.sandbox.pair_after, config.sandbox.latency) == (1.5, 0.25)
    assert (config.retention.inbox, config.retention.completed_jobs) == (172_800, 5_400)
    assert (queue.rate, queue.lane_rate, queue.lane_cap) == (600.0, 2.0, 4)


@pytest.mark.parametrize(
    ("listen", "address", "loopback"),
    [
        ("127.0.0.1:8470", ("127.0.0.1", 8470), True),
        ("localhost:0", ("localhost", 0), True),
        ("[::1]:80", ("::1", 80), True),
        ("0.0.0.0:80", ("0.0.0.0", 80), False),
        ("[::]:80", ("::", 80), False),
    ],
)
def test_listen_address(listen: str, address: tuple[str, int], loopback: bool) -> None:
    config = load(None, environ={}, overrides={"http.listen": listen})
    assert config.http.address == address
    assert config.http.loopback_only is loopback


@pytest.mark.parametrize(
    ("url", "used"),
    [
        ("", "sqlite+aiosqlite:////var/lib/zapd/zapd.db"),
        ("sqlite:///data/zapd.db", "sqlite+aiosqlite:///data/zapd.db"),
        ("postgres://zapd@db/zapd", "postgresql+asyncpg://zapd@db/zapd"),
        ("postgresql://zapd@db/zapd", "postgresql+asyncpg://zapd@db/zapd"),
    ],
)
def test_database_url_gets_its_asynchronous_driver(url: str, used: str) -> None:
    config = load(None, environ={}, overrides={"database.url": url, "state.dir": "/var/lib/zapd"})
    assert config.database_url == used


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("redis://db:6379/0", "redis://:p%40ss@db:6379/0"),
        ("rediss://zapd@db/0", "rediss://zapd:p%40ss@db/0"),
        ("unix:///run/redis.sock", "unix://:p%40ss@/run/redis.sock"),
    ],
)
def test_the_password_becomes_a_part_of_the_redis_url(url: str, server: str) -> None:
    overrides = {"redis.url": url, "redis.password": "p@ss"}
    assert load(None, environ={}, overrides=overrides).redis.server_url == server


def test_without_a_password_the_redis_url_stays_as_it_is() -> None:
    assert load(None, environ={"REDIS_HOST": "db"}).redis.server_url == "redis://db:6379/0"


DESIGN = (
    *("session:init", "session:close", "message:receive", "event:process", "message:send", "flow:run"),
    *("message:status", "webhook:delivery", "notification:send", "maintenance:cleanup"),
)


def test_built_in_queues_are_the_designs_table() -> None:
    row = BUILT_IN["message:send"]
    assert (row.priority, row.concurrency, row.max_concurrency, row.attempts) == (5, 5, 100, 5)
    assert (row.backoff, row.backoff_factor, row.timeout) == (2.0, 3.0, 60.0)
    assert BUILT_IN["webhook:delivery"].attempts == 3
    assert set(BUILT_IN) - {"media:download"} == set(DESIGN)


def test_a_queue_of_zapds_own_keeps_what_is_not_changed(file: Path) -> None:
    file.write_text('[queues."message:send"]\nattempts = 7\n')
    queue = load(file, environ={}).queues["message:send"]
    assert queue == BUILT_IN["message:send"].model_copy(update={"attempts": 7})


# --- where values come from


def test_the_first_source_that_names_a_key_wins(file: Path, tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "redis_url").write_text("redis://credential\n")
    file.write_text('[http]\nlisten = "127.0.0.1:1"\n[redis]\nurl = "redis://file"\n[state]\ndir = "file"\n')
    environ = {"STATE_DIRECTORY": "/systemd"}
    assert str(load(None, environ=environ).state.dir) == "/systemd"
    assert str(load(EXAMPLE, environ=environ).state.dir) == "/systemd"
    assert str(load(file, environ=environ).state.dir) == "file"
    assert load(file, environ=environ).redis.url == "redis://file"
    environ |= {"REDIS_HOST": "common", "REDIS_PORT": "6380"}
    assert load(file, environ=environ).redis.url == "redis://common:6380/0"
    environ |= {"CREDENTIALS_DIRECTORY": str(credentials)}
    assert load(file, environ=environ).redis.url == "redis://credential"
    environ |= {"ZAPD_REDIS__URL": "redis://own", "ZAPD_HTTP__LISTEN": "127.0.0.1:2"}
    assert load(file, environ=environ).redis.url == "redis://own"
    assert load(file, environ=environ, overrides={"http.listen": "127.0.0.1:3"}).http.listen == "127.0.0.1:3"


def test_credentials_give_secrets_and_the_data_key_as_a_path(tmp_path: Path) -> None:
    for name, value in {"redis_password": "s3cret\n", "database_url": "postgresql://a:b@c/d", "data_key": "k"}.items():
        (tmp_path / name).write_text(value)
    config = load(None, environ={"CREDENTIALS_DIRECTORY": str(tmp_path), "REDIS_HOST": "r"})
    assert config.redis.password == "s3cret"
    assert config.database_url == "postgresql+asyncpg://a:b@c/d"
    assert config.data_key_file == tmp_path / "data_key"
    assert "s3cret" not in repr(config)
    assert "a:b@c" not in repr(config)


def test_environment_reaches_lists_numbers_switches_and_queues() -> None:
    config = load(
        None,
        environ={
            "ZAPD_WEBHOOKS__ALLOW_NETWORKS": "10.0.0.0/8, 192.168.0.0/16",
            "ZAPD_LIMITS__SESSION_BURST": "20",
            "ZAPD_SANDBOX__AUTO_REPLY": "false",
            "ZAPD_QUEUES__MESSAGE_SEND__MAX_CONCURRENCY": "30",
            "ZAPD_URL": "for the command line's client",
            "DATABASE_URL": "postgresql://zapd@db/zapd",
        },
    )
    assert config.webhooks.allow_networks == (ip_network("10.0.0.0/8"), ip_network("192.168.0.0/16"))
    assert config.limits.session_burst == 20
    assert config.sandbox.auto_reply is False
    assert config.queues["message:send"].max_concurrency == 30
    assert config.database.url == "postgresql+asyncpg://zapd@db/zapd"


# --- what is refused


def test_every_problem_is_named_at_once(file: Path) -> None:
    found = problems(
        file,
        """
        [limits]
        session_per_minute = 0
        sesion_burst = 5
        [jobs]
        lease = "5s"
        [colud]
        version = "v25.0"
        [queues."billing:check"]
        action = "fly"
        attempts = "x"
        """,
        {"ZAPD_LOG__LEVEL": "loud"},
    )
    assert [line.split(" = ")[0].split(":")[0] for line in found if "billing" not in line] == [
        "limits.session_per_minute",
        "limits.sesion_burst",
        "log.level",
        "colud.version",
        "jobs.lease",
    ]
    assert len(found) == 7


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[limits]\nsession_burst = 0", "limits.session_burst = 0: should be greater than or equal to 1"),
        ("[limits]\nsesion_burst = 5", "limits.sesion_burst: unknown key; did you mean session_burst?"),
        ("[jobs]\nmax_in_flight = true", "jobs.max_in_flight = true: should be a number, not true or false"),
        ("[limtis]\nsession_burst = 5", "limtis.session_burst: unknown section; did you mean limits?"),
        ("limits = 5", "limits: should be a section with keys, not a value"),
        ("queues = 5", 'queues: should be sections such as [queues."billing:check"]'),
        ("[zapi]\nxyz = 1", "zapi.xyz: unknown key; known are base_url, session_per_minute, hooks_url"),
        (
            "[drain]\ndeadline = 30",
            'drain.deadline = 30: should be a duration such as "250ms", "30s", "5m", "1h" or "7d"',
        ),
        ('[drain]\ndeadline = "0s"', 'drain.deadline = "0s": should be greater than 0'),
        ('[http]\nbody_limit = "1MB"', 'http.body_limit = "1MB": should be a size such as "64KiB" or "1MiB"'),
        (
            '[http]\nlisten = "::1:80"',
            'http.listen = "::1:80": should be HOST:PORT such as "127.0.0.1:8470" or "[::1]:8470"',
        ),
        (
            '[webhooks]\nallow_networks = ["10.0.0.1/8"]',
            'webhooks.allow_networks = ["10.0.0.1/8"]: should be a list of networks such as ["10.0.0.0/8", "fd00::/8"]',
        ),
        ("[webhooks]\nallow_networks = 5", "webhooks.allow_networks = 5: should be a list of networks such as "),
        (
            '[cloud]\nbase_url = "graph"',
            'cloud.base_url = "graph": should be a URL that starts with https:// or http://',
        ),
        ('[cron]\ncleanup = "0 0 30 2 *"', 'cron.cleanup = "0 0 30 2 *": should be a cron line that fires, such as '),
        ('[log]\nformat = "xml"', "log.format = \"xml\": should be 'auto', 'json', 'journal' or 'text'"),
        ('[queues.a]\naction = "fly"', 'queues.a.action = "fly": should be one of: noop'),
        ("[queues.a]", "queues.a.action: should be one of: noop"),
        ('[queues.a]\naction = "noop"\nrate = "fast"', 'queues.a.rate = "fast": should be a rate such as '),
        ('[queues."A{b}"]\naction = "noop"', 'queues."A{b}": a queue\'s name is up to 64 of '),
        (
            '[queues.a]\naction = "noop"\nconcurrency = 9\nmax_concurrency = 8',
            "queues.a.concurrency = 9: should be at most max_concurrency (8)",
        ),
        (
            '[queues."flow:run"]\naction = "noop"',
            'queues."flow:run".action = "noop": is only for queues of your own; ',
        ),
        (
            '[queues."message:send"]\nlane_rate = "5/s"',
            'queues."message:send".lane_rate = "5/s": set [limits] session_per_minute and session_burst instead',
        ),
        (
            '[queues."webhook:delivery"]\nlane_cap = 2',
            'queues."webhook:delivery".lane_cap = 2: set [webhooks] endpoint_concurrency instead',
        ),
        (
            '[webhooks]\ntimeout = "31s"',
            'webhooks.timeout = "31s": should be at most the timeout of webhook:delivery (30s)',
        ),
        ('[jobs]\nheartbeat = "6s"', "jobs.lease: should be at least three heartbeats (18s)"),
        ('[retention]\nevents = "7d"', 'retention.events = "7d": should be at least retention.deliveries'),
        ('[redis]\npassword = "pw"', "redis.password = ***: is for an external Redis"),
        ('[redis]\nurl = "http://u:pw@h"', 'redis.url = ***: should be "embedded", redis://'),
        ('[database]\nurl = "mysql://u:pw@h/d"', 'database.url = ***: should be "", sqlite:///FILE or postgresql://'),
    ],
)
def test_one_line_says_key_value_and_what_is_allowed(file: Path, text: str, line: str) -> None:
    found = problems(file, text)
    assert len(found) == 1
    assert found[0].startswith(line)


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        (
            {"ZAPD_LIMITS__SESSION_BURST": "x"},
            'limits.session_burst = "x" (from ZAPD_LIMITS__SESSION_BURST): should be a ',
        ),
        ({"ZAPD_HTTP__A__B": "x"}, "http.a__b (from ZAPD_HTTP__A__B): unknown key; "),
        ({"ZAPD_QUEUES__FLOW_RUN": "x"}, 'queues."flow:run" (from ZAPD_QUEUES__FLOW_RUN): should be a section'),
        (
            {"REDIS_HOST": "r", "REDIS_PORT": "tcp://10.0.0.1:6379"},
            "redis.url = *** (from REDIS_HOST and REDIS_PORT): ",
        ),
        ({"DATABASE_URL": "mysql://h/d"}, "database.url = *** (from DATABASE_URL): should be "),
    ],
)
def test_a_line_names_the_variable_that_gave_the_value(file: Path, environ: Mapping[str, str], line: str) -> None:
    found = problems(file, environ=environ)
    assert len(found) == 1
    assert found[0].startswith(line)


def test_the_value_of_a_misspelt_key_is_not_shown(file: Path) -> None:
    (line,) = problems(file, '[redis]\npasword = "hunter2"\n')
    assert line == "redis.pasword: unknown key; did you mean password?"


def test_a_file_that_is_no_toml_names_the_line(file: Path) -> None:
    assert problems(file, "[http]\nlisten = \n") == [f"{file}: Invalid value (at line 2, column 10)"]


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: No such file or directory"):
        load(tmp_path / "none.toml", environ={})
    (tmp_path / "latin.toml").write_bytes(b'[http]\nlisten = "\xe7"\n')
    with pytest.raises(ConfigError, match="should be UTF-8 text"):
        load(tmp_path / "latin.toml", environ={})


def test_a_wrong_value_hides_no_other_rule_and_causes_no_false_one(file: Path) -> None:
    found = problems(file, '[jobs]\nheartbeat = "x"\nlease = "1s"\n[redis]\nurl = "bad"\npassword = "pw"\n')
    assert [line.split(" = ")[0] for line in found] == ["redis.url", "jobs.heartbeat"]


# --- the event hub


def test_what_the_file_defines_is_checked_key_by_key(file: Path) -> None:
    lines = problems(
        file,
        """
        [sources."shop"]
        verify = "githup"
        secret = "s"
        [sources."a b"]
        verify = "github"
        [targets."crm"]
        base_url = "crm.example.com"
        tokn = "x"
        [routes."r"]
        types = ["lead.*"]
        actions = [{ kind = "deliver" }]
        [mappings]
        x = 1
        [listeners]
        "a b" = ["email"]
        "x.y" = "email"
        [targets."env"]
        base_url = "env:NOT_SET_ANYWHERE"
        """,
    )
    text = "\n".join(lines)
    assert "sources.shop.verify: is \"githup\"; should be 'meta', 'zapi', 'github'" in text
    assert 'sources."a b": a name is up to 64' in text
    assert "targets.crm.base_url" in text
    assert "targets.crm.tokn: unknown key" in text
    assert "routes.r.actions.0" in text
    assert "give either `target` or `endpoint`" in text
    assert "mappings.x" in text
    assert 'listeners."a b"' in text
    assert 'listeners."x.y"' in text
    assert "targets.env: env:NOT_SET_ANYWHERE is not set" in text


def test_a_secret_of_a_definition_is_never_shown(file: Path) -> None:
    wrong = """
        [sources."x"]
        verify = "github"
        secret = 12345
        [targets."y"]
        base_url = "https://x.y"
        auth = { type = "bearer", token = 777 }
        """
    text = "\n".join(problems(file, wrong))
    assert "12345" not in text
    assert "777" not in text


def test_secrets_come_from_the_environment_and_from_credentials(file: Path, tmp_path: Path) -> None:
    (tmp_path / "crm").write_text("from-systemd\n")
    file.write_text(
        """
        [sources."shop"]
        verify = "github"
        secret = "env:SHOP"
        [targets."crm"]
        base_url = "https://crm.example.com"
        auth = { type = "bearer", token = "credential:crm" }
        """
    )
    config = load(file, environ={"SHOP": "from-env", "CREDENTIALS_DIRECTORY": str(tmp_path)})
    given = {key: json.loads(defined.given) for key, defined in config.definitions.items()}
    assert given["source", "shop"]["secret"] == "from-env"
    assert given["target", "crm"]["auth"]["token"] == "from-systemd"
