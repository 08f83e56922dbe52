"""Reads and checks the configuration. Every problem is reported at once, one line each."""

import json
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from zapd.config import checks
from zapd.config.hub import KINDS, NAME, SECRETS, TYPE_PATTERN, Defined, Spec
from zapd.config.queues import BUILT_IN, QueueConfig
from zapd.config.schedules import ScheduleConfig
from zapd.config.sections import Config
from zapd.config.sources import Keys, Settings, gather, with_secrets
from zapd.errors import ConfigError

M = TypeVar("M", bound=BaseModel)

#: Sections of which there are many, each with a name of its own.
NAMED: Mapping[str, type[BaseModel]] = {"queues": QueueConfig, "schedules": ScheduleConfig}

_EXAMPLES = {"queues": "billing:check", "schedules": "invoices"}
#: Fields of `Config` that are no section of their own name.
GATHERED = frozenset({"definitions", "listeners"})
_SECTIONS: Mapping[str, type[BaseModel]] = {
    name: type(field.default) for name, field in Config.model_fields.items() if name not in {*NAMED, *GATHERED}
}
_LISTENER = re.compile(r"[A-Za-z0-9_.-]{1,100}|[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_.]*", re.ASCII)


def load(path: Path | None, *, environ: Mapping[str, str], overrides: Mapping[str, object] | None = None) -> Config:
    """The configuration from file (None: no file), environment, credentials and flags (`{"http.listen": "…"}`).

    Raises ConfigError with one problem a line: `section.key = value: what is allowed`.
    """
    settings = gather(path, environ=environ, overrides=overrides or {}, queues=BUILT_IN)
    reading = _Reading(settings)
    sections = {name: reading.section((name,), kind) for name, kind in _SECTIONS.items()}
    named = {"queues": reading.queues(), "schedules": reading.named("schedules", ScheduleConfig)}
    gathered = {"definitions": reading.definitions(environ), "listeners": reading.listeners()}
    reading.refuse_unknown_sections()
    config = Config.model_validate({**sections, **named, **gathered})
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

    def definitions(self, environ: Mapping[str, str]) -> dict[tuple[str, str], Defined]:
        """What the file defines for the event hub: [sources."shop"] and the like."""
        found: dict[tuple[str, str], Defined] = {}
        for kind, spec in KINDS.items():
            for keys in [keys for keys in self._settings if keys[0] == f"{kind}s" and len(keys) == 2]:
                defined = self._defined(keys, spec, environ)
                if defined is not None:
                    found[kind, keys[1]] = defined
        return found

    def _defined(self, keys: Keys, spec: type[Spec], environ: Mapping[str, str]) -> Defined | None:
        if not re.fullmatch(NAME, keys[1]):
            self.report(keys, rule="a name is up to 64 of A-Z a-z 0-9 . _ -")
            return None
        try:
            value = with_secrets(self._settings[keys].value, environ)
            return Defined(spec.model_validate(value), json.dumps(value).encode())
        except (ValidationError, LookupError) as error:
            problems = error.errors(include_url=False) if isinstance(error, ValidationError) else []
            for problem in problems:
                self.report((*keys, *map(str, problem["loc"])), rule=_hub_rule(problem))
            if not problems:
                self.report(keys, rule=str(error.args[0]))
        return None

    def listeners(self) -> dict[str, tuple[str, ...]]:
        """[listeners]: a type of event and who hears of it."""
        found = {}
        for keys, setting in self._settings.items():
            if keys[0] != "listeners" or len(keys) != 2:
                continue
            names = setting.value if isinstance(setting.value, list) else [None]
            if not TYPE_PATTERN.fullmatch(keys[1]):
                self.report(keys, rule='should be a type of event, in quotes, such as "appointment.saved"')
            elif all(isinstance(name, str) and _LISTENER.fullmatch(name) for name in names):
                found[keys[1]] = tuple(names)
            else:
                self.report(keys, rule='should be a list such as ["email", "whatsapp", "my_package:MyListener"]')
        return found

    def refuse_unknown_sections(self) -> None:
        """Settings that no section took."""
        many = {**_EXAMPLES, "listeners": "", **dict.fromkeys([f"{kind}s" for kind in KINDS], "name")}
        sections = [*_SECTIONS, *many]
        for keys, setting in self._settings.items():
            if keys[0] not in sections:
                self.report(keys, rule=f"unknown section{_hint(keys[0], sections)}")
            elif len(keys) == 1 and keys[0] in many and setting.value != {}:
                example = f'[{keys[0]}."{many[keys[0]]}"]' if many[keys[0]] else f"[{keys[0]}]"
                self.report(keys, rule=f"should be sections such as {example}")

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
        return f"unknown key{_hint(key, [field.alias or name for name, field in kind.model_fields.items()])}"
    return problem["msg"].removeprefix("Value error, ").replace("Input should", "should")


def _hub_rule(problem: ErrorDetails) -> str:
    if problem["type"] == "extra_forbidden":
        return "unknown key"
    rule = problem["msg"].removeprefix("Value error, ").replace("Input should", "should")
    value = problem.get("input")
    shown = isinstance(value, str | int | float) and problem["loc"] and problem["loc"][-1] not in SECRETS
    return f"is {json.dumps(value)}; {rule}" if shown else rule


def _hint(word: str, known: list[str]) -> str:
    near = get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}"


def _dotted(keys: Keys) -> str:
    return ".".join(key if key.replace("_", "").isalnum() else f'"{key}"' for key in keys)


def _shown(keys: Keys, value: object) -> str:
    kind = NAMED.get(keys[0]) or _SECTIONS.get(keys[0])
    fields = {field.alias or key: field for key, field in kind.model_fields.items()} if kind else {}
    field = fields.get(keys[-1])
    if field is None:
        return ""  # no known key: it may be a misspelt password
    return " = ***" if not field.repr else f" = {json.dumps(value, ensure_ascii=False, default=str)}"
