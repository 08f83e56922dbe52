"""The README tells the truth where a machine can check it, and both languages have the same operator's part."""

import re
import tomllib
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENGLISH = (ROOT / "README.md").read_text()
PORTUGUESE = (ROOT / "README.pt-BR.md").read_text()
OPERATORS, DEVELOPERS = ENGLISH.split("\n# For developers\n")


def headings(text: str) -> list[str]:
    outside_code = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"^##+ (.+)$", outside_code, flags=re.MULTILINE)


def anchor(heading: str) -> str:
    """As GitHub makes them: lower case, spaces to dashes, other signs dropped."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def metrics_in(text: str) -> set[str]:
    return {name.removesuffix("_total") for name in re.findall(r"`(zapd_[a-z_]+)`", text)}


def test_both_languages_have_the_same_operators_part() -> None:
    assert len(headings(OPERATORS)) == len(headings(PORTUGUESE))
    assert OPERATORS.count("```") == PORTUGUESE.count("```")
    assert metrics_in(OPERATORS) == metrics_in(PORTUGUESE)


@pytest.mark.parametrize("text", [ENGLISH, PORTUGUESE], ids=["en", "pt-BR"])
def test_links_inside_the_page_lead_somewhere(text: str) -> None:
    anchors = {anchor(heading) for heading in headings(text)}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) - anchors == set()


@pytest.mark.parametrize("text", [ENGLISH, PORTUGUESE], ids=["en", "pt-BR"])
def test_files_that_are_linked_exist(text: str) -> None:
    for target in re.findall(r"\]\((?!#|https?:)([^)]+)\)", text):
        assert (ROOT / target).exists(), target


def test_the_table_of_metrics_is_what_the_code_makes() -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "zapd").rglob("*.py"))
    made = {name.removesuffix("_total") for name in re.findall(r'"(zapd_[a-z_]*[a-z])"', code)}
    assert metrics_in(OPERATORS[OPERATORS.index("\n## Metrics") :]) == made


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = chain(project["dependencies"], *project["optional-dependencies"].values())
    names = [re.split(r"[\[><=]", line)[0] for line in lines]
    table = DEVELOPERS[DEVELOPERS.index("\n## Dependencies") :]
    assert [name for name in names if not re.search(rf"\b{re.escape(name)}\b", table)] == []


def test_the_map_names_every_part() -> None:
    drawn = DEVELOPERS[DEVELOPERS.index("\n## The map") : DEVELOPERS.index("\n## The process")]
    parts = {path.name for path in (ROOT / "zapd").iterdir() if not path.name.startswith(("__", "py.typed"))}
    assert {part for part in parts if not re.search(rf"\b{re.escape(part)}\b", drawn)} == set()
