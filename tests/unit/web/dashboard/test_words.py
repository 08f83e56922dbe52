"""Both languages say everything."""

import re
from pathlib import Path

import pytest

import zapd.web.dashboard
from zapd.model.message import MessageStatus
from zapd.model.session import SessionState
from zapd.web.dashboard.words import LANGUAGES, translator
from zapd.whatsapp.advice import SENTENCES

TEMPLATES = Path(zapd.web.dashboard.__file__).parent / "templates"
SAME = {"API"}  #: words that are the same in both


def test_every_word_of_the_templates_is_translated() -> None:
    said = {
        word for file in TEMPLATES.rglob("*.html") for word in re.findall(r'_\("((?:[^"\\]|\\.)+)"\)', file.read_text())
    }
    assert len(said) > 60
    portuguese = translator("pt-BR")
    assert {word for word in said - SAME if portuguese(word) == word} == set()


@pytest.mark.parametrize("state", [*SessionState, *MessageStatus])
def test_every_state_is_translated(state: str) -> None:
    word = state.replace("_", " ")
    assert translator("pt-BR")(word) != word
    assert translator("en")(word) == word


@pytest.mark.parametrize("sentence", sorted(SENTENCES))
def test_what_a_person_can_do_is_translated(sentence: str) -> None:
    assert translator("pt-BR")(sentence) != sentence


def test_there_are_two_languages() -> None:
    assert set(LANGUAGES) == {"en", "pt-BR"}
