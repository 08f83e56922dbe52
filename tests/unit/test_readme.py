"""The README tells the truth where a machine can check it, and both languages have the same operator's part."""

import json
import re
import shlex
import tomllib
from enum import StrEnum
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.readme import ROOT, Block, blocks, fits, section
from zapd.announce import PUBLIC
from zapd.cli import zapd
from zapd.config import load
from zapd.errors import ConfigError
from zapd.model.message import MessageStatus
from zapd.model.session import SessionState
from zapd.model.webhook import DeliveryState
from zapd.web.route import Route
from zapd.web.routes import ROUTES

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
    ranks = [re.findall(r"^(##+) .+$", text, flags=re.MULTILINE) for text in (OPERATORS, PORTUGUESE)]
    assert ranks[0] == ranks[1]


def test_each_section_has_as_many_rows_in_both_languages() -> None:
    """Apart from the figures, of which the Portuguese page has the ones that an operator compares."""
    english, portuguese = [
        [len(re.findall(r"^\|", part, flags=re.MULTILINE)) for part in re.split(r"^##+ .+$", text, flags=re.MULTILINE)]
        for text in (OPERATORS, PORTUGUESE)
    ]
    rows = dict(zip(headings(OPERATORS), zip(english[1:], portuguese[1:], strict=True), strict=True))
    rows.pop("What it can do, measured")
    assert {heading: both for heading, both in rows.items() if both[0] != both[1]} == {}


def test_both_languages_give_the_same_commands() -> None:
    first_steps = section(OPERATORS, "## Send your first message"), section(PORTUGUESE, "## Envie a primeira mensagem")
    english, portuguese = ([(b.kind, b.text) for b in blocks(text) if b.kind in ("sh", "json")] for text in first_steps)
    assert english == portuguese


@pytest.mark.parametrize("text", [ENGLISH, PORTUGUESE], ids=["en", "pt-BR"])
def test_nothing_is_left_to_fill_in(text: str) -> None:
    assert "<!-- fill:" not in text


@pytest.mark.parametrize("text", [ENGLISH, PORTUGUESE], ids=["en", "pt-BR"])
def test_every_piece_of_configuration_loads_or_fails_as_shown(text: str, tmp_path: Path) -> None:
    pieces = [block for block in blocks(text) if block.kind == "toml"]
    lines = next(block.text for block in blocks(text) if block.text.startswith("limits.sesion_burst")).splitlines()
    wrong = [piece for piece in pieces if "sesion_burst" in piece.text]
    assert len(pieces) >= 3
    for piece in pieces:
        file = tmp_path / "zapd.toml"
        file.write_text(piece.text)
        if piece in wrong:
            with pytest.raises(ConfigError) as caught:
                load(file, environ={})
            assert list(caught.value.problems) == lines
        else:
            load(file, environ={})
    assert len(wrong) == 1


def curls(text: str) -> list[tuple[str, str, object]]:
    """Method, path and JSON body of every curl that talks to zapd."""
    found = []
    for block in blocks(text):
        for line in re.sub(r"\\\n", " ", block.text).split("\ncurl") if block.kind == "sh" else []:
            words = shlex.split(line, comments=True)
            urls = [word for word in words if word.startswith("http://127.0.0.1:8470/")]
            body = json.loads(words[words.index("-d") + 1]) if "-d" in words else None
            found += [("GET" if body is None else "POST", urlsplit(url).path, body) for url in urls]
    return found


def route_of(method: str, path: str) -> Route:
    """The route that answers. Raises StopIteration when none does."""
    return next(
        route
        for route in ROUTES
        if route.method == method and re.fullmatch(re.sub(r"\{[a-z]+\}", "[^/]+", route.path), path)
    )


@pytest.mark.parametrize("text", [ENGLISH, PORTUGUESE], ids=["en", "pt-BR"])
def test_every_curl_has_a_route_and_a_body_that_the_route_takes(text: str) -> None:
    found = curls(text)
    assert len(found) >= 6
    for method, path, body in found:
        route = route_of(method, path)
        if body is not None:
            assert route.body is not None
            route.body.model_validate_json(json.dumps(body))


def test_every_command_and_every_type_of_event_is_named() -> None:
    table = section(ENGLISH, "## HTTP and command line")
    context = zapd.make_context("zapd", ["--help"], resilient_parsing=True)
    assert {
        name for name in zapd.list_commands(context) if f"`{name}`" not in table and f"zapd {name}" not in table
    } == set()
    for text, heading in ((ENGLISH, "## Receive webhooks"), (PORTUGUESE, "## Receba webhooks")):
        line = next(line for line in section(text, heading).splitlines() if line.startswith(("Types:", "Tipos:")))
        assert set(re.findall(r"`([a-z_.]+)`", line)) == PUBLIC


def test_an_answer_fits_when_only_ids_and_times_differ() -> None:
    shown = '{"id":"msg_…",\n  "at":"2026-11-22T03:39:34.544Z"}'
    assert fits(shown, '{"id":"msg_01", "at":"2027-01-01T00:00:00.001Z"}')
    assert not fits(shown, '{"id":"msg_01", "at":null}')
    assert not fits("state  connected", "state  paused")


def test_a_section_ends_at_the_next_heading_and_not_at_a_comment() -> None:
    text = "# a\n\n## one\nx\n```sh\n# no heading\n```\n### part\ny\n## two\nz\n"
    assert section(text, "## one").endswith("y\n")
    assert blocks(section(text, "## one")) == [Block("sh", "# no heading\n", "")]


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
    names = [re.split(r"[\[><=;]", line)[0] for line in lines]
    table = DEVELOPERS[DEVELOPERS.index("\n## Dependencies") :]
    assert [name for name in names if not re.search(rf"\b{re.escape(name)}\b", table)] == []


def test_the_map_names_every_part() -> None:
    drawn = DEVELOPERS[DEVELOPERS.index("\n## The map") : DEVELOPERS.index("\n## The process")]
    modules = [path for path in (ROOT / "zapd").rglob("*.py") if path.name != "__init__.py"]
    parts = {path.stem for path in modules if "versions" not in path.parts and path.stem != "env"}
    assert {part for part in parts if not re.search(rf"(?<![a-z_]){re.escape(part)}(?![a-z_])", drawn)} == set()


def test_the_process_names_every_service() -> None:
    drawn = DEVELOPERS[DEVELOPERS.index("\n## The process") : DEVELOPERS.index("\n## The path of a message")]
    code = "\n".join(path.read_text() for path in (ROOT / "zapd").rglob("*.py"))
    names = re.findall(r'^    name = "([a-z_]+)"$', code, re.MULTILINE)
    assert len(names) > 10
    assert [name for name in names if not re.search(rf"\b{name}\b", drawn)] == []


@pytest.mark.parametrize("enum", [MessageStatus, SessionState, DeliveryState])
def test_the_states_are_drawn(enum: type[StrEnum]) -> None:
    drawn = DEVELOPERS[DEVELOPERS.index("\n## States") : DEVELOPERS.index("\n## How to add")]
    assert [state for state in enum if not re.search(rf"\b{state}\b", drawn)] == []


def test_the_checklists_name_files_that_are_there() -> None:
    lists = DEVELOPERS[DEVELOPERS.index("\n## How to add") : DEVELOPERS.index("\n## Tests")]
    named = set(re.findall(r"`([a-z_]+/[a-z_./]*)`", lists))
    assert len(named) > 20
    homes = [ROOT / home for home in ("", "zapd", "zapd/web", "zapd/web/dashboard")]
    assert {path for path in named if not any((home / path).exists() for home in homes)} == set()
