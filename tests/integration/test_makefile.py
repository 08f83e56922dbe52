"""The build: what a changed constraint, an interrupted build and another Python do. No package index is asked."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.readme import ROOT

#: Stands in for Python: makes a `.venv` whose pip notes that it was called.
PYTHON = """#!/bin/sh
case "$*" in
  *venv*) rm -rf .venv && mkdir -p .venv/bin && cp "$0" .venv/bin/python && echo made >> calls ;;
  *"pip --version"*) ;;
  *"pip install"*) echo installed >> calls ;;
  *py_compile*|*compileall*) echo compiled >> calls ;;
  -c*) exec "{real}" "$@" ;;
esac
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    if shutil.which("make") is None:
        pytest.skip("make is missing")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    python = tmp_path / "python"
    python.write_text(PYTHON.format(real=sys.executable))
    python.chmod(0o755)
    return tmp_path


def make(project: Path, *arguments: str, path: str = os.environ["PATH"]) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "PYTHON"))}
    environ["PATH"] = path
    return subprocess.run(
        ["make", *arguments], cwd=project, env=environ, capture_output=True, text=True, check=False, timeout=60
    )


def calls(project: Path) -> list[str]:
    """What was done since the last look."""
    noted = project / "calls"
    found = noted.read_text().split() if noted.exists() else []
    noted.unlink(missing_ok=True)
    return found


def build(project: Path) -> list[str]:
    done = make(project, "venv", "PYTHON=./python")
    assert done.returncode == 0, done.stderr
    return calls(project)


def test_it_is_built_once(project: Path) -> None:
    assert build(project) == ["made", "installed", "compiled"]
    assert build(project) == []


def test_changed_constraints_are_installed_in_place(project: Path) -> None:
    build(project)
    made = (project / ".venv" / ".made").stat().st_mtime
    os.utime(project / "constraints.txt", (made + 1, made + 1))
    assert build(project) == ["installed", "compiled"]


def test_what_an_interrupted_build_left_is_replaced(project: Path) -> None:
    (project / ".venv" / "bin").mkdir(parents=True)
    (project / ".venv" / "bin" / "python").symlink_to("/no/such/python")
    assert build(project) == ["made", "installed", "compiled"]


def test_a_python_that_is_too_old_is_refused_with_the_remedy(project: Path) -> None:
    old = project / "old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = make(project, "venv", "PYTHON=./old")
    assert done.returncode != 0
    assert "3.11 or newer" in done.stderr
    assert calls(project) == []


def test_the_systems_python_is_taken_when_it_will_do(project: Path) -> None:
    assert make(project, "venv", "SYSTEM_PYTHON=./python").returncode == 0
    assert calls(project) == ["made", "installed", "compiled"]


def test_else_the_first_python3_is_taken(project: Path) -> None:
    first = project / "bin" / "python3"
    first.parent.mkdir()
    shutil.copy(project / "python", first)
    path = f"{first.parent}{os.pathsep}{os.environ['PATH']}"
    assert make(project, "venv", "SYSTEM_PYTHON=/no/such/python", path=path).returncode == 0
    assert calls(project) == ["made", "installed", "compiled"]


def test_help_lists_every_target(project: Path) -> None:
    targets = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith(".PHONY:"))
    listed = make(project, "help").stdout
    assert [name for name in targets.split()[1:] if f"make {name} " not in listed] == []
