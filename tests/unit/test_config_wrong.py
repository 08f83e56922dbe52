"""Every key of the configuration, wrong: all of them are named at once, with what was given and what is allowed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from zapd.config import QueueConfig, load
from zapd.config.load import GATHERED, NAMED
from zapd.config.schedules import ScheduleConfig
from zapd.config.sections import Config
from zapd.errors import ConfigError

FREE: tuple[str, ...] = (
    "state.dir",
    "state.data_key_file",
    "redis.binary",
    "redis.password",
    "queues.x.secret",
    "web.wrapper",
)
FREE += ("media.dir", "contacts.opt_out_words", "contacts.opt_in_words", "email.password")
LINES = (*FREE, "schedules.x.kind", "schedules.x.lane", "email.user")
NAMES = (*LINES, "queues.x.endpoint", "events.whatsapp_connection", "email.host", "schedules.x.emit")
NUMBERS = ("queues.x.backoff_factor", "queues.x.jitter")
NEVER: tuple[str, ...] = ()

#: A value as TOML, and the keys for which it is right.
WRONG = [
    ("[1, 2]", NEVER),
    ("-5", NEVER),
    ("inf", NEVER),
    ("1" + 30 * "0", NEVER),
    ("1.5", NUMBERS),
    ("{ x = 1 }", ("schedules.x.payload",)),
    ("true", ("sandbox.auto_reply", "privacy.encrypt", "queues.x.shared_limits")),
    ('"no such value"', LINES),
    ('"a\\u0001\\n"', FREE),
    *[(f'"{40 * "9"}{unit}"', NAMES) for unit in ("", "d", "GiB")],
    (f'"{40 * "9"}/s"', LINES),
    (f'"{400 * "9"}d"', (*LINES, "email.host")),
]


def all_keys() -> Iterator[tuple[str, str, bool]]:
    """(section, key, whether its value is told) of all there are."""
    for name, field in Config.model_fields.items():
        if name not in {*NAMED, *GATHERED}:
            for key, inner in type(field.default).model_fields.items():
                yield name, inner.alias or key, inner.repr
    for name, kind in (("queues.x", QueueConfig), ("schedules.x", ScheduleConfig)):
        for key, inner in kind.model_fields.items():
            yield name, key, inner.repr


@pytest.mark.parametrize(("value", "right"), WRONG, ids=[value[:16] for value, _ in WRONG])
def test_all_wrong_keys_are_named_at_once(tmp_path: Path, value: str, right: tuple[str, ...]) -> None:
    wrong = [(section, key, told) for section, key, told in all_keys() if f"{section}.{key}" not in right]
    file = tmp_path / "zapd.toml"
    sections: dict[str, list[str]] = {}
    for section, key, _ in wrong:
        sections.setdefault(section, []).append(f"{key} = {value}")
    file.write_text("\n".join("\n".join([f"[{name}]", *lines]) for name, lines in sections.items()))
    with pytest.raises(ConfigError) as caught:
        load(file, environ={})
    said = dict(problem.split(" = ", 1) for problem in caught.value.problems if " = " in problem)
    assert [f"{section}.{key}" for section, key, _ in wrong if f"{section}.{key}" not in said] == []
    for section, key, told in wrong:
        shown, rule = said[f"{section}.{key}"].rsplit(": ", 1)
        assert rule
        assert told != (shown == "***"), (section, key)
