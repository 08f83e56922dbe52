"""The units load without a complaint, stay hardened, and agree with the configuration."""

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from zapd.config import Config, load

UNITS = Path(__file__).parents[2] / "systemd"


def analyze(*arguments: str) -> str:
    """Output of systemd-analyze; fails the test when it complains. In CI it must be there."""
    tool = shutil.which("systemd-analyze")
    if tool is None:
        if os.environ.get("CI"):
            pytest.fail("systemd-analyze is missing and CI is set")
        pytest.skip("systemd-analyze is missing")
    run = subprocess.run([tool, *arguments], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout + run.stderr


class UnitFile(configparser.ConfigParser):
    """Keys of units are case-sensitive and may stand twice."""

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def read(unit: str) -> UnitFile:
    parser = UnitFile(interpolation=None, strict=False)
    parser.read_string((UNITS / unit).read_text())
    return parser


def test_systemd_accepts_both_units(tmp_path: Path) -> None:
    for name in ("zapd.service", "zapd.socket"):
        # The command is not installed on this machine; everything else is checked as it stands.
        text = (UNITS / name).read_text().replace("/opt/zapd/.venv/bin/zapd", "/bin/true")
        (tmp_path / name).write_text(text)
    said = analyze("verify", str(tmp_path / "zapd.service"), str(tmp_path / "zapd.socket"))
    assert [line for line in said.splitlines() if str(tmp_path) in line] == []


def test_the_service_stays_hardened() -> None:
    said = analyze("security", "--offline=true", str(UNITS / "zapd.service"))
    found = re.search(r"Overall exposure level for zapd\.service: ([\d.]+)", said)
    assert found
    assert float(found[1]) <= 1.4


def test_the_stop_timeout_leaves_time_to_hand_back_after_the_drain() -> None:
    assert int(read("zapd.service")["Service"]["TimeoutStopSec"]) >= Config().drain.deadline + 30


def test_the_socket_listens_where_zapd_would() -> None:
    assert read("zapd.socket")["Socket"]["ListenStream"] == Config().http.listen


def test_the_credentials_shown_are_those_that_are_read(tmp_path: Path) -> None:
    names = re.findall(r"^#LoadCredential=(\w+):", (UNITS / "zapd.service").read_text(), flags=re.MULTILINE)
    for name in names:
        (tmp_path / name).write_text("postgresql://h/d" if name.endswith("url") else "x")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path), "REDIS_HOST": "r"}
    config = load(None, environ=environ)
    assert len(names) == 3
    assert (config.redis.password, config.database.url) == ("x", "postgresql+asyncpg://h/d")
    assert config.data_key_file == tmp_path / "data_key"
