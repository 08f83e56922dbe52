"""Every test of the engine runs on the embedded Redis (6.2) and on the newest; those of the scripts on 7.0 as well."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.integration.jobs.engine import Engine
from tests.support.redis_server import RedisServer, debian_binary, missing, newer_binary

OF_SCRIPTS = ("test_model", "test_broker", "test_lanes", "test_levels", "test_strangers")


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


@pytest.fixture
async def engine(server: RedisServer) -> AsyncIterator[Engine]:
    engine = Engine(server.url)
    yield engine
    await engine.close()
