"""`zapd doctor`: each fault is found, named in a sentence, and comes with what to do."""

import asyncio
import json
import os
import socket
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner

from tests.support.daemon import free_port
from tests.support.redis_server import RedisServer
from zapd.cli.checkup import examine, state
from zapd.cli.checkup.finding import Finding
from zapd.cli.doctor import doctor
from zapd.store.database import Database


class Patient:
    """An installation without a daemon."""

    def __init__(self, directory: Path) -> None:
        self.state = directory / "state"
        self.file = directory / "zapd.toml"
        self.toml = f'[http]\nlisten = "127.0.0.1:{free_port()}"\n'

    def findings(self, more: str = "") -> list[Finding]:
        self.file.write_text(self.toml + more)
        return examine(self.file, self.state, {"PATH": os.environ["PATH"]})

    def wrong(self, more: str = "") -> dict[str, Finding]:
        return {finding.check: finding for finding in self.findings(more) if finding.result == "wrong"}

    def database(self) -> Path:
        """A state directory with a database of this release."""
        self.state.mkdir(mode=0o700, exist_ok=True)
        path = self.state / "zapd.db"

        async def migrate() -> None:
            database = Database(url=f"sqlite+aiosqlite:///{path}")
            await database.migrate()
            await database.close()

        asyncio.run(migrate())
        (self.state / "data.key").touch(mode=0o600)
        return path

    def change(self, *statements: str) -> None:
        with sqlite3.connect(self.state / "zapd.db") as connection:
            for statement in statements:
                connection.execute(statement)
        connection.close()

    def endpoint(self, url: str, name: str = "end_1") -> None:
        self.change(
            "INSERT INTO endpoints (tenant, id, url, types, format, headers, secrets, enabled, created_at, failures,"
            f" alerted) VALUES ('default', '{name}', '{url}', '[]', 'standard', x'', x'', 1, 1, 0, 0)"
        )


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    return Patient(tmp_path)


