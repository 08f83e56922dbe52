"""Every test of the engine runs on the embedded Redis (6.2) and on the newest; those of the scripts on 7.0 as well."""

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis

from tests.integration.jobs.engine import Engine
from tests.support.redis_server import RedisServer, debian_binary, missing, newer_binary

OF_SCRIPTS = ("test_model", "test_broker", "test_lanes", "test_levels", "test_strangers", "test_shared")


@pytest.fixture(scope="session")
def newer_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    binary = newer_binary()
    if binary is None:
        missing("a newer redis-server")
    yield from _started(tmp_path_factory, "newer", binary or "")


@pytest.fixture(scope="session")
def debian_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    binary = debian_binary()
    if binary is None:
        pytest.skip("the distribution's redis-server is not installed")
    yield from _started(tmp_path_factory, "debian", binary)


def _started(factory: pytest.TempPathFactory, name: str, binary: str) -> Iterator[RedisServer]:
    server = RedisServer(factory.mktemp(name), binary).start()
    yield server
    server.kill()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server" not in metafunc.fixturenames:
        return
    newer = pytest.param("newer_server", id="newer", marks=pytest.mark.newer_redis)
    debian = pytest.param("debian_server", id="debian", marks=pytest.mark.newer_redis)
    scripts = metafunc.module.__name__.rpartition(".")[2] in OF_SCRIPTS
    servers = [pytest.param("redis_server", id="6.2"), newer, *([debian] if scripts else [])]
    metafunc.parametrize("server", servers, indirect=True)


@pytest.fixture
def server(request: pytest.FixtureRequest) -> RedisServer:
    found: RedisServer = request.getfixturevalue(request.param)
    found.flush()
    return found


#: What may lie in Redis without an end of its own: the map at the head of `scripts/queue.lua`, and who takes each away.
OWNED = re.compile(
    r"^zapd1:\{q:[^}]+\}:(jobs|lv|[rb]:\d+|gone|a|d|l:\d+:.+|e:\d+|t[wh]:\d+.*|ls:.+|pz|pk|k:.*|kl:.*|hb|op|x|xj|qr|done|stat|meta"
    r"|bad:.+)$|^\w+:epoch$"
)


@pytest.fixture(autouse=True)
def no_key_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test on a server: every key has an end of its own or an owner, and what they say fits together."""
    if "server" not in request.fixturenames:
        yield
        return
    server: RedisServer = request.getfixturevalue("server")
    yield
    if not server.answers():
        return  # the test was about that
    with redis.Redis.from_url(server.url, decode_responses=True, encoding_errors="replace") as client:
        _check_keys(client)


def _check_keys(client: Any) -> None:
    names = [str(name) for name in client.scan_iter(count=1000)]
    assert [name for name in names if not OWNED.match(name) and client.ttl(name) < 0] == []
    for jobs in {name[: name.index("}:") + 2] for name in names if "}:" in name}:
        live = set(client.hkeys(f"{jobs}jobs")) if client.type(f"{jobs}jobs") == "hash" else set()
        assert set(client.hkeys(f"{jobs}a")) <= live, "a claim without a job holds its lane for ever"
        assert set(client.zrange(f"{jobs}d", 0, -1)) <= live, "a delay without a job"
        holders = {claim.rpartition("|")[0] for claim in client.hvals(f"{jobs}a")}
        assert holders <= set(client.zrange(f"{jobs}hb", 0, -1)), "a claim that no reclaim finds"
        for name in (name for name in names if name.startswith(f"{jobs}ls:") and client.ttl(name) < 0):
            state = client.hgetall(name)
            assert int(state.get("f", 0)) or state.keys() & {"rate", "burst", "cap", "z"}, f"{name} is kept for nothing"


@pytest.fixture
async def engine(server: RedisServer) -> AsyncIterator[Engine]:
    engine = Engine(server.url)
    yield engine
    await engine.close()
