"""What is pinned installs on every Python that zapd says it runs on."""

import importlib.metadata
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
PINNED = [line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().split() if "==" in line]


@pytest.mark.parametrize("name", PINNED)
def test_a_pinned_package_takes_the_oldest_python_that_zapd_takes(name: str) -> None:
    """Debian 12 has 3.11.2: a pin that wants 3.11.5 makes `make run` fail there."""
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    try:
        wanted = importlib.metadata.metadata(name).json.get("requires_python", "")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("it is for another platform or Python")
    assert SpecifierSet(str(wanted)).contains(f"{oldest}.0"), wanted
