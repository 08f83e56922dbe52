"""Every test of the engine runs on the embedded Redis (6.2) and on a newer one."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.integration.jobs.engine import Engine
from tests.support.redis_server import RedisServer, missing, newer_binary


@pytest.fixture(scope="session")
def newer_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    binary = newer_binary()
    if binary is None:
        missing("a newer redis-server")
    server = RedisServer(tmp_path_factory.mktemp("newer"), binary or "").start()
    yield server
    server.kill()


@pytest.fixture(params=["6.2", pytest.param("newer", marks=pytest.mark.newer_redis)])
def server(request: pytest.FixtureRequest) -> RedisServer:
    found: RedisServer = request.getfixturevalue("redis_server" if request.param == "6.2" else "newer_server")
    found.flush()
    return found


@pytest.fixture
async def engine(server: RedisServer) -> AsyncIterator[Engine]:
    engine = Engine(server.url)
    yield engine
    await engine.close()
