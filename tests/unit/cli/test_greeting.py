"""The first thing a person reads."""

import shlex
from pathlib import Path

import pytest

from zapd.cli.greeting import greeting
from zapd.config import load

COMMAND = ".venv/bin/zapd"


def told(flags: dict[str, object], config_file: Path | None = None) -> tuple[str, list[str]]:
    """The text, and the words of the command it proposes."""
    text = greeting(load(config_file, environ={}, overrides=flags), command=COMMAND, config_file=config_file)
    (step,) = [line for line in text.splitlines() if COMMAND in line]
    return text, shlex.split(step[step.index(COMMAND) :])


def test_it_names_the_address_the_docs_and_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text, step = told({})
    for word in ("http://127.0.0.1:8470/docs", f"{tmp_path}/state/admin.key", "Ctrl-C"):
        assert word in text
    assert step[:4] == [COMMAND, "connections", "create", "sandbox"]
    assert not {"--url", "--state-dir", "--config"} & set(step)


def test_the_first_step_finds_a_daemon_that_is_elsewhere(tmp_path: Path) -> None:
    file = tmp_path / "my zapd.toml"
    file.write_text("")
    text, step = told({"http.listen": "0.0.0.0:9000", "state.dir": str(tmp_path / "elsewhere")}, file)
    assert "http://127.0.0.1:9000/docs" in text
    for words in (
        ["--url", "http://127.0.0.1:9000"],
        ["--state-dir", f"{tmp_path}/elsewhere"],
        ["--config", str(file)],
    ):
        at = step.index(words[0])
        assert step[at : at + 2] == words