@pytest.fixture
def listening() -> Iterator[int]:
    """A port on loopback where something takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_fresh_machine_is_healthy(patient: Patient) -> None:
    assert patient.wrong() == {}
    assert not patient.state.exists()  # it only looks


def test_a_whole_installation_is_healthy(patient: Patient, redis_url: str) -> None:
    patient.database()
    results = {f.check: f.result for f in patient.findings(f'[redis]\nurl = "{redis_url}"\n')}
    assert {check for check, result in results.items() if result == "wrong"} == set()
    expected = {"state directory", "database", "database integrity", "Redis", "Redis memory", "clock", "configuration"}
    assert expected <= {check for check, result in results.items() if result == "ok"}


def test_every_wrong_key_of_the_configuration_is_a_finding(patient: Patient) -> None:
    found = patient.findings('[log]\nlevle = "info"\n[queues."x"]\naction = "noop"\npriority = 99\n')
    assert [finding.result for finding in found] == ["wrong", "wrong"]
    assert "did you mean level?" in found[0].found


def test_a_rule_that_names_no_mapping_is_a_finding(patient: Patient) -> None:
    rule = '[routes."r"]\ntypes = ["a.b"]\n[[routes."r".actions]]\nkind = "notify"\nurl = "https://x.example/"\n'
    assert "configuration" in patient.wrong(rule + 'text = "hi"\nmapping = "gone"\n')


def test_files_that_others_may_read(patient: Patient) -> None:
    patient.database()
    (patient.state / "admin.key").touch(mode=0o644)
    patient.state.chmod(0o755)
    wrong = patient.wrong()
    assert wrong.keys() == {"state directory", "key files"}
    assert wrong["state directory"].do == f"chmod 700 {patient.state}"
    assert wrong["key files"].do.startswith(f"chmod 600 {patient.state / 'admin.key'}")


def test_files_of_somebody_else(patient: Patient) -> None:
    if os.geteuid():
        pytest.skip("only root can give files away")
    os.chown(patient.database(), 65534, 65534)
    assert "zapd.db" in patient.wrong()["state directory"].found


def test_a_data_key_that_is_gone(patient: Patient) -> None:
    patient.database()
    (patient.state / "data.key").unlink()
    assert "nothing that was sealed can be read" in patient.wrong()["key files"].found


def test_a_disk_that_is_nearly_full(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "SCARCE", 1 << 62)
    assert patient.wrong().keys() == {"disk"}


def test_a_schema_that_is_old_or_new(patient: Patient) -> None:
    patient.database()
    patient.change("UPDATE alembic_version SET version_num = '0003'")
    assert "zapd migrate" in patient.wrong()["database"].do
    patient.change("UPDATE alembic_version SET version_num = '9999'")
    assert patient.wrong()["database"].do == "Install the newer zapd again."


def test_a_file_that_is_no_database(patient: Patient) -> None:
    patient.state.mkdir(mode=0o700)
    (patient.state / "zapd.db").write_bytes(b"this is text" * 1000)
    (patient.state / "data.key").touch(mode=0o600)
    assert "does not open" in patient.wrong()["database"].found


def test_a_damaged_page(patient: Patient) -> None:
    path = patient.database()
    patient.change("PRAGMA journal_mode = DELETE")
    with sqlite3.connect(path) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'settings'").fetchone()
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    assert "database integrity" in patient.wrong()


def test_a_clock_that_was_set_back(patient: Patient) -> None:
    patient.database()
    ahead = round(time.time() * 1000) + 3_600_000
    patient.change(
        "INSERT INTO events (tenant, id, type, category, severity, payload, created_at) "
        f"VALUES ('default', 'evt_1', 'a', 'own', 'info', x'7b7d', {ahead})"
    )
    assert "s ahead of this machine's clock" in patient.wrong()["clock"].found


def test_a_redis_that_does_not_answer(patient: Patient) -> None:
    assert "does not answer" in patient.wrong(f'[redis]\nurl = "redis://127.0.0.1:{free_port()}/0"\n')["Redis"].found


def test_a_program_for_redis_that_is_not_there(patient: Patient) -> None:
    assert patient.wrong('[redis]\nbinary = "/no/such"\n')["Redis"].do == (
        "Install redis-server, or name one in [redis] binary."
    )


def test_a_redis_that_may_evict_or_is_full(patient: Patient, redis_server: RedisServer) -> None:
    client = redis.Redis(unix_socket_path=str(redis_server.socket))
    toml = f'[redis]\nurl = "{redis_server.url}"\n'
    try:
        client.config_set("maxmemory-policy", "allkeys-lru")
        assert "may throw jobs away" in patient.wrong(toml)["Redis memory"].found
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1mb")
        assert "maxmemory" in patient.wrong(toml)["Redis memory"].do
    finally:
        client.config_set("maxmemory", "0")
        client.config_set("maxmemory-policy", "noeviction")
        client.close()


def test_a_redis_with_another_clock(patient: Patient, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time
    monkeypatch.setattr("zapd.cli.checkup.redis.time.time", lambda: now() + 30)
    assert "behind ours" in patient.wrong(f'[redis]\nurl = "{redis_url}"\n')["clock"].found


def test_somebody_else_who_listens(patient: Patient, listening: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zapd.cli.checkup.listener.PATIENCE", 0.2)
    patient.toml = f'[http]\nlisten = "127.0.0.1:{listening}"\n'
    assert "another program listens" in patient.wrong()["listener"].found


def test_an_address_that_is_not_ours(patient: Patient) -> None:
    patient.toml = '[http]\nlisten = "192.0.2.1:8470"\n'
    assert "listener" in patient.wrong()


def test_receivers_that_can_be_reached_and_not(patient: Patient, listening: int) -> None:
    patient.database()
    patient.endpoint(f"http://127.0.0.1:{listening}/hook")
    assert patient.wrong() == {}
    patient.change(f"UPDATE endpoints SET url = 'http://127.0.0.1:{free_port()}/hook'")
    assert "it cannot be reached" in patient.wrong()["receiver end_1"].found
    patient.change("UPDATE endpoints SET url = 'http://10.1.2.3/hook'")
    assert "allow_networks" in patient.wrong()["receiver end_1"].do
    patient.change("UPDATE endpoints SET enabled = 0")
    assert patient.wrong() == {}


def test_two_endpoints_with_one_url_are_noted(patient: Patient, listening: int) -> None:
    patient.database()
    for name in ("end_1", "end_2"):
        patient.endpoint(f"http://127.0.0.1:{listening}/hook", name)
    (found,) = [finding for finding in patient.findings() if "same URL" in finding.found]
    assert (found.check, found.result) == ("receiver end_1", "note")
    assert found.found.startswith("end_2 ")


def test_targets_of_the_file_are_receivers_too(patient: Patient) -> None:
    toml = f'[targets."crm"]\nbase_url = "http://127.0.0.1:{free_port()}"\n'
    assert "it cannot be reached" in patient.wrong(toml)["receiver crm"].found


def test_the_exit_code_and_the_json(patient: Patient) -> None:
    patient.file.write_text(patient.toml)
    asked = ["--config", str(patient.file), "--state-dir", str(patient.state)]
    healthy = CliRunner().invoke(doctor, [*asked, "--json"])
    assert healthy.exit_code == 0
    assert {row["check"]: row["result"] for row in json.loads(healthy.stdout)}["configuration"] == "ok"
    patient.file.write_text("[http]\nlisten = 7\n")
    ill = CliRunner().invoke(doctor, asked)
    assert ill.exit_code == 1
    assert "http.listen" in ill.output
