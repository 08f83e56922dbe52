"""Reads and checks the configuration. Every problem is reported at once, one line each."""

import json
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from zapd.config import checks
from zapd.config.queues import BUILT_IN, QueueConfig
from zapd.config.schedules import ScheduleConfig
from zapd.config.sections import Config
from zapd.config.sources import Keys, Settings, gather
from zapd.errors import ConfigError

M = TypeVar("M", bound=BaseModel)

#: Sections of which there are many, each with a name of its own.
NAMED: Mapping[str, type[BaseModel]] = {"queues": QueueConfig, "schedules": ScheduleConfig}

_EXAMPLES = {"queues": "billing:check", "schedules": "invoices"}
_SECTIONS: Mapping[str, type[BaseModel]] = {
    name: type(field.default) for name, field in Config.model_fields.items() if name not in NAMED
}


def load(path: Path | None, *, environ: Mapping[str, str], overrides: Mapping[str, object] | None = None) -> Config:
    """The configuration from file (None: no file), environment, credentials and flags (`{"http.listen": "…"}`).

    Raises ConfigError with one problem a line: `section.key = value: what is allowed`.
    """
    settings = gather(path, environ=environ, overrides=overrides or {}, queues=BUILT_IN)
    reading = _Reading(settings)
    sections = {name: reading.section((name,), kind) for name, kind in _SECTIONS.items()}
    queues, schedules = reading.queues(), reading.named("schedules", ScheduleConfig)
    reading.refuse_unknown_sections()
    config = Config.model_validate({**sections, "queues": queues, "schedules": schedules})
    for problem in checks.problems(config):
        reading.report(problem.keys, *problem.involved, rule=problem.rule)
    if reading.lines:
        raise ConfigError(*reading.lines)
    return config


class _Reading:
    """Turns settings into models and collects what is wrong. A wrong key reads as its default meanwhile."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._wrong: set[Keys] = set()
        self.lines: list[str] = []

    def section(self, above: Keys, kind: type[M]) -> M:
        """The model of the settings right below `above`."""
        given = {keys[-1]: setting.value for keys, setting in self._settings.items() if keys[:-1] == above}
        if above in self._settings and self._settings[above].value != {}:
            self.report(above, rule="should be a section with keys, not a value")
        try:
            return kind.model_validate(given)
        except ValidationError as error:
            for problem in error.errors(include_url=False):
                key = str(problem["loc"][0])
                self.report((*above, key), rule=_rule(problem, key, kind))
        return kind.model_validate({key: value for key, value in given.items() if (*above, key) not in self._wrong})

    def queues(self) -> dict[str, QueueConfig]:
        """zapd's own queues with what was changed of them, and the operator's."""
        found = dict(BUILT_IN)
        for name, given in self.named("queues", QueueConfig).items():
            changes = {key: getattr(given, key) for key in given.model_fields_set}
            found[name] = BUILT_IN.get(name, QueueConfig()).model_copy(update=changes)
        return found

    def named(self, section: str, kind: type[M]) -> dict[str, M]:
        """The models of `[section."name"]`, by name."""
        names = dict.fromkeys(keys[1] for keys in self._settings if keys[0] == section and len(keys) > 1)
        return {name: self.section((section, name), kind) for name in names}

    def refuse_unknown_sections(self) -> None:
        """Settings that no section took."""
        sections = [*_SECTIONS, *NAMED]
        for keys, setting in self._settings.items():
            if keys[0] not in sections:
                self.report(keys, rule=f"unknown section{_hint(keys[0], sections)}")
            elif len(keys) == 1 and keys[0] in NAMED and setting.value != {}:
                self.report(keys, rule=f'should be sections such as [{keys[0]}."{_EXAMPLES[keys[0]]}"]')

    def report(self, keys: Keys, *involved: Keys, rule: str) -> None:
        """Add a line about `keys`, unless it, its section or a key `involved` is known to be wrong already."""
        if self._wrong.intersection((keys, keys[:-1], *involved)):
            return
        self._wrong.add(keys)
        line = _dotted(keys)
        if keys in self._settings:
            line += _shown(keys, self._settings[keys].value)
            line += f" (from {self._settings[keys].origin})" if self._settings[keys].origin else ""
        self.lines.append(f"{line}: {rule}")


def _rule(problem: ErrorDetails, key: str, kind: type[BaseModel]) -> str:
    if problem["type"] == "extra_forbidden":
        return f"unknown key{_hint(key, list(kind.model_fields))}"
    return problem["msg"].removeprefix("Value error, ").replace("Input should", "should")


def _hint(word: str, known: list[str]) -> str:
    near = get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}"


def _dotted(keys: Keys) -> str:
    return ".".join(key if key.replace("_", "").isalnum() else f'"{key}"' for key in keys)


def _shown(keys: Keys, value: object) -> str:
    kind = NAMED.get(keys[0]) or _SECTIONS.get(keys[0])
    field = kind.model_fields.get(keys[-1]) if kind else None
    if field is None:
        return ""  # no known key: it may be a misspelt password
    return " = ***" if not field.repr else f" = {json.dumps(value, ensure_ascii=False, default=str)}"
