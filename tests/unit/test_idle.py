"""What a daemon that has nothing to do has not loaded: each of these is megabytes of every idle daemon."""

import os
import subprocess
import sys

import pytest

from zapd.cli.process import import_aiohttp, leave_out

BUILD = """
import gc, ssl, sys
from zapd.cli.process import import_aiohttp, leave_out
leave_out(sqlite=True)
import_aiohttp()
from zapd.app import App
from zapd.config import load
App(config=load(None, environ={"ZAPD_STATE__DIR": sys.argv[1]}, overrides={}), on_failed=print)
print(*[name for name, module in sys.modules.items() if module])
print(sum(c.cert_store_stats()["x509"] for c in gc.get_objects() if isinstance(c, ssl.SSLContext)))
"""

NOT_LOADED = [
    "aiosmtplib",
    "alembic",
    "asyncpg",
    "cryptography.hazmat",
    "frozenlist._frozenlist",
    "greenlet",
    "jinja2",
    "jmespath",
    "jsonschema",
    "neonize",
    "phonenumbers",
    "prometheus_async",
    "rich",
    "segno",
    "sqlalchemy.dialects.postgresql",
    "sqlalchemy.ext.asyncio",
    "sqlalchemy.orm",
    "zapd.store.migrations",
    "zapd.whatsapp.web.inbound",
    "zapd.whatsapp.web.transport",
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], int]:
    """The modules of a process that has built every part, and how many certificates it holds."""
    command = [sys.executable, "-c", BUILD, str(tmp_path_factory.mktemp("idle"))]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("ZAPD_")}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    modules, certificates = done.stdout.splitlines()[-2:]
    return set(modules.split()), int(certificates)


@pytest.mark.parametrize("name", NOT_LOADED)
def test_it_is_loaded_by_the_first_that_needs_it(built: tuple[set[str], int], name: str) -> None:
    assert name not in built[0]


def test_the_certificates_are_read_by_the_first_that_needs_them(built: tuple[set[str], int]) -> None:
    assert built[1] == 0
    assert "aiohttp" in built[0]


def test_on_postgresql_greenlet_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "modules", {"greenlet": sys})
    leave_out(sqlite=False)
    assert sys.modules == {"greenlet": sys, "rich": None}


def test_aiohttp_is_imported_under_the_variable_that_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/given")
    import_aiohttp()
    assert os.environ["SSL_CERT_FILE"] == "/given"
    monkeypatch.delenv("SSL_CERT_FILE")
    import_aiohttp()
    assert "SSL_CERT_FILE" not in os.environ
