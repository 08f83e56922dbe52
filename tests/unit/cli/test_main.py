"""What the command line does before it talks to anybody."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from zapd.cli import BAD_CONFIG, FAILED, USAGE, main, zapd


@pytest.mark.parametrize(
    "arguments", [[], ["bogus"], ["send"], ["send", "c", "1"], ["keys", "create", "x", "--scope", "all"]]
)
def test_wrong_usage_is_64(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZAPD_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("ZAPD_API_KEY", "none is asked for")
    assert main(arguments) == USAGE
    assert "Usage" in capsys.readouterr().err


def test_a_wrong_configuration_is_78_and_names_every_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "zapd.toml"
    file.write_text('[http]\nlisten = "nowhere"\n[limits]\nsession_burst = 0\n')
    assert main(["check-config", "--config", str(file)]) == BAD_CONFIG
    told = capsys.readouterr().err
    assert "http.listen" in told
    assert "limits.session_burst" in told
    assert main(["check-config", "--config", str(file), "--json"]) == BAD_CONFIG
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is False
    assert [problem.split(" ")[0] for problem in answer["problems"]] == ["http.listen", "limits.session_burst"]


def test_a_listener_that_cannot_be_imported_is_78(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As at the start: those of events, and those of queues, also a class that cannot be made."""
    file = tmp_path / "zapd.toml"
    queues = {"a:b": "nowhere.at:all", "c:d": "json:nothing", "e:f": "fractions:Fraction", "g:h": "enum:EnumMeta"}
    file.write_text(
        "".join(f'[queues."{name}"]\naction = "listener"\nlistener = "{what}"\n' for name, what in queues.items())
        + '[listeners]\n"x.y" = ["gone.module:X"]\n'
    )
    assert main(["check-config", "--config", str(file)]) == BAD_CONFIG
    told = capsys.readouterr().err
    for name in ("nowhere.at:all", "json:nothing", "enum:EnumMeta", "gone.module:X"):
        assert f"{name}" in told
    assert "e:f" in told  # it can be made, and not called


def test_a_right_configuration_is_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config"]) == 0
    assert main(["check-config", "--json"]) == 0


def test_a_database_that_is_away_is_told_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/nowhere/zapd.db")
    assert main(["migrate", "--state-dir", str(tmp_path)]) == FAILED
    assert capsys.readouterr().err == "Error: SQLite: unable to open database file\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_how_to_complete(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "_ZAPD_COMPLETE" in capsys.readouterr().out


@pytest.mark.parametrize(("words", "offered"), [("zapd conn", "connections"), ("zapd queues re", "resume")])
def test_commands_and_those_below_them_are_completed(
    words: str, offered: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("_ZAPD_COMPLETE", "bash_complete"), ("COMP_WORDS", words)):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split()) - 1))
    with pytest.raises(SystemExit):
        main([])
    assert f"plain,{offered}" in capsys.readouterr().out.splitlines()


def test_every_command_has_a_help(capsys: pytest.CaptureFixture[str]) -> None:
    context = zapd.make_context("zapd", ["--help"], resilient_parsing=True)
    for name in zapd.list_commands(context):
        assert main([name, "--help"]) == 0
        assert "Usage" in capsys.readouterr().out


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from zapd.cli import main; main(['--help']);"
        "heavy = {'pydantic', 'aiohttp', 'sqlalchemy', 'redis', 'rich', 'phonenumbers'} & set(sys.modules);"
        "sys.exit(', '.join(heavy) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_openapi_document_needs_no_daemon(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["openapi"]) == 0
    assert '"openapi":"3.1.0"' in capsys.readouterr().out
