"""What a reload cannot take is named."""

from pathlib import Path

import pytest

from zapd.config import Config, load
from zapd.config.reload import needs_restart

BEFORE = """
[limits]
session_burst = 5
[queues."billing:check"]
action = "noop"
[queues."reports:build"]
action = "noop"
"""


def config(tmp_path: Path, text: str) -> Config:
    file = tmp_path / "config.toml"
    file.write_text(text)
    return load(file, environ={})


@pytest.mark.parametrize(
    ("old", "new", "keys"),
    [
        ("session_burst = 5", "session_burst = 6", []),
        ("session_burst = 5", "lookups_per_minute = 6", ["limits.lookups_per_minute"]),
        ('[queues."reports:build"]', '[queues."reports:make"]', ["queues.reports:build", "queues.reports:make"]),
        ('action = "noop"\n[', 'action = "noop"\nconcurrency = 3\nretry = { timeout = "never" }\n[', []),
        ('action = "noop"\n[', 'action = "noop"\nkeep_dead = "1d"\n[', ["queues.billing:check.keep_dead"]),
        ("[limits]", "[jobs]\nmax_in_flight = 7\nretry_rate = '9/s'\n[limits]", ["jobs.retry_rate"]),
        ("[limits]", "[schedules.daily]\ncron = '0 8 * * *'\nqueue = 'billing:check'\n[limits]", []),
        ("[limits]", "[listeners]\n'user.created' = ['shop.hooks:greet']\n[limits]", ["listeners.user.created"]),
    ],
)
def test_what_needs_a_restart_is_named(tmp_path: Path, old: str, new: str, keys: list[str]) -> None:
    before, after = config(tmp_path, BEFORE), config(tmp_path, BEFORE.replace(old, new, 1))
    assert after != before
    assert needs_restart(before, after) == keys
    assert needs_restart(after, after) == []
